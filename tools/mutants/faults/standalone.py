"""Standalone activities."""

from __future__ import annotations

from tools.mutants.fault import Area

AREA = Area("standalone", "tests/engine/test_standalone.py", "tests/runtime/test_standalone.py")
fault = AREA.fault

fault(
    "a standalone activity's task under an old stamp is started",
    "engine/standalone/attempts.py",
    "    if not record.running or attempt.stamp != stamp or attempt.started_at or attempt.paused:",
    "    if not record.running or attempt.started_at or attempt.paused:",
)
fault(
    "a standalone activity is given to two pollers",
    "engine/standalone/attempts.py",
    "    if not record.running or attempt.stamp != stamp or attempt.started_at or attempt.paused:",
    "    if not record.running or attempt.stamp != stamp or attempt.paused:",
)
fault(
    "the answer of an attempt that is over is taken",
    "engine/standalone/attempts.py",
    "        or (isinstance(which, TaskToken) and which.stamp != attempt.stamp)\n",
    "",
)
fault(
    "the attempt that never reached its poll is not given to another",
    "engine/standalone/attempts.py",
    "    turn.put(attempt)\n    if attempt.offered:\n        turn.offer()\n\n\n# ---- attempts beat",
    "    turn.put(attempt)\n\n\n# ---- attempts beat",
)
fault(
    "a start that is repeated is refused",
    "engine/standalone/starting.py",
    "        if request.request_id == current.create_request_id:",
    "        if request.request_id == current.run_id:",
)
fault(
    "a request that joined an activity joins it again",
    "engine/standalone/starting.py",
    "        if current.request_ids.get(request.request_id, (0, 0))[0] == _ATTACHED:\n",
    "        if current.request_ids.get(request.request_id, (0, 0))[0] == -1:\n",
)
fault(
    "two open activities have one ID",
    "engine/standalone/starting.py",
    "            if request.id_conflict_policy != _USE_EXISTING:\n                raise _already_started(current)\n",
    "            if request.id_conflict_policy != _USE_EXISTING:\n                return Started(_create(shared, request), True)\n",
)
fault(
    "an ID is used again although its activity completed",
    "engine/standalone/starting.py",
    "ALLOW_DUPLICATE_FAILED_ONLY and current.status == COMPLETED",
    "ALLOW_DUPLICATE_FAILED_ONLY and current.running",
)
fault(
    "a delayed activity is given out at once",
    "engine/standalone/starting.py",
    "        offered=not delay,\n",
    "        offered=True,\n",
)
fault(
    "an activity that no worker holds cannot be cancelled",
    "engine/standalone/control.py",
    "    if attempt.started_at:\n        turn.put(attempt)\n        return",
    "    if attempt.started_at or attempt:\n        turn.put(attempt)\n        return",
)
fault(
    "a cancellation that is repeated is refused",
    "engine/standalone/control.py",
    "    if state.cancel_request_id and state.cancel_request_id == request_id:\n        return\n",
    "",
)
fault(
    "a termination that is repeated is refused",
    "engine/standalone/control.py",
    "        if state.terminate_request_id == request_id:\n            return\n",
    "",
)
fault(
    "an activity that closed is terminated",
    "engine/standalone/control.py",
    "    _check_running(turn)\n    state.terminate_request_id = request_id",
    "    state.terminate_request_id = request_id",
)
fault(
    "a caller who waits for the outcome is not woken",
    "runtime/record_waits.py",
    "        self._cancel = None\n        if not self._call.gone:\n            self.ask()",
    "        self._cancel = None",
    "tests/runtime/test_standalone.py",
)
fault(
    "a caller who waits for the outcome is told what is not durable",
    "runtime/runtime.py",
    "        self.enter(Input(self, (namespace_id, kind, execution_id), run_id, decide, waiter, starts=True))",
    "        item = Input(self, (namespace_id, kind, execution_id), run_id, decide, waiter, starts=True)\n"
    "        follow, self.committer.follow = self.committer.follow, lambda item, _: item.answer()\n"
    "        self.enter(item)\n        self.committer.follow = follow",
    "tests/runtime/test_standalone.py",
)
