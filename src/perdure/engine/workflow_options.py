"""A workflow's options while it runs: its versioning override and its priority, changed path by path (reference:
engine 1.1; advanced 6.5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from temporalio.api.common.v1 import Priority
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions

from perdure.engine.apply import apply_options
from perdure.engine.effects import OfferWorkflowTask
from perdure.engine.turn import Turn
from perdure.engine.validation import validate_priority
from perdure.engine.versioning import validate_versioning_override
from perdure.enums import EventType
from perdure.errors import FailedPrecondition, InvalidArgument, NotFound, Unimplemented

_PRIORITY: Final = frozenset(("priority_key", "fairness_key", "fairness_weight"))
_DEPRECATED: Final = frozenset(("versioning_override.behavior", "versioning_override.deployment"))
_WHOLE: Final = frozenset(("versioning_override", "time_skipping_config"))


def option_paths(paths: Sequence[str]) -> list[str]:
    """What an update mask names, in snake case. Raises InvalidArgument."""
    wanted = [re.sub(r"(?<=[a-z])([A-Z])", r"_\1", path).lower() for path in paths]
    if set(wanted) >= _DEPRECATED:
        wanted = ["versioning_override", *(path for path in wanted if path not in _DEPRECATED)]
    for path in wanted:
        option, _, field = path.partition(".")
        if option == "versioning_override" and field:
            raise InvalidArgument("versioning_override doesn't support partial updates")
        if option == "time_skipping_config" and field:
            raise InvalidArgument("time_skipping_config doesn't support partial update")
        known = field in _PRIORITY or not field if option == "priority" else option in _WHOLE
        if not known:
            raise InvalidArgument(
                f'error parsing UpdateMask: proto: invalid path "{path}" for message '
                '"temporal.api.workflow.v1.WorkflowExecutionOptions"'
            )
    if "time_skipping_config" in wanted:
        raise Unimplemented("The Time-Skipping feature is not enabled for namespace.")
    return wanted


def update_workflow_options(
    turn: Turn, options: WorkflowExecutionOptions, paths: Sequence[str], *, identity: str
) -> WorkflowExecutionOptions:
    """Take over what `paths` name, also when it is unset; the resulting options. Without a change nothing is written.

    Raises NotFound (closed), InvalidArgument, FailedPrecondition (a version that nobody polls with).
    """
    run = turn.run
    if not run.running:
        raise NotFound("workflow execution already completed")
    override, priority = merged_options(turn, options, paths)
    new_override = override.SerializeToString(deterministic=True)
    new_priority = priority.SerializeToString(deterministic=True)
    if new_override != run.versioning_override or new_priority != run.priority:
        _record(turn, override if new_override else None, priority if new_priority != run.priority else None, identity)
    merged = WorkflowExecutionOptions()
    if new_override:
        merged.versioning_override.CopyFrom(override)
    if new_priority:
        merged.priority.CopyFrom(priority)
    return merged


def merged_options(
    turn: Turn, options: WorkflowExecutionOptions, paths: Sequence[str]
) -> tuple[VersioningOverride, Priority]:
    """What the options would be. Writes nothing; raises as `update_workflow_options` does."""
    run = turn.run
    override = VersioningOverride.FromString(run.versioning_override)
    priority = Priority.FromString(run.priority)
    for path in paths:
        option, _, field = path.partition(".")
        if option == "versioning_override":
            override.Clear()
            if options.HasField("versioning_override"):
                _check_override(turn, options.versioning_override)
                override.CopyFrom(options.versioning_override)
        elif field:
            setattr(priority, field, getattr(options.priority, field))
        else:
            priority.CopyFrom(options.priority)
    validate_priority(priority)
    return override, priority


def _check_override(turn: Turn, override: VersioningOverride) -> None:
    if override.WhichOneof("override") == "pinned" and not override.pinned.HasField("version"):
        raise FailedPrecondition(
            "must specify a specific pinned override version because workflow with id "
            f"{turn.run.workflow_id} has behavior Unspecified and is not yet pinned to any version"
        )
    validate_versioning_override(override, turn.run.task_queue)


def _record(turn: Turn, override: VersioningOverride | None, priority: Priority | None, identity: str) -> None:
    run = turn.run
    event = turn.event(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)
    event.worker_may_ignore = True
    attributes = event.workflow_execution_options_updated_event_attributes
    attributes.identity = identity
    if override is None:
        attributes.unset_versioning_override = True
    else:
        attributes.versioning_override.CopyFrom(override)
    if priority is not None:
        attributes.priority.CopyFrom(priority)
    task = run.workflow_task
    turn.buffer(event)  # which writes a speculative task that waits, and offers it anew
    apply_options(run, event)  # at once, also while the event is buffered
    if task is not None and task is run.workflow_task and not task.started_event_id:  # it finds its new place in line
        run.workflow_task = task = task.replace(stamp=turn.next_stamp())
        turn.effect(OfferWorkflowTask(run, task.stamp))
