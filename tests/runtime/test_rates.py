"""What a task queue's rate limit holds back goes on when its time comes."""

from __future__ import annotations

import temporalio.api.workflowservice.v1 as ws
from temporalio.api.taskqueue.v1 import TaskQueueMetadata

from tests.api.client import NAMESPACE, queue, schedule_activity
from tests.support.runtime_world import TestCall, World


def slow_poll(world: World) -> TestCall:
    request = ws.PollActivityTaskQueueRequest(namespace=NAMESPACE, task_queue=queue(), identity="worker")
    request.task_queue_metadata.CopyFrom(TaskQueueMetadata(max_tasks_per_second={"value": 1.0}))
    return world.call(request, within=60)


async def test_parked_polls_get_new_tasks_at_the_pace_their_worker_asked_for(world: World) -> None:
    polls = [slow_poll(world) for _ in range(3)]
    await world.start_workflow()
    await world.step(*[schedule_activity(f"charge-{number}") for number in range(3)])
    assert sum(poll.answered for poll in polls) == 1

    for answered in (2, 3):
        await world.pass_time(0.9)
        assert sum(poll.answered for poll in polls) == answered - 1
        await world.pass_time(0.2)
        assert sum(poll.answered for poll in polls) == answered


async def test_a_backlog_goes_at_the_pace_the_worker_asked_for(world: World) -> None:
    await world.start_workflow()
    await world.step(*[schedule_activity(f"charge-{number}") for number in range(3)])
    polls = [slow_poll(world) for _ in range(3)]
    await world.settle()
    assert sum(poll.answered for poll in polls) == 1

    await world.pass_time(1.1)
    assert sum(poll.answered for poll in polls) == 2
    await world.pass_time(1.1)
    assert sum(poll.answered for poll in polls) == 3
