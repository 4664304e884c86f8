"""System and predefined search attributes: names and types. `vocabulary.py` says what a name in a filter means.

Source: temporal/api/enums/v1/common.proto, IndexedValueType, and the reference server's lists of attributes.
"""

from __future__ import annotations

from collections.abc import Mapping

TEXT, KEYWORD, INT, DOUBLE, BOOL, DATETIME, KEYWORD_LIST = range(1, 8)
"""Numbers of IndexedValueType."""

TYPE_NAMES = {
    TEXT: "Text",
    KEYWORD: "Keyword",
    INT: "Int",
    DOUBLE: "Double",
    BOOL: "Bool",
    DATETIME: "Datetime",
    KEYWORD_LIST: "KeywordList",
}

SYSTEM: Mapping[str, int] = {
    "WorkflowId": KEYWORD,
    "RunId": KEYWORD,
    "WorkflowType": KEYWORD,
    "TaskQueue": KEYWORD,
    "StartTime": DATETIME,
    "ExecutionTime": DATETIME,
    "CloseTime": DATETIME,
    "ExecutionStatus": KEYWORD,
    "ExecutionDuration": INT,
    "HistoryLength": INT,
    "HistorySizeBytes": INT,
    "StateTransitionCount": INT,
    "ParentWorkflowId": KEYWORD,
    "ParentRunId": KEYWORD,
    "RootWorkflowId": KEYWORD,
    "RootRunId": KEYWORD,
}
"""What every run has of itself; nobody sets them."""

PREDEFINED: Mapping[str, int] = {
    "TemporalChangeVersion": KEYWORD_LIST,
    "BinaryChecksums": KEYWORD_LIST,
    "BuildIds": KEYWORD_LIST,
    "BatcherNamespace": KEYWORD,
    "BatcherUser": KEYWORD,
    "TemporalScheduledStartTime": DATETIME,
    "TemporalScheduledById": KEYWORD,
    "TemporalSchedulePaused": BOOL,
    "TemporalNamespaceDivision": KEYWORD,
    "TemporalPauseInfo": KEYWORD_LIST,
    "TemporalReportedProblems": KEYWORD_LIST,
    "TemporalWorkerDeploymentVersion": KEYWORD,
    "TemporalWorkflowVersioningBehavior": KEYWORD,
    "TemporalWorkerDeployment": KEYWORD,
    "TemporalUsedWorkerDeploymentVersions": KEYWORD_LIST,
    "TemporalExternalPayloadCount": INT,
    "TemporalExternalPayloadSizeBytes": INT,
}
"""What the server and the SDKs set without anybody having to register it."""

SERVER_SET = frozenset(
    (
        "TemporalWorkerDeploymentVersion",
        "TemporalWorkflowVersioningBehavior",
        "TemporalWorkerDeployment",
        "TemporalUsedWorkerDeploymentVersions",
        "TemporalExternalPayloadCount",
        "TemporalExternalPayloadSizeBytes",
    )
)
"""Predefined ones that users may not set."""

RESERVED = frozenset((*SYSTEM, "NamespaceId", "Memo", "MemoEncoding", "VisibilityTaskKey"))
"""Names no custom attribute may take, beside all that start with `Temporal`."""

SCHEDULE_DIVISION = "TemporalScheduler"
BATCH_DIVISION = "TemporalBatcher"
ACTIVITY_DIVISION = "TemporalActivity"
"""Values of TemporalNamespaceDivision in the rows of other executions than users' workflows, which have none."""


def fitting_number(number: int | float) -> int | float:
    """An integer where it fits into 64 bits, as the reference and every database have it: of a filter, and of what it
    is compared with."""
    return number if isinstance(number, float) or -(1 << 63) <= number < 1 << 63 else float(number)
