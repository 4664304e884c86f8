"""Time that skips."""

from __future__ import annotations

from tools.mutants.fault import Area

AREA = Area(
    "skipping",
    "tests/skipping/test_refusals.py",
    "tests/skipping/test_counter.py",
    "tests/skipping/test_by_hand.py",
    "tests/skipping/test_gaps.py",
    "tests/skipping/test_features.py",
)
fault = AREA.fault

fault(
    "time skips while an activity runs",
    "runtime/skipping.py",
    "            self.explicit + self.owners.soft <= 0\n            and not self.owners.hard",
    "            self.explicit <= 0\n            and not self.owners.hard",
)
fault(
    "time skips while a workflow task is under way",
    "engine/kinds.py",
    "        return int(waits), sum(",
    "        return 0, sum(",
)
fault(
    "time skips although it is locked",
    "runtime/skipping.py",
    "            self.explicit + self.owners.soft <= 0\n            and not self.owners.hard",
    "            self.owners.soft <= 0\n            and not self.owners.hard",
)
fault(
    "owners leak: a run that is idle again stays busy",
    "runtime/owners.py",
    "            self._hard -= old_hard\n            self.soft -= old_soft",
    "            self._hard -= old_hard",
)
fault(
    "a deleted run keeps time from skipping",
    "runtime/owners.py",
    '        self._set(("", 0, ""), run_id, 0, 0)',
    "        pass",
)
fault(
    "a query that was answered keeps time from skipping",
    "runtime/queries.py",
    "        if self._runtime.skipper is not None:\n            self._runtime.skipper.release(item)\n",
    "",
)
fault(
    "an update that was answered keeps time from skipping",
    "runtime/updates.py",
    "                self._runtime.skipper.release(held)",
    "                pass",
    "tests/skipping/test_updates.py",
)
fault(
    "time skips past an update that waits for its worker",
    "runtime/updates.py",
    "            self._runtime.skipper.hold(held, lambda: _waits(held))",
    "            pass",
    "tests/skipping/test_updates.py",
)
fault(
    "time skips while a message is on its way",
    "runtime/owners.py",
    "            + len(runtime.mail.on_way)\n",
    "",
)
fault(
    "time skips past decisions that are not durable",
    "runtime/owners.py",
    "            + (not runtime.committer.idle)\n",
    "",
    "tests/skipping/test_refusals.py",
)
fault(
    "time goes back when a server starts again",
    "runtime/skipping.py",
    '            self._runtime.committer.put_meta(OFFSET, b"%d" % self.time.offset)',
    "            pass",
    "tests/skipping/test_restart.py",
)
fault(
    "a server that starts again does not know who is busy",
    "runtime/skipping.py",
    "        self.owners.load()\n        self.poke()",
    "        self.poke()",
    "tests/skipping/test_restart.py",
)
fault(
    "a sleep that ended leaves time unlocked",
    "runtime/skipping.py",
    "        if sleep.outweighs:\n            self._outweighing -= 1",
    "        if sleep.outweighs and self._closed:\n            self._outweighing -= 1",
)
fault(
    "time skips past the end of a sleep",
    "runtime/skipping.py",
    "        return min(wake, sleep)",
    "        return max(wake, sleep)",
)
fault(
    "a lock is one more than the unlocks before it",
    "runtime/skipping.py",
    "            self._surplus -= 1\n        else:",
    "            self._surplus -= 1\n            self._locks += 1\n        else:",
)
fault(
    "a wait for a retry counts as a running activity",
    "engine/kinds.py",
    "sum(map(is_under_way, run.activities.values()))",
    "len(run.activities)",
)
fault(
    "frozen time skips",
    "runtime/skipping.py",
    "            and (not self.time.frozen or self._opening > 0)\n",
    "",
)
