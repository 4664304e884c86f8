"""What simulated workflows do: a plan is a list of steps, carried out one after the other.

A worker decides from history alone: what has no event yet gets its command, what has no end yet is waited for. So it
needs no memory, and whatever a server loses, doubles or reorders shows as a step that never ends or an event too many.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType, ParentClosePolicy
from temporalio.api.history.v1 import HistoryEvent

from tests.api.client import QUEUE, values

Plan = list[list[Any]]
PARCELS = "parcels"
"""The second task queue of each namespace."""
QUEUES = (QUEUE, PARCELS)
_C = CommandType
_E = EventType


def invent(chance: random.Random, depth: int = 0) -> Plan:
    """A plan at random."""
    plan: Plan = []
    for _ in range(chance.randint(1, 4)):
        kind = chance.choices(
            ["activity", "timer", "both", "signals", "child", "tell", "chatter", "cancelled", "upsert", "local"],
            [6, 4, 3, 4, 2, 2, 1, 2, 1, 1],
        )[0]
        if kind in ("activity", "cancelled"):
            plan.append([kind, chance.choice([1, 2, 3, 0]), chance.choices(QUEUES, [3, 1])[0]])
        elif kind == "timer":
            plan.append([kind, chance.choice([1, 2, 30, 200])])
        elif kind == "both":
            plan.append([kind, chance.choice([1, 5, 60])])
        elif kind == "signals":
            plan.append([kind, chance.randint(1, 3)])
        elif kind == "child" and depth < 2:
            plan.append([kind, invent(chance, depth + 1), chance.randint(1, 3)])
        elif kind == "tell":
            plan.append([kind, f"w{chance.randrange(8)}"])
        elif kind == "chatter":  # without waiting for answers: what is told must come in order all the same
            to = f"w{chance.randrange(8)}"
            plan += [["mention", to], ["activity", 1, QUEUE], ["mention", to], ["mention", to]]
        elif kind == "local":
            plan.append([kind])
        elif kind == "upsert":
            plan.append([kind, f"v{chance.randrange(5)}"])
    end = chance.random()
    if end < 0.15 and depth == 0:
        plan.append(["again", invent(chance, 1)])
    elif end < 0.2:
        plan.append(["fail"])
    return plan


class Told:
    """What a history says, by the IDs that plans give."""

    def __init__(self, events: Iterable[HistoryEvent], run_id: str = "") -> None:
        self.plan: Plan = []
        self.signals: list[str] = []
        self.begun: dict[str, int] = {}
        """Step to the event that began it."""
        self.ended: dict[str, str] = {}
        """Step to how it ended."""
        self.children: set[str] = set()
        """Of them, those that began a child."""
        self.cancels: set[int] = set()
        self.cancel_requested = False
        self.upserts = 0
        self.accepted: set[str] = set()
        self.completed: dict[str, str] = {}
        """Updates that were accepted, and the results of those that are done."""
        self.admitted: dict[str, int] = {}
        """Updates that a reset brought, to the event that did; they wait to be accepted."""
        self.workflow_id = ""
        self.queue = QUEUE
        self.run_id = run_id
        initiated: dict[int, str] = {}
        for event in events:
            kind = event.event_type
            name = _E.Name(kind).removeprefix("EVENT_TYPE_").lower()
            attributes = getattr(event, f"{name}_event_attributes")
            if name == "workflow_execution_started":
                self.plan = json.loads(attributes.input.payloads[0].data)
                self.workflow_id = attributes.workflow_id
                self.queue = attributes.task_queue.name
            elif name == "workflow_execution_signaled":
                self.signals.append(json.loads(attributes.input.payloads[0].data))
            elif name == "workflow_execution_cancel_requested":
                self.cancel_requested = True
            elif name == "activity_task_scheduled":
                self._begin(attributes.activity_id, event.event_id, initiated)
            elif name == "timer_started":
                self._begin(attributes.timer_id, event.event_id, initiated)
            elif name in ("start_child_workflow_execution_initiated", "signal_external_workflow_execution_initiated"):
                self._begin(attributes.control, event.event_id, initiated)
                if name.startswith("start_child"):
                    self.children.add(attributes.control)
            elif name == "activity_task_cancel_requested":
                self.cancels.add(attributes.scheduled_event_id)
            elif name == "workflow_execution_update_admitted":
                self.admitted[attributes.request.meta.update_id] = event.event_id
            elif name == "workflow_execution_update_accepted":
                update_id = attributes.protocol_instance_id
                assert update_id not in self.accepted, f"{self.workflow_id}: update {update_id} was accepted twice"
                self.accepted.add(update_id)
                self.admitted.pop(update_id, None)
            elif name == "workflow_execution_update_completed":
                update_id = attributes.meta.update_id
                assert update_id in self.accepted, f"{self.workflow_id}: update {update_id} ended before it began"
                assert update_id not in self.completed, f"{self.workflow_id}: update {update_id} ended twice"
                self.completed[update_id] = json.loads(attributes.outcome.success.payloads[0].data)
            elif name == "marker_recorded":
                step = json.loads(attributes.details["step"].payloads[0].data)
                assert step not in self.ended, f"{self.workflow_id}: {step} was recorded twice"
                self.begun[step], self.ended[step] = event.event_id, name
            elif name == "upsert_workflow_search_attributes":
                self.upserts += 1
            elif name == "timer_fired":
                self._end(attributes.timer_id, name)
            elif name.startswith("activity_task_") and name != "activity_task_started":
                self._end(initiated[attributes.scheduled_event_id], name)
            elif (
                name.startswith("child_workflow_execution_") and name != "child_workflow_execution_started"
            ) or name in (
                "start_child_workflow_execution_failed",
                "signal_external_workflow_execution_failed",
                "external_workflow_execution_signaled",
            ):
                self._end(initiated[attributes.initiated_event_id], name)

    def _begin(self, step: str, event_id: int, initiated: dict[int, str]) -> None:
        assert step not in self.begun, f"{self.workflow_id}: step {step} began twice"
        self.begun[step] = event_id
        initiated[event_id] = step

    def _end(self, step: str, how: str) -> None:
        assert step in self.begun, f"{self.workflow_id}: step {step} ended before it began"
        assert step not in self.ended, f"{self.workflow_id}: step {step} ended twice: {self.ended[step]}, {how}"
        self.ended[step] = how


def decide(told: Told) -> list[Command]:
    """The commands that a history asks for."""
    commands: list[Command] = []
    if told.cancel_requested:
        command = _command(_C.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION)
        command.cancel_workflow_execution_command_attributes.SetInParent()
        return [command]
    wanted_signals = 0
    upserts = 0
    for number, step in enumerate(told.plan):
        kind = step[0]
        name = f"s{number}"
        if kind == "activity" or kind == "cancelled":
            if name not in told.begun:
                commands.append(_activity(name, step[1], *step[2:]))
            elif kind == "cancelled" and name not in told.ended and told.begun[name] not in told.cancels:
                command = _command(_C.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK)
                command.request_cancel_activity_task_command_attributes.scheduled_event_id = told.begun[name]
                commands.append(command)
            if kind == "cancelled" and name in told.begun:
                continue  # nobody waits for it
        elif kind == "timer":
            if name not in told.begun:
                commands.append(_timer(name, step[1]))
        elif kind == "both":
            if name not in told.begun:
                commands += [_timer(name, step[1]), _activity(name + "b", 2)]
            elif name + "b" not in told.ended:
                break
        elif kind == "signals":
            wanted_signals += step[1]
            if len(told.signals) < wanted_signals:
                break
            continue
        elif kind == "child":
            if name not in told.begun:
                commands.append(_child(f"{told.workflow_id}-{name}", name, step[1], step[2]))
        elif kind == "tell" or kind == "mention":
            if name not in told.begun:
                commands.append(_tell(step[1], name, f"{told.workflow_id} {told.run_id} {name}"))
            if kind == "mention":
                continue
        elif kind == "local":
            if name not in told.ended:
                commands.append(_marker(name))
            continue
        elif kind == "upsert":
            upserts += 1
            if told.upserts < upserts:
                command = _command(_C.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
                attributes = command.upsert_workflow_search_attributes_command_attributes.search_attributes
                attributes.indexed_fields["CustomKeyword"].CopyFrom(values(step[1]).payloads[0])
                attributes.indexed_fields["CustomKeyword"].metadata["type"] = b"Keyword"
                commands.append(command)
            continue
        elif kind == "again":
            command = _command(_C.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
            continued = command.continue_as_new_workflow_execution_command_attributes
            continued.workflow_type.name = "Plan"
            continued.task_queue.name = QUEUE
            continued.input.CopyFrom(values(step[1]))
            return [*commands, command]
        elif kind == "fail":
            command = _command(_C.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
            command.fail_workflow_execution_command_attributes.failure.message = "as planned"
            return [*commands, command]
        if name not in told.ended:
            break
    else:
        command = _command(_C.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
        command.complete_workflow_execution_command_attributes.result.CopyFrom(values(told.signals))
        commands.append(command)
    return commands


def _command(kind: Any) -> Command:
    return Command(command_type=kind)


def _activity(activity_id: str, attempts: int, queue: str = QUEUE) -> Command:
    command = _command(_C.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    attributes = command.schedule_activity_task_command_attributes
    attributes.activity_id = activity_id
    attributes.activity_type.name = "Charge"
    attributes.task_queue.name = queue
    attributes.input.CopyFrom(values(activity_id, queue))
    if queue == PARCELS:
        attributes.priority.fairness_key = f"k{attempts % 3}"
    attributes.start_to_close_timeout.seconds = 20
    attributes.schedule_to_close_timeout.seconds = 3600
    attributes.heartbeat_timeout.seconds = 5
    attributes.retry_policy.maximum_attempts = attempts
    attributes.retry_policy.initial_interval.seconds = 1
    attributes.retry_policy.backoff_coefficient = 2.0
    return command


def _timer(timer_id: str, seconds: int) -> Command:
    command = _command(_C.COMMAND_TYPE_START_TIMER)
    command.start_timer_command_attributes.timer_id = timer_id
    command.start_timer_command_attributes.start_to_fire_timeout.seconds = seconds
    return command


def _marker(step: str) -> Command:
    """What a local activity leaves behind."""
    command = _command(_C.COMMAND_TYPE_RECORD_MARKER)
    command.record_marker_command_attributes.marker_name = "core_local_activity"
    command.record_marker_command_attributes.details["step"].CopyFrom(values(step))
    return command


def _child(workflow_id: str, control: str, plan: Plan, policy: int) -> Command:
    command = _command(_C.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
    attributes = command.start_child_workflow_execution_command_attributes
    attributes.workflow_id = workflow_id
    attributes.control = control
    attributes.workflow_type.name = "Plan"
    attributes.task_queue.name = QUEUE
    attributes.input.CopyFrom(values(plan))
    attributes.parent_close_policy = ParentClosePolicy.ValueType(policy)
    return command


def _tell(workflow_id: str, control: str, note: str) -> Command:
    command = _command(_C.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION)
    attributes = command.signal_external_workflow_execution_command_attributes
    attributes.execution.workflow_id = workflow_id
    attributes.control = control
    attributes.signal_name = "note"
    attributes.input.CopyFrom(values(note))
    return command
