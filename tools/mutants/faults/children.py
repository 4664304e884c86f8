"""Child workflows, and signals and cancel requests to other workflows."""

from __future__ import annotations

from tools.mutants.fault import Area, Edit

AREA = Area("children", "tests/engine/test_children.py", "tests/engine/test_externals.py")
fault = AREA.fault

fault(
    "children are not terminated with their parent",
    "engine/childhood.py",
    "    if message.policy == _TERMINATE:\n",
    "    if message.policy == -1:\n",
)
fault(
    "children are not asked to cancel when their parent closes",
    "engine/childhood.py",
    "    elif message.policy == _REQUEST_CANCEL:\n",
    "    elif message.policy == -1:\n",
)
AREA.fault_in_several_places(
    "abandoned children end with their parent",
    (
        Edit(
            "engine/children.py",
            "        if child.parent_close_policy == _ABANDON or child.run_id in spared:",
            "        if child.run_id in spared:",
        ),
        Edit(
            "engine/childhood.py",
            "    if message.policy == _TERMINATE:\n",
            "    if message.policy != _REQUEST_CANCEL:\n",
        ),
    ),
)
fault(
    "somebody else's workflow ends with the parent whose child had its ID",
    "engine/childhood.py",
    "        or (run.first_run_id != message.child_run_id if message.child_run_id else parent.run_id != "
    "message.from_run_id)\n",
    "",
)
fault(
    "a child's result is recorded twice",
    "engine/children.py",
    "    turn.buffer(event)\n    remove_child(turn.run, child.initiated_event_id)\n",
    "    turn.buffer(event)\n",
)
fault(
    "a child's start is recorded twice",
    "engine/children.py",
    "    if run.running and child is not None and not child.run_id:",
    "    if run.running and child is not None:",
)
fault(
    "a parent hears of the end of the first run of its child's chain",
    "engine/closing.py",
    "    if tell_parent and run.parent is not None and not run.successor_run_id:",
    "    if tell_parent and run.parent is not None:",
)
fault(
    "a child's first task comes before its parent knows of it",
    "engine/childhood.py",
    "schedule_first_task=False, awaits_parent=True)",
    "schedule_first_task=True, awaits_parent=False)",
)
fault(
    "a child that is there already is started again",
    "engine/childhood.py",
    "        current.create_request_id == request_id or _started_for_ancestor(current, message, initiated)\n",
    "        _started_for_ancestor(current, message, initiated)\n",
)
fault(
    "a child replaces a running workflow of its ID",
    "engine/childhood.py",
    "    if current.running or policy == _REJECT:\n",
    "    if policy == _REJECT:\n",
)
fault(
    "a child started with the command that closes its parent",
    "engine/commands.py",
    "    for initiated_event_id in completion.new_children.values():\n        remove_child(turn.run, initiated_event_id)",
    "    for message in completion.messages:\n        turn.send(message)",
)
fault(
    "a signal for children reaches others",
    "engine/externals.py",
    "    if not child_workflow_only:\n        return True",
    "    if not child_workflow_only or turn.run.running:\n        return True",
)
fault(
    "a workflow signals itself as an external one",
    "engine/externals.py",
    "    if message.from_namespace_id == message.to_namespace_id and message.from_workflow_id == message.to_workflow_id:",
    "    if message.from_namespace_id == message.to_workflow_id:",
)
fault(
    "the result of an external signal is recorded twice",
    "engine/externals.py",
    "    remove_external(run, sort, external.initiated_event_id)\n",
    "",
)
fault(
    "a child's priority is not checked",
    "engine/children.py",
    '        _checked("Priority", where, lambda: validate_priority(wanted.priority))\n',
    "        pass\n",
    "tests/api/test_priorities.py",
)
fault(
    "a weight that is no number is taken",
    "engine/validation.py",
    "    if not priority.fairness_weight >= 0:",
    "    if priority.fairness_weight < 0:",
    "tests/api/test_priorities.py",
)
