"""Parked polls of workers, and what answers carry besides a task."""

from __future__ import annotations

from msgspec import Struct
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueResponse, PollWorkflowTaskQueueResponse

from perdure.call import Call
from perdure.engine import workflow_tasks
from perdure.runtime.alarms import Alarm

WORKFLOW_QUEUE = 1
ACTIVITY_QUEUE = 2
EMPTY_WORKFLOW_TASK = PollWorkflowTaskQueueResponse()
EMPTY_ACTIVITY_TASK = PollActivityTaskQueueResponse()


def _advice(response: PollWorkflowTaskQueueResponse | PollActivityTaskQueueResponse, more: int) -> bytes:
    response.poller_scaling_decision.poll_request_delta_suggestion = more
    return response.SerializeToString()


ADVICE = {
    (kind, more): _advice(response(), more)
    for kind, response in (
        (WORKFLOW_QUEUE, PollWorkflowTaskQueueResponse),
        (ACTIVITY_QUEUE, PollActivityTaskQueueResponse),
    )
    for more in (-1, 1)
}


class Poll(Struct, eq=False):
    """A parked poll call."""

    call: Call
    engine: workflow_tasks.Poller
    kind: int
    until: float
    """When it is answered empty, in seconds of Monotonic."""
    alarm: Alarm | None = None

    def over(self) -> None:
        """It was answered: its alarm would keep the call, and with it the answer, in memory until it rings."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None

    def empty(self) -> None:
        self.over()
        self.call.finish(EMPTY_WORKFLOW_TASK if self.kind == WORKFLOW_QUEUE else EMPTY_ACTIVITY_TASK)
