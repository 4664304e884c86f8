"""Tasks and pollers, in matching and in what the runtime makes of it."""

from __future__ import annotations

from tools.mutants.fault import Area

AREA = Area(
    "matching",
    "tests/matching/test_queues.py",
    "tests/runtime/test_tasks_meet_pollers.py",
    "tests/matching/test_matching_machine.py",
)
fault = AREA.fault

fault(
    "a workflow task that changed before it was offered is offered twice",
    "runtime/dispatch.py",
    "        if task is None or task.started_event_id or task.stamp != stamp:",
    "        if task is None or task.started_event_id:",
    "tests/runtime/test_updates.py",
)
fault(
    "a start that was given up offers a task whose row never came to be",
    "runtime/start_tasks.py",
    "        if run is None or (task.task_no and not self._row):",
    "        if run is None:",
    "tests/runtime/test_failed_reads.py",
)
fault(
    "rows of tasks that cannot be read are never read again",
    "runtime/task_rows.py",
    "                self._matching.unread(load)\n",
    "",
    "tests/runtime/test_failed_reads.py",
)
fault(
    "a task that is started again after a refused batch waits at the same time",
    "runtime/start_tasks.py",
    "        elif lost or (self.stored and runtime.matching.take_again(task)):",
    "        elif lost or self.stored:",
    "tests/runtime/test_refused_batches.py",
)
fault(
    "a started task that was lost with its answer is lost with a refused batch",
    "runtime/start_tasks.py",
    "        elif lost or (self.stored and runtime.matching.take_again(task)):",
    "        elif self.stored and runtime.matching.take_again(task):",
    "tests/runtime/test_refused_batches.py",
)
fault(
    "a start that was given up offers whatever attempt the activity has since",
    "runtime/start_tasks.py",
    "        return activity is not None and activity.stamp == self.task.stamp",
    "        return activity is not None",
    "tests/runtime/test_failed_reads.py",
)
fault(
    "a reserved poller whose task turned out stale is not released",
    "runtime/start_tasks.py",
    "            self.over = True\n            self.runtime.dispatch.next_for(self.poller)\n\n    def answer",
    "            self.over = True\n\n    def answer",
)
fault(
    "a reserved poller is not released when the batch is refused",
    "runtime/start_tasks.py",
    "        else:\n            runtime.dispatch.next_for(self.poller)\n",
    "",
    "tests/runtime/test_refused_batches.py",
    "tests/runtime/test_tasks_meet_pollers.py",
)
fault(
    "a task for a poll that went away is lost until it times out",
    "runtime/dispatch.py",
    "        self._matching.cancel(poller, now)\n        self._matching.release(poller, now)\n        self._issue_again(item)",
    "        self._matching.cancel(poller, now)\n        self._matching.release(poller, now)",
)
fault(
    "a poll that went away stays in line",
    "matching/queues.py",
    "            del queue.line[poller]\n",
    "",
)
fault(
    "the token of an activity attempt that never reached its poll stays good",
    "runtime/dispatch.py",
    "                activities.reissue_activity_task(turn, token)\n",
    "                pass\n",
)
fault(
    "a task that ended while its answer was put together is sent",
    "runtime/dispatch.py",
    "            if task is None or task.started_event_id != started.started_event_id or task.stamp != started.stamp:",
    "            if task is None and started.stamp < 0:",
)
fault(
    "a task whose start has to wait is not written",
    "runtime/start_tasks.py",
    "        if self.stored or not task.task_no:\n            return\n        try:",
    "        if self.stored or task.task_no:\n            return\n        try:",
)
fault(
    "a sticky task waits for a worker that is gone",
    "runtime/dispatch.py",
    "        if task.sticky and not self._matching.survey.has_recent_poller(key, now, STICKY_ALIVE_SECONDS):",
    "        if task.sticky and key is None:",
)
fault(
    "a released poller goes to the end of the line",
    "matching/queues.py",
    "        return self._serve(self._open(poller.queue, now), poller, True, now)",
    "        return self._serve(self._open(poller.queue, now), poller, False, now)",
)
fault(
    "the poller that came last is served first",
    "matching/queues.py",
    "        poller, _ = queue.line.popitem(last=False)",
    "        poller, _ = queue.line.popitem(last=True)",
)
fault(
    "a task whose row is not deleted yet is given out again",
    "matching/queues.py",
    "        if task is not None:\n            self.rows.departed[task.task_no] = task\n            if pace is not None:",
    "        if task is not None:\n            if pace is not None:",
)
fault(
    "a row that is read while its deletion is under way is dispatched",
    "matching/backlog.py",
    "            if task.task_no in self._departed:\n                self._departed[task.task_no] = task  # known",
    "            if task.task_no in ():\n                self._departed[task.task_no] = task  # known",
)
fault(
    "a commit during a read of rows is not remembered",
    "matching/rows.py",
    "            self._noted.append((added, deleted))  # the read may be of a moment before this commit\n            return",
    "            pass",
)
fault(
    "tasks of a refused batch do not wait again",
    "matching/queues.py",
    "            poller = self.put_back(task, now)\n            if poller",
    "            poller = None\n            if poller",
)
fault(
    "a new task overtakes rows that are not read yet",
    "matching/queues.py",
    "        if backlog.overflow and backlog.after[0] <= task.priority and task.query is None:\n            return None\n",
    "",
)
fault(
    "a task that is put back goes behind the others",
    "matching/backlog.py",
    "        elif lane[0].order > task.order:\n            lane.appendleft(task)",
    "        elif lane[0].order > task.order:\n            lane.append(task)",
)
fault(
    "what is pushed out of memory is skipped when it is read back",
    "matching/backlog.py",
    "            self.after = (task.priority, task.fairness_pass, task.task_no - 1)",
    "            self.after = (task.priority, task.fairness_pass, task.task_no)",
)
fault(
    "priorities are ignored",
    "runtime/dispatch.py",
    "            min(priority, LOWEST_PRIORITY) if priority > 0 else DEFAULT_PRIORITY,\n",
    "            3,\n",
    "tests/api/test_priorities.py",
)
fault(
    "a query waits behind the backlog",
    "matching/queues.py",
    "        if queue.volatile:\n            return queue.volatile.popitem(last=False)[0]\n",
    "        if queue.volatile and not queue.backlog.waiting:\n            return queue.volatile.popitem(last=False)[0]\n",
)
fault(
    "a fairness key that was away has saved up its turns",
    "matching/fairness.py",
    "        if fairness_pass < self.at:\n            fairness_pass = self.at\n",
    "",
    "tests/matching/test_fairness.py",
)
fault(
    "fairness weights are ignored",
    "matching/fairness.py",
    "(STRIDE if weight == 1.0 else int(STRIDE / weight_of(weight)))",
    "STRIDE",
    "tests/matching/test_fairness.py",
)
fault(
    "after a restart a fairness key goes before what it has waiting",
    "matching/fairness.py",
    "        self.turn[fairness_key] = max(fairness_pass + 1, self.turn.get(fairness_key, 0))",
    "        self.turn[fairness_key] = self.turn.get(fairness_key, 0)",
    "tests/matching/test_fairness.py",
)
fault(
    "a rate limit lets twice as much through",
    "matching/pace.py",
    "        self._interval = 1.0 / rate if rate > 0.0 else 0.0",
    "        self._interval = 0.5 / rate if rate > 0.0 else 0.0",
    "tests/matching/test_pace.py",
)
fault(
    "a burst is one too large",
    "matching/pace.py",
    "        self._slack = (self._burst - 1) * self._interval",
    "        self._slack = self._burst * self._interval",
    "tests/matching/test_pace.py",
)
fault(
    "a change of the rate is a new burst",
    "matching/pace.py",
    "            self._even = now + (self._burst - left) * self._interval",
    "            self._even = now",
    "tests/matching/test_pace.py",
)
fault(
    "what a rate limit held back stays where it is",
    "runtime/dispatch.py",
    "        if self._matching.throttled:\n            self.heed_limits()\n\n    def offer_query",
    "\n    def offer_query",
    "tests/runtime/test_rates.py",
    "tests/api/test_task_queue_config.py",
)
fault(
    "a sticky queue is dead while it is polled",
    "matching/survey.py",
    "        if found.line:\n            return True\n",
    "",
)
fault(
    "a worker that stopped takes other workers' polls along",
    "matching/queues.py",
    "            if poller.worker_instance_key == worker_instance_key\n",
    "",
)
fault(
    "tasks of a stopped worker's sticky queue are forgotten",
    "runtime/stopping_workers.py",
    "        for task in unloaded.tasks:\n            _leave_sticky(runtime, task)\n",
    "",
    "tests/runtime/test_tasks_meet_pollers.py",
    "tests/api/test_workers.py",
)
