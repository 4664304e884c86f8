"""Tasks meet pollers: offered tasks are reserved for a parked poll or wait in the backlog; polls take the backlog's
head or park.

When a turn offers a task and a poller waits, the task is started in the same round, so that one commit holds its
scheduling and its start. The answer is sent after that commit, if the task is still current. A poll that went away
before a byte of its answer left gets nothing: the task is issued again, to another poller, under a new stamp.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure.call import PENDING, Call, Pending, Reply
from perdure.engine import activities, workflow_tasks
from perdure.engine.items import Activity
from perdure.engine.record import Record
from perdure.engine.standalone import attempts
from perdure.engine.standalone.state import ActivityTurn
from perdure.engine.state import Run
from perdure.engine.tokens import ACTIVITY_TASK, WORKFLOW_TASK, decode_token
from perdure.engine.turn import Shared, Turn
from perdure.errors import PerdureError, Unavailable
from perdure.matching import Poller as ParkedPoller
from perdure.matching import QueueKey, StoppedWorkers, Task
from perdure.matching.tasks import DEFAULT_PRIORITY, LOWEST_PRIORITY
from perdure.runtime.alarms import Alarm
from perdure.runtime.inputs import Input, Insistent
from perdure.runtime.polls import ACTIVITY_QUEUE, ADVICE, EMPTY_ACTIVITY_TASK, EMPTY_WORKFLOW_TASK, WORKFLOW_QUEUE, Poll
from perdure.runtime.query_tasks import QueryTask
from perdure.runtime.start_tasks import Lost, StartTask, start_entry
from perdure.runtime.task_rows import TaskRows

if TYPE_CHECKING:
    from perdure.runtime.executions import Loaded
    from perdure.runtime.runtime import Runtime

STICKY_ALIVE_SECONDS = 10.0
POLL_SECONDS = 60.0
POLL_MARGIN_SECONDS = 1.0


class Dispatch:
    def __init__(self, runtime: Runtime, task_no: int) -> None:
        self._runtime = runtime
        self._matching = runtime.matching
        self._task_no = task_no
        self._taken: deque[tuple[Task, ParkedPoller]] = deque()
        self._taking = False
        self.rows = TaskRows(runtime)
        self.load = self.rows.load
        """Carry out the reads of stored tasks that matching asks for, by queue."""
        self.stopped = StoppedWorkers()
        self._admission: Alarm | None = None

    # ---- offers
    def offer_workflow_task(self, loaded: Loaded, run: Run, stamp: int) -> None:
        task = run.workflow_task
        if task is None or task.started_event_id or task.stamp != stamp:
            return
        key = (loaded.key[0], task.queue, WORKFLOW_QUEUE)
        now = self._runtime.monotonic.now()
        if task.sticky and not self._matching.survey.has_recent_poller(key, now, STICKY_ALIVE_SECONDS):
            stamp = task.stamp

            def move(turn: Turn) -> Pending:
                workflow_tasks.sticky_unavailable(turn, stamp)
                return PENDING

            self._runtime.enter(Input(self._runtime, loaded.key, run.run_id, move))
            return
        self._offer(
            key,
            run,
            task.scheduled_event_id,
            task.attempt,
            task.stamp,
            run.priority_key,
            "" if task.sticky else run.fairness_key,  # one worker's own queue: there is nothing to share fairly
            run.fairness_weight,
            stored=not task.speculative,
        )

    def offer_standalone_activity(self, loaded: Loaded, record: Record) -> None:
        attempt: Activity = record.state.attempt
        if not record.running or attempt.started_at or not attempt.offered:
            return
        self._offer(
            (loaded.key[0], attempt.queue, ACTIVITY_QUEUE),
            record,
            0,
            attempt.attempt,
            attempt.stamp,
            attempt.priority,
            attempt.fairness_key,
            attempt.fairness_weight,
        )

    def offer_activity_task(self, loaded: Loaded, run: Run, scheduled_event_id: int) -> None:
        activity = run.activities.get(scheduled_event_id)
        if activity is None or activity.started_at or not activity.offered:
            return
        self._offer(
            (loaded.key[0], activity.queue, ACTIVITY_QUEUE),
            run,
            scheduled_event_id,
            activity.attempt,
            activity.stamp,
            activity.priority or run.priority_key,
            activity.fairness_key or run.fairness_key,
            activity.fairness_weight or run.fairness_weight,
        )

    def _offer(
        self,
        key: QueueKey,
        run: Run | Record,
        scheduled_event_id: int,
        attempt: int,
        stamp: int,
        priority: int,
        fairness_key: str,
        fairness_weight: float,
        *,
        stored: bool = True,
    ) -> None:
        """`stored` False: a speculative task, lost with the process like what it is for."""
        runtime = self._runtime
        if stored:
            self._task_no += 1
        task = Task(
            key,
            self._task_no if stored else 0,
            run.workflow_id,
            run.run_id,
            scheduled_event_id,
            attempt,
            stamp,
            min(priority, LOWEST_PRIORITY) if priority > 0 else DEFAULT_PRIORITY,
            fairness_key,
            runtime.time.now(),
            fairness_weight=fairness_weight if fairness_weight > 0.0 else 1.0,
        )
        now = runtime.monotonic.now()
        poller = self._matching.reserve(task, now)
        while poller is not None and poller.waiter.call.gone:
            self._matching.cancel(poller, now)
            self._matching.release(poller, now)
            poller = self._matching.reserve(task, now)
        if poller is not None:
            runtime.enter(start_entry(runtime, task, poller, stored=False))
            return
        if not stored:
            self._matching.offer(task, now)
            return
        self.rows.write(task, now)
        self._matching.offer(task, now)
        if self._matching.throttled:
            self.heed_limits()

    def offer_query(self, key: QueueKey, query: QueryTask) -> None:
        """Match a direct query with a poller, now or when one comes; never stored."""
        task = Task(key, 0, query.workflow_id, query.run_id, 0, query=query)
        query.task = task
        now = self._runtime.monotonic.now()
        poller = self._matching.reserve(task, now)
        if poller is None:
            self._matching.offer(task, now)
        else:
            self.take(task, poller)

    # ---- polls
    def poll(
        self,
        key: QueueKey,
        engine: workflow_tasks.Poller,
        call: Call,
        *,
        normal_name: str = "",
        worker_instance_key: str = "",
        rate: float | None = None,
    ) -> Reply | Pending:
        """Wait for a task. Answered empty about a second before the caller's deadline, or after 60 seconds."""
        runtime = self._runtime
        now = runtime.monotonic.now()
        until = now + POLL_SECONDS
        if call.deadline is not None:
            until = min(until, call.deadline - POLL_MARGIN_SECONDS)
        if until <= now or (worker_instance_key and self.stopped.has(key[0], worker_instance_key, key[2], now)):
            return EMPTY_WORKFLOW_TASK if key[2] == WORKFLOW_QUEUE else EMPTY_ACTIVITY_TASK
        waiter = Poll(call, engine, key[2], until)
        poller = ParkedPoller(key, engine.identity, waiter, engine.sticky, normal_name, worker_instance_key, now)
        if rate is not None:
            poller.rate = rate

        def gone() -> None:
            self._matching.cancel(poller, runtime.monotonic.now())
            waiter.over()

        def expire() -> None:
            if poller.task is None and self._matching.cancel(poller, runtime.monotonic.now()):
                waiter.empty()

        waiter.alarm = runtime.alarms.at(until, expire)
        call.on_gone(gone)
        task = self._matching.poll(poller, now)
        if task is not None:
            self.take(task, poller)
        self.load(key)
        return PENDING

    def heed_limits(self) -> None:
        """Go on with queues whose rate limit lets tasks through again, now or when that is."""
        matching = self._matching
        now = self._runtime.monotonic.now()
        for key in matching.rate_limits.ready(now):
            for task, poller in matching.admit(key, now):
                self.take(task, poller)
            self.load(key)
        if matching.throttled:
            self._wait_for_limits(min(matching.throttled.values()))

    def _wait_for_limits(self, due: float) -> None:
        alarm = self._admission
        if due == inf or (alarm is not None and alarm.callback is not None and alarm.due <= due):
            return
        if alarm is not None:
            alarm.cancel()
        self._admission = self._runtime.alarms.at(due, self.heed_limits)

    def take(self, task: Task, poller: ParkedPoller) -> None:
        """Start a task that matching handed out. A stale one hands its poller the next: in a row, not nested, as there
        may be thousands."""
        self._taken.append((task, poller))
        if self._taking:
            return
        self._taking = True
        try:
            while self._taken:
                task, poller = self._taken.popleft()
                query = task.query
                if isinstance(query, QueryTask):
                    self._runtime.queries.hand_out(query, task, poller)
                else:
                    self._runtime.enter(start_entry(self._runtime, task, poller, stored=task.task_no > 0))
        finally:
            self._taking = False

    def next_for(self, poller: ParkedPoller) -> None:
        """The poller's task came to nothing: give it another, or park it at the front."""
        now = self._runtime.monotonic.now()
        waiter: Poll = poller.waiter
        if waiter.call.gone:
            self._matching.cancel(poller, now)
        elif now >= waiter.until:  # its alarm rang while it held the task
            self._matching.cancel(poller, now)
            waiter.empty()
        task = self._matching.release(poller, now)
        if task is not None:
            self.take(task, poller)
        self.load(poller.queue)

    # ---- answers
    def answer_workflow_task(self, item: StartTask, started: workflow_tasks.StartedWorkflowTask) -> None:
        """The start is durable: splice the history into the answer and send it."""
        queries = self._runtime.queries.ride_along(item.key, started.run)

        def ready(answer: bytes) -> None:
            task = started.run.workflow_task
            if task is None or task.started_event_id != started.started_event_id or task.stamp != started.stamp:
                self.next_for(item.poller)  # it ended while its history was read
                return
            self.deliver(item, answer)

        try:
            self._runtime.histories.workflow_task_answer(started, queries, ready)
        except Unavailable as error:  # its start-to-close timeout brings the task back
            self.fail(item.poller, error)

    def deliver(self, item: StartTask, answer: bytes) -> None:
        now = self._runtime.monotonic.now()
        poller = item.poller
        if poller.waiter.call.finish(self.with_hints(answer, poller, item.stored, now)):
            poller.waiter.over()
            self._matching.confirm(poller, now)
            return
        self._matching.cancel(poller, now)
        self._matching.release(poller, now)
        self._issue_again(item)

    def with_hints(self, answer: bytes, poller: ParkedPoller, from_backlog: bool, now: float) -> bytes:
        """An answer with a task in it, and what it tells the worker of its queue: how much waits, and whether another
        number of pollers would do better. (Serialised messages one after the other are the merge of them.)"""
        more = self._matching.survey.advise(poller, from_backlog, now, self._runtime.time.now())
        if more:
            answer += ADVICE[poller.queue[2], more]
        if poller.queue[2] == WORKFLOW_QUEUE and (waiting := self._matching.survey.backlog_count(poller.queue)):
            hint = PollWorkflowTaskQueueResponse()
            hint.backlog_count_hint = waiting
            answer += hint.SerializeToString()
        return answer

    def fail(self, poller: ParkedPoller, error: PerdureError) -> None:
        """Answer a reserved poller's poll with an error."""
        now = self._runtime.monotonic.now()
        self._matching.cancel(poller, now)
        self._matching.release(poller, now)
        poller.waiter.over()
        poller.waiter.call.fail(error)

    def _issue_again(self, item: StartTask) -> None:
        """Nothing reached the poller: offer the task again at once, with a new stamp so that the first token is
        dead."""
        task = item.task
        started = item.started
        if started is None:
            return
        stamp = started.stamp
        runtime = self._runtime
        if isinstance(started, activities.StartedActivity):
            token = decode_token(started.token, ACTIVITY_TASK)

            def undo(turn: Turn) -> Pending:
                activities.reissue_activity_task(turn, token)
                return PENDING

            def undo_standalone(shared: Shared, record: Record | None) -> Pending:
                if record is not None:
                    attempts.reissue_task(ActivityTurn(shared, record), token)
                return PENDING

            undone = undo_standalone if item.starts else undo
            runtime.enter(Insistent(runtime, item.key, task.run_id, undone, starts=item.starts))
            return
        again = Task(
            task.queue,
            0,
            task.execution_id,
            task.run_id,
            started.scheduled_event_id,
            task.attempt,
            stamp,
            task.priority,
            query=Lost(decode_token(started.token, WORKFLOW_TASK)),
        )
        self.offer_again(again)

    def offer_again(self, task: Task) -> None:
        """A task that was started and lost goes to a poller that is parked, or waits for one."""
        now = self._runtime.monotonic.now()
        poller = self._matching.reserve(task, now)
        if poller is None:
            self._matching.offer(task, now)
        else:
            self.take(task, poller)

    # ---- ends
    def drain(self) -> None:
        """Answer all parked polls empty: the server stops."""
        for poller in self._matching.cancel_all(self._runtime.monotonic.now()):
            poller.waiter.empty()
