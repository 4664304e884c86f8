"""Writes docs/compatibility.md: what of the API is served, as the code itself tells.

Whether an RPC is there is read off the handlers' classes, a command off the table of commands, an event off the
engine's sources, a capability off the answers of a server. By hand are only the notes: what a served RPC lacks, and
why another is not there.
"""

from __future__ import annotations

import ast
import asyncio
import dis
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc.aio
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.namespace.v1 import NamespaceInfo
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeNamespaceResponse,
    GetSystemInfoRequest,
    GetSystemInfoResponse,
)

import perdure.engine
from perdure import Server
from perdure.api.handlers import HANDLERS
from perdure.api.registry import (
    OPERATOR_SERVICE,
    TEST_SERVICE,
    WORKFLOW_SERVICE,
    build_methods,
)
from perdure.api.test_service import TestServiceHandlers
from perdure.engine.commands import SERVED_COMMANDS

PAGE = Path(__file__).parents[1] / "docs" / "compatibility.md"

PARTLY: Mapping[str, str] = {
    "StartWorkflowExecution": "no completion callbacks, no time skipping of single workflows",
    "SignalWithStartWorkflowExecution": "as StartWorkflowExecution",
    "RegisterNamespace": "no archival, no global namespaces",
    "UpdateNamespace": "no archival, no replication; search attributes are changed by the operator service alone",
    "ListClusters": "there is one, this server",
    "UpdateWorkflowExecution": "no completion callbacks",
    "ExecuteMultiOperation": "as StartWorkflowExecution and UpdateWorkflowExecution",
    "UpdateWorkflowExecutionOptions": "workflows cannot be pinned to a version, as deployments are not served",
    "PauseWorkflowExecution": "when frontend.WorkflowPauseEnabled is true, as in the reference server",
    "UnpauseWorkflowExecution": "as PauseWorkflowExecution",
    "StartActivityExecution": "no completion callbacks, no eager start",
    "StartBatchOperation": "no operations on standalone activities",
    **dict.fromkeys(
        (
            "PauseActivityExecution",
            "UnpauseActivityExecution",
            "ResetActivityExecution",
            "UpdateActivityExecutionOptions",
        ),
        "of standalone activities when activity.operatorCommandsEnabled is true; off as in the reference server",
    ),
}
"""What an RPC that is served does not do, or a deliberate difference."""

WHY_NOT: Mapping[str, str] = {
    r".*Nexus.*": "Nexus",
    r".*Deployment.*": "worker deployments",
    r".*(BuildIdCompatibility|VersioningRules|WorkerTaskReachability)": "deprecated kinds of worker versioning",
    r".*WorkflowRules?": "workflow rules",
    r".*Archived.*": "archival",
    r"(AddOrUpdate|Remove)RemoteCluster": "one server has no remote clusters",
    r"(Fetch|Update)WorkerConfig": "commands to workers",
    r"PollWorkflowExecutionTimeSkipping": "time skipping of single workflows: the whole server skips instead",
}
"""Why RPCs whose name matches are not there. What matches none is on its way."""

NOT_WRITTEN: Mapping[str, str] = {
    "EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_REJECTED": "the reference server keeps rejections out of history too",
    "EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED_EXTERNALLY": "the reference server does not write it either",
    "EVENT_TYPE_ACTIVITY_PROPERTIES_MODIFIED_EXTERNALLY": "the reference server does not write it either",
    "EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED": "the whole server skips instead",
}
"""Why an event is not written."""

ON_ITS_WAY = "not there yet"

INTRODUCTION = """\
# Compatibility

What of Temporal's API this server answers. Written by `make docs` from the code: an RPC is *done* when it has a
handler, *partly* when a note says what its handler lacks, and else *no*: it answers `UNIMPLEMENTED` by name. *Refused*
are RPCs that the reference server refuses by default, in its words. The names are those of the installed `temporalio`
package.\
"""

SERVICES: Mapping[str, str] = {
    WORKFLOW_SERVICE: "WorkflowService",
    OPERATOR_SERVICE: "OperatorService",
    TEST_SERVICE: "TestService, of servers that skip time",
}


ALL_HANDLERS = (*HANDLERS, TestServiceHandlers)


class _TestService:
    """Stands for the service in the list of methods."""

    service = TEST_SERVICE


