"""What requests are checked for."""

from __future__ import annotations

from tools.mutants.fault import Area

AREA = Area("api", "tests/api/test_workflow_tasks.py", "tests/api/test_activities.py")
fault = AREA.fault

fault(
    "a task token of another namespace is accepted",
    "runtime/namespaces.py",
    "        if named.id != token.namespace_id:",
    "        if not named.id:",
    "tests/api/test_namespaces.py",
    "tests/api/test_workflow_tasks.py",
    "tests/api/test_activities.py",
)
fault(
    "a token of another kind is accepted",
    "engine/tokens.py",
    "    if token.kind != kind:",
    "    if not token.kind:",
)
fault(
    "a page token of another run's history is accepted",
    "api/history.py",
    "    if run_id and run_id != page.run_id:",
    "    if run_id and not page.run_id:",
    "tests/api/test_history.py",
)
fault(
    "the second page of a history leaves out an event",
    "api/history.py",
    '        token = self._token(end + 1) if end < last or goes_on else b""',
    '        token = self._token(end + 2) if end < last or goes_on else b""',
    "tests/api/test_history.py",
)
fault(
    "a page token follows the ID instead of the run",
    "api/history.py",
    "        self._run_id = run.run_id\n",
    "",
    "tests/api/test_history.py",
    "tests/api/test_history_waiting.py",
)
fault(
    "a caller who waits for the close is answered with another event",
    "api/history.py",
    "            if run.running:\n                return self._wait_for(run)\n            self._runtime.histories.read(run, last, last,",
    "            self._runtime.histories.read(run, last, last,",
    "tests/runtime/test_barrier.py",
)
fault(
    "an input larger than the limit is taken",
    "engine/validation.py",
    '    if request.input.ByteSize() > limits.blob_size:\n        raise InvalidArgument("Blob data size exceeds limit.")\n'
    '    if request.HasField("memo")',
    '    if request.input.ByteSize() > 2 * limits.blob_size:\n        raise InvalidArgument("Blob data size exceeds limit.")\n'
    '    if request.HasField("memo")',
    "tests/engine/test_start.py",
)
fault(
    "a poll without a deadline waits for ever",
    "api/checks.py",
    "    if deadline is None:\n",
    "    if deadline is None and call is None:\n",
    "tests/api/test_workflow_tasks.py",
    "tests/api/test_activities.py",
)
fault(
    "an ID may be longer than the limit",
    "api/checks.py",
    "    return len(text) * 4 > limit and len(text.encode()) > limit",
    "    return len(text) > 4 * limit and len(text.encode()) > limit",
    "tests/api/test_workflows.py",
    "tests/api/test_workflow_tasks.py",
)
fault(
    "a run is waited for beyond the caller's deadline",
    "api/history.py",
    "                self._until = min(self._until, deadline - ANSWER_EARLIER)",
    "                self._until = max(self._until, deadline)",
    "tests/api/test_history_waiting.py",
)
