"""TemporalPauseInfo: the search attribute by which paused workflows, and those with paused activities, are found."""

from __future__ import annotations

import json
from typing import Final

from temporalio.api.common.v1 import Payload
from temporalio.api.workflow.v1 import WorkflowExecutionPauseInfo

from perdure.engine.turn import Turn

PAUSE_INFO: Final = "TemporalPauseInfo"


def note_pauses(turn: Turn) -> None:
    """Bring the attribute in line with what is paused now; to be called after each pause and unpause, and when a paused
    activity is gone."""
    run = turn.run
    entries = []
    if run.pause_info:
        reason = WorkflowExecutionPauseInfo.FromString(run.pause_info).reason
        entries += [f"Workflow:{run.workflow_id}", f"Reason:{reason}"]
    types = {activity.activity_type for activity in run.activities.values() if activity.paused}
    entries += [f"property:activityType={name}" for name in sorted(types)]
    if entries:
        value = Payload()
        value.metadata["encoding"] = b"json/plain"
        value.metadata["type"] = b"KeywordList"
        value.data = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
        blob = value.SerializeToString(deterministic=True)
        if run.search_attributes.get(PAUSE_INFO) == blob:
            return
        run.search_attributes[PAUSE_INFO] = blob
    elif run.search_attributes.pop(PAUSE_INFO, None) is None:
        return
    run.changes.visibility = True
    turn.touch()
