"""What the workers of a run leave in its state with each completed task: the builds it ran on, and for each build the
point to reset to if that build proves bad.

Kept apart from the completion itself, because a run that is folded from its history gets the same marks.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final

from temporalio.api.common.v1 import Payload
from temporalio.api.workflow.v1 import ResetPoints

from perdure.engine.state import Run
from perdure.engine.times import set_timestamp

BUILD_IDS: Final = "BuildIds"
RESET_POINTS_KEPT: Final = 20


def note_build_id(run: Run, build_id: str) -> None:
    known = run.search_attributes.get(BUILD_IDS)
    now = _with_build_id(known, build_id)
    if now != known:
        run.search_attributes[BUILD_IDS] = now
        run.changes.visibility = True


@lru_cache(256)
def _with_build_id(known: bytes | None, build_id: str) -> bytes:
    """The BuildIds attribute, a serialised Payload, with one more build."""
    now = ["unversioned"] if known is None else _builds(known)
    if build_id and f"unversioned:{build_id}" not in now:
        now.append(f"unversioned:{build_id}")
    elif known is not None:
        return known
    value = Payload()
    value.metadata["encoding"] = b"json/plain"
    value.metadata["type"] = b"KeywordList"
    value.data = json.dumps(now, separators=(",", ":")).encode()
    return value.SerializeToString(deterministic=True)


def _builds(known: bytes) -> list[str]:
    """Those of the attribute, which a client may have given: as one word, or as something else altogether."""
    try:
        given = json.loads(Payload.FromString(known).data)
    except ValueError:
        return []
    words = given if isinstance(given, list) else [given]
    return [word for word in words if isinstance(word, str)]


def note_reset_point(run: Run, binary_checksum: str, build_id: str, completed_event_id: int, at: int) -> None:
    points = ResetPoints.FromString(run.reset_points)
    for known in points.points:
        if known.binary_checksum == binary_checksum and known.build_id == build_id:
            return
    point = points.points.add()
    point.binary_checksum = binary_checksum
    point.build_id = build_id
    point.run_id = run.run_id
    point.first_workflow_task_completed_id = completed_event_id
    set_timestamp(point.create_time, at)
    point.resettable = not (run.children or run.signals or run.cancels)
    del points.points[:-RESET_POINTS_KEPT]
    run.reset_points = points.SerializeToString(deterministic=True)
