"""Resets."""

from __future__ import annotations

from tools.mutants.fault import Area

AREA = Area("resets", "tests/engine/test_resetting.py", "tests/runtime/test_resets.py")
fault = AREA.fault

fault(
    "a reset loses the signals after its point",
    "engine/reapplying.py",
    "            if SIGNALS not in excluded:\n",
    "            if SIGNALS in excluded:\n",
)
fault(
    "a reset tells signals twice",
    "engine/reapplying.py",
    "    turn.emit(_anew(turn, event))\n\n\ndef _update",
    "    turn.emit(_anew(turn, event))\n    turn.emit(_anew(turn, event))\n\n\ndef _update",
)
fault(
    "a reset loses the updates after its point",
    "engine/reapplying.py",
    "            if UPDATES not in excluded:\n",
    "            if UPDATES in excluded:\n",
)
fault(
    "a reset that is repeated makes another run",
    "engine/resetting.py",
    "    if current is not None and current.reset_request_id == reset.request_id:",
    "    if current is not None and current.run_id == reset.request_id:",
)
fault(
    "a signal that is repeated after a reset is written twice",
    "engine/resetting.py",
    "        if kept or event_type == _SIGNALED:\n",
    "        if kept:\n",
)
fault(
    "a start that is repeated after a reset starts anew",
    "engine/resetting.py",
    "    run.create_request_id = base.create_request_id\n",
    "    run.create_request_id = reset.request_id\n",
)
fault(
    "a parent is told that its child ended, when it was reset",
    "engine/resetting.py",
    "terminate(turn, reset.reason, identity=RESETTER, tell_parent=False, tell_children=False)",
    "terminate(turn, reset.reason, identity=RESETTER, tell_parent=True, tell_children=False)",
)
fault(
    "the children of a run end when it is reset",
    "engine/resetting.py",
    "terminate(turn, reset.reason, identity=RESETTER, tell_parent=False, tell_children=False)",
    "terminate(turn, reset.reason, identity=RESETTER, tell_parent=False, tell_children=True)",
)
fault(
    "activities of the kept part are not tried again",
    "engine/resetting.py",
    "        turn.effect(OfferActivityTask(run, scheduled_event_id))\n",
    "",
)
fault(
    "a child that was asked for is not asked for again",
    "engine/resetting.py",
    "        if not child.run_id:\n            turn.send(\n",
    "        if child.run_id:\n            turn.send(\n",
)
fault(
    "timers of the kept part are not armed",
    "engine/rebuilding.py",
    "        arm_all(run)\n",
    "",
)
fault(
    "the new run keeps one event too few",
    "engine/rebuilding.py",
    "        kept = [event for event in events if event.event_id < self.cut]",
    "        kept = [event for event in events if event.event_id < self.cut - 1]",
)
fault(
    "a workflow is reset to where no task was pending",
    "engine/resetting.py",
    "    if task is None or not rebuilding.run.running:\n        raise InvalidArgument(",
    "    if task is None and not rebuilding.run.running:\n        raise InvalidArgument(",
)