def rpcs(service: str) -> Iterator[tuple[str, bool]]:
    """Each RPC of a service, and whether there is a handler that can do anything but refuse."""
    kinds = [kind for kind in ALL_HANDLERS if getattr(kind, "service", WORKFLOW_SERVICE) == service]
    for method in build_methods((_TestService(),)).values():
        if method.service == service:
            handlers = [handler for kind in kinds if (handler := getattr(kind, method.rpc, None)) is not None]
            yield method.rpc, any(not _only_refuses(handler) for handler in handlers)


def refused(rpc: str) -> bool:
    """Whether there is a handler, and all it does is to refuse."""
    handlers = [handler for kind in ALL_HANDLERS if (handler := getattr(kind, rpc, None)) is not None]
    return any(map(_only_refuses, handlers))


def _only_refuses(handler: Callable[..., Any]) -> bool:
    """Whether it has no way out but to raise."""
    return not any(step.opname in ("RETURN_VALUE", "RETURN_CONST") for step in dis.get_instructions(handler))


def why_not(rpc: str) -> str:
    return next((reason for pattern, reason in WHY_NOT.items() if re.fullmatch(pattern, rpc)), ON_ITS_WAY)


def events_written() -> frozenset[str]:
    """The event types that some module of the engine names in order to write one; applying is not writing."""
    names = set()
    for path in Path(perdure.engine.__path__[0]).glob("*.py"):
        if path.name != "apply.py":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr.startswith("EVENT_TYPE_"):
                    names.add(node.attr)
    return frozenset(names)


async def capabilities() -> dict[str, dict[str, bool]]:
    """What a server claims, by the RPC that claims it."""
    async with Server() as server, grpc.aio.insecure_channel(server.address) as channel:

        async def ask(rpc: str, request: Any, kind: Any) -> Any:
            path = f"/{WORKFLOW_SERVICE}/{rpc}"
            call = channel.unary_unary(path, lambda message: message.SerializeToString(), kind.FromString)
            return await call(request)

        system = await ask("GetSystemInfo", GetSystemInfoRequest(), GetSystemInfoResponse)
        default = DescribeNamespaceRequest(namespace="default")
        namespace = await ask("DescribeNamespace", default, DescribeNamespaceResponse)
    claims = {
        "GetSystemInfo": (GetSystemInfoResponse.Capabilities.DESCRIPTOR, system.capabilities),
        "DescribeNamespace": (NamespaceInfo.Capabilities.DESCRIPTOR, namespace.namespace_info.capabilities),
    }
    return {
        rpc: {field.name: getattr(claimed, field.name) for field in descriptor.fields}
        for rpc, (descriptor, claimed) in claims.items()
    }


def page() -> str:
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    for service, title in SERVICES.items():
        yield from ("", f"## {title}", "", "| RPC | | |", "|---|---|---|")
        for rpc, served in sorted(rpcs(service)):
            note = PARTLY.get(rpc, "")
            state = ("partly" if note else "done") if served else ("refused" if refused(rpc) else "no")
            yield f"| {rpc} | {state} | {note if served else why_not(rpc)} |"
    yield from ("", "## Commands of workflows", "", "| command | |", "|---|---|")
    for name, number in CommandType.items()[1:]:
        yield f"| {_title(name)} | {'done' if number in SERVED_COMMANDS else 'no'} |"
    yield from ("", "## Events", "", "Which event types the engine writes.", "", "| event | | |", "|---|---|---|")
    written = events_written()
    for name, _ in EventType.items()[1:]:
        why = NOT_WRITTEN.get(name, "Nexus" if "NEXUS" in name else ON_ITS_WAY)
        yield f"| {_title(name)} | {'done |' if name in written else f'no | {why}'} |"
    yield from ("", "## Capabilities", "", "What clients are told the server can do.")
    for rpc, claims in asyncio.run(capabilities()).items():
        yield from ("", f"| {rpc} | |", "|---|---|")
        yield from (f"| {name} | {'yes' if claimed else 'no'} |" for name, claimed in claims.items())


def _title(name: str) -> str:
    """`EVENT_TYPE_TIMER_FIRED` as `TimerFired`."""
    return "".join(word.capitalize() for word in name.split("_TYPE_")[1].split("_"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
