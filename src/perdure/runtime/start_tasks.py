"""Starting a task for a poll that was reserved for it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from perdure.call import PENDING, Pending
from perdure.engine import activities, workflow_tasks
from perdure.engine.effects import OfferActivityTask, OfferWorkflowTask
from perdure.engine.execution import ACTIVITY, WORKFLOW
from perdure.engine.record import Record
from perdure.engine.stale import Stale
from perdure.engine.standalone import attempts
from perdure.engine.standalone.state import ActivityExecution, ActivityTurn
from perdure.engine.state import Run
from perdure.engine.tokens import TaskToken
from perdure.engine.turn import Shared, Turn
from perdure.errors import PerdureError
from perdure.matching import Poller as ParkedPoller
from perdure.matching import Task
from perdure.runtime.inputs import ATTEMPTS, RETRY_SECONDS, Entry, Insistent, enter_later, wait_after
from perdure.runtime.polls import ACTIVITY_QUEUE, WORKFLOW_QUEUE
from perdure.storage.store import StoreFailed

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime


class Lost:
    """Marks a task that was started for a poll that had gone: it is issued again rather than started."""

    __slots__ = ("token",)

    def __init__(self, token: TaskToken) -> None:
        self.token = token


class StartTask(Entry):
    """Start `task` for a reserved poller. Its caller is the poll."""

    KIND: ClassVar[int] = WORKFLOW

    __slots__ = ("over", "poller", "started", "stored", "task")

    def __init__(self, runtime: Runtime, task: Task, poller: ParkedPoller, stored: bool) -> None:
        key = (task.queue[0], self.KIND, task.execution_id)
        super().__init__(runtime, key, task.run_id, starts=self.KIND != WORKFLOW)
        self.task = task
        self.poller = poller
        self.stored = stored
        """The task has, or may have, a row."""
        self.over = False
        """The poller is not this one's any more."""
        self.started: workflow_tasks.StartedWorkflowTask | activities.StartedActivity | None = None

    def postponed(self) -> None:
        """The start will not join the batch that schedules the task: between the two commits only a row tells of it."""
        task = self.task
        if self.stored or not task.task_no:
            return
        try:
            self.runtime.dispatch.rows.write(task, self.runtime.monotonic.now())
        except StoreFailed as failure:
            self.runtime.decisions.cannot_carry_out(self.key, failure)
            return
        self.stored = True
        self.runtime.matching.stored(task)

    def decide(self, turn: Turn) -> Pending:
        task = self.task
        engine_poller: workflow_tasks.Poller = self.poller.waiter.engine
        engine_poller.request_id = self.runtime.entropy.uuid()
        self.started = None
        try:
            if task.queue[2] == WORKFLOW_QUEUE:
                if isinstance(task.query, Lost):
                    self.started = workflow_tasks.reissue_workflow_task(turn, task.query.token)
                else:
                    self.started = workflow_tasks.start_workflow_task(
                        turn, task.scheduled_event_id, task.stamp, engine_poller
                    )
            else:
                self.started = activities.start_activity_task(turn, task.scheduled_event_id, task.stamp, engine_poller)
        except Stale:
            self.started = None
        return PENDING

    def decided(self) -> None:
        """Called by the runtime in the round of the decision: a started or stale task's row goes."""
        if self.stored:
            self.runtime.committer.task_done(self.task.task_no)
            self.runtime.committer.hasten()
        if self.started is None:
            self.over = True
            self.runtime.dispatch.next_for(self.poller)

    def answer(self) -> None:
        started = self.started
        if started is None:
            return
        if isinstance(started, activities.StartedActivity):
            self.runtime.dispatch.deliver(self, started.answer)
        else:
            self.runtime.dispatch.answer_workflow_task(self, started)

    def refused(self) -> None:
        """A task with a row is back among those that wait; one that was offered in the refused batch is offered again
        by what offered it."""
        if self.over:
            return
        runtime, task, lost = self.runtime, self.task, isinstance(self.task.query, Lost)
        if self.poller.cancelled:
            runtime.dispatch.next_for(self.poller)
            if lost:
                runtime.dispatch.offer_again(task)
        elif self.attempts >= ATTEMPTS:
            # The poll waits a little before it tries the next, as the store takes nothing now.
            self.over = True
            runtime.alarms.after(RETRY_SECONDS, lambda: runtime.dispatch.next_for(self.poller))
            if lost:
                runtime.alarms.after(RETRY_SECONDS, lambda: runtime.dispatch.offer_again(task))
        elif lost or (self.stored and runtime.matching.take_again(task)):
            self.reply = self.error = None
            runtime.enter(self)
        else:
            runtime.dispatch.next_for(self.poller)

    def give_up(self, error: PerdureError) -> None:
        """The run cannot be read, or a defect is in the way: the poll hears of it, and the task is offered again
        later."""
        runtime = self.runtime
        if not self.over:
            self.over = True
            runtime.dispatch.fail(self.poller, error)
        if isinstance(self.task.query, Lost):
            runtime.alarms.after(wait_after(error), lambda: runtime.dispatch.offer_again(self.task))
        else:
            enter_later(_OfferAgain(self), error)

    def waits(self, run: Run) -> bool:
        """Whether it is this attempt, and no later one, that the run's activity has."""
        activity = run.activities.get(self.task.scheduled_event_id)
        return activity is not None and activity.stamp == self.task.stamp


class _OfferAgain(Insistent):
    """A task whose start was given up waits again, as another one, and the row that it had goes. Unless the row never
    came to be, as what offered the task was decided again, or the task is over: what took its place was offered when it
    did."""

    __slots__ = ("_row", "_start")

    def __init__(self, start: StartTask) -> None:
        super().__init__(start.runtime, start.key, start.run_id, self._offer, starts=True)
        self._start = start
        self._row = False

    def _offer(self, shared: Shared, run: Run | None) -> Pending:
        task = self._start.task
        self._row = task.task_no in self.runtime.matching.rows.departed
        if run is None or (task.task_no and not self._row):
            return PENDING
        if task.queue[2] == WORKFLOW_QUEUE:
            shared.effects.append(OfferWorkflowTask(run, task.stamp))
        elif self._start.waits(run):
            shared.effects.append(OfferActivityTask(run, task.scheduled_event_id))
        return PENDING

    def decided(self) -> None:
        if self._row:
            self.runtime.committer.task_done(self._start.task.task_no)


class StartStandaloneTask(StartTask):
    """The same for the attempt of a standalone activity, an execution of its own kind."""

    KIND = ACTIVITY

    __slots__ = ()

    def decide(self, shared: Shared, record: Record | None) -> Pending:  # type: ignore[override] # as for its kind
        engine_poller: workflow_tasks.Poller = self.poller.waiter.engine
        engine_poller.request_id = self.runtime.entropy.uuid()
        self.started = None
        if record is not None:
            with suppress(Stale):
                self.started = attempts.start_task(ActivityTurn(shared, record), self.task.stamp, engine_poller)
        return PENDING

    def waits(self, record: Record) -> bool:  # type: ignore[override] # as for its kind
        state: ActivityExecution = record.state
        return state.attempt.stamp == self.task.stamp


def start_entry(runtime: Runtime, task: Task, poller: ParkedPoller, stored: bool) -> StartTask:
    """Events number from 1: an activity task of none is that of a standalone activity."""
    if not task.scheduled_event_id and task.queue[2] == ACTIVITY_QUEUE:
        return StartStandaloneTask(runtime, task, poller, stored)
    return StartTask(runtime, task, poller, stored)
