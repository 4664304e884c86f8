"""Queries."""

from __future__ import annotations

from tools.mutants.fault import Area

AREA = Area("queries", "tests/runtime/test_queries.py", "tests/api/test_queries.py")
fault = AREA.fault

fault(
    "a query does not wait for the task that is under way",
    "runtime/queries.py",
    "        if run.completed_tasks and (not run.running or task is None):",
    "        if run.completed_tasks:",
)
fault(
    "a query is answered from what is not durable",
    "runtime/queries.py",
    "            return Outcome(PENDING, committed=lambda: send(run))",
    "            send(run)\n            return Outcome(PENDING)",
)
fault(
    "a query that its worker left is not asked again",
    "runtime/queries.py",
    "                    else:\n                        runtime.dispatch.offer_query(task.queue, item)",
    "",
)
fault(
    "a query that was refused stays in the way of others",
    "runtime/queries.py",
    "        if self.item is not None:\n            self._queries.forget(self.item)\n        self._call.fail(error)",
    "        self._call.fail(error)",
    "tests/runtime/test_what_callers_see.py",
)
fault(
    "a query that its worker left when its time there was over goes back there",
    "runtime/queries.py",
    "                    if alarm is not None and alarm.callback is None:",
    "                    if alarm is not None and alarm is item:",
    "tests/runtime/test_what_callers_see.py",
)
fault(
    "a query waits for a sticky worker that is gone",
    "runtime/queries.py",
    "        if item.done or item.handed_out:\n            return\n        self._forget_sticky(item)",
    "        if item.done or not item.handed_out:\n            return\n        self._forget_sticky(item)",
)
fault(
    "a query that rode along and was not answered is lost",
    "runtime/queries.py",
    "                elif not item.done:\n                    self._dispatch(item, run)",
    "                elif item.done:\n                    self._dispatch(item, run)",
)
fault(
    "a query that waits when its workflow closes is lost",
    "runtime/decisions.py",
    "        if loaded.queries:\n            item = Input(",
    "        if not loaded.queries:\n            item = Input(",
)
fault(
    "a query is answered although its caller wants open workflows alone",
    "runtime/queries.py",
    "            rejected = (condition == _NOT_OPEN and run.status != RUNNING) or (",
    "            rejected = (condition == _NOT_OPEN and run.status == -1) or (",
)
fault(
    "a query that nobody can answer is not told so",
    "runtime/queries.py",
    "            if not runtime.matching.survey.has_recent_poller(task.queue, now, RECENT_POLLER_SECONDS):",
    "            if runtime.matching.survey.has_recent_poller(task.queue, now, RECENT_POLLER_SECONDS):",
)
fault(
    "a worker of another namespace answers a query",
    "runtime/queries.py",
    "        if item is None or item.done or item.key[0] != token.namespace_id:",
    "        if item is None or item.done:",
)
