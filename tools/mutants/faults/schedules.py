"""Schedules."""

from __future__ import annotations

from tools.mutants.fault import Area

AREA = Area(
    "schedules",
    "tests/engine/test_schedule_overlap.py",
    "tests/runtime/test_schedules.py",
    "tests/engine/test_schedule_spec.py",
)
fault = AREA.fault

fault(
    "a schedule does not skip while its workflow runs",
    "engine/schedules/overlap.py",
    "        elif not occupied and found.alone is None:",
    "        elif found.alone is None:",
)
fault(
    "BufferOne buffers more than one",
    "engine/schedules/overlap.py",
    "            one_waits = True\n",
    "",
)
fault(
    "CancelOther terminates",
    "engine/schedules/overlap.py",
    "            found.cancel |= policy == CANCEL_OTHER\n            found.terminate |= policy == TERMINATE_OTHER",
    "            found.terminate = True",
)
fault(
    "what was asked to cancel is not terminated for another that must",
    "engine/schedules/acting.py",
    "        if running[Running.STOPPING] >= wanted:",
    "        if running[Running.STOPPING]:",
)
fault(
    "times that were missed for longer than the catch-up window are made up for",
    "engine/schedules/acting.py",
    "        if now - due.actual > state.catchup_window:",
    "        if now - due.actual < 0:",
)
fault(
    "a missed time is not counted",
    "engine/schedules/acting.py",
    "            state.missed_catchup_window += 1\n",
    "",
)
fault(
    "a schedule of limited actions goes on for ever",
    "engine/schedules/acting.py",
    "            state.remaining -= 1\n",
    "",
)
fault(
    "what falls into a pause is made up for",
    "engine/schedules/acting.py",
    "            state.processed_until = now  # what falls into a pause is not made up for\n            continue",
    "            return due.actual",
)
fault(
    "a schedule that pauses on failure goes on",
    "engine/schedules/acting.py",
    "message.status in (_FAILED, _TIMED_OUT):",
    "message.status in ():",
)
fault(
    "the end of a schedule's workflow is not noticed",
    "engine/schedules/acting.py",
    "        state.running = [running for running in state.running if running[Running.NUMBER] != message.number]\n",
    "",
)
fault(
    "the last result is not told to the next workflow",
    "engine/schedules/acting.py",
    "        if result is not None:\n            wanted.last_completion_result",
    "        if result is None and result:\n            wanted.last_completion_result",
)
fault(
    "all starts of a schedule have one request ID",
    "engine/schedules/acting.py",
    '    wanted.request_id = f"{record.run_id}-{number}"',
    "    wanted.request_id = record.run_id",
)
fault(
    "a backfill leaves out its last time",
    "engine/schedules/spec.py",
    "            if found is None or found > last:",
    "            if found is None or found >= last:",
)
fault(
    "the clocks of a schedule never change",
    "engine/schedules/zones.py",
    "            if (found := self._offset(look)) == offset:\n                continue",
    "            if (found := self._offset(look)) != 0 or offset:\n                continue",
    "tests/engine/test_schedule_spec.py",
)
fault(
    "what the clocks show twice is due once",
    "engine/schedules/spec.py",
    "    return zone.stretch(at)[0] < before",
    "    return zone.stretch(at)[0] < before - 7200",
    "tests/engine/test_schedule_spec.py",
)
fault(
    "jitter reaches beyond the next time",
    "engine/schedules/spec.py",
    "            room = min(room, (following - nominal) * SECOND)",
    "            room = room + 0 * (following - nominal)",
    "tests/engine/test_schedule_spec.py",
)
fault(
    "the phase of an interval is ignored",
    "engine/schedules/spec.py",
    "            best = min(best, least + (phase - least) % length)",
    "            best = min(best, least + (0 * phase - least) % length)",
    "tests/engine/test_schedule_spec.py",
)
fault(
    "excluded times are due",
    "engine/schedules/spec.py",
    "        if not self._exclusions:\n            return at",
    "        if self._exclusions:\n            return at",
    "tests/engine/test_schedule_spec.py",
)
fault(
    "a schedule acts after its end",
    "engine/schedules/spec.py",
    "        return best if best <= self._last else None",
    "        return best",
    "tests/engine/test_schedule_spec.py",
)
fault(
    "a schedule's workflow starts over one that runs under its ID",
    "engine/schedules/acting.py",
    "_KEEP: Final = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_FAIL",
    "_KEEP: Final = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING",
)
fault(
    "the years that a schedule looks through cost nothing",
    "engine/schedules/spec.py",
    "                self.work += calendar.steps - before\n",
    "                pass\n",
    "tests/engine/test_schedule_bombs.py",
)
