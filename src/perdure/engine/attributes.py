"""Search attributes, memo and markers: what a workflow notes about itself (reference: engine 3.11-3.13)."""

from __future__ import annotations

from typing import Final

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Memo

from perdure.engine.bad_command import BadCommand
from perdure.engine.completion import Completion, attributes_missing
from perdure.engine.search_attributes import validate_search_attributes
from perdure.enums import EventType, WorkflowTaskFailedCause
from perdure.errors import InvalidArgument

_BAD_ATTRIBUTES: Final = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES)
_BAD_PROPERTIES: Final = int(
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES
)
_BAD_MARKER: Final = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_RECORD_MARKER_ATTRIBUTES)
_UPSERTED: Final = int(EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
_MODIFIED: Final = int(EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED)
_MARKER: Final = int(EventType.EVENT_TYPE_MARKER_RECORDED)


def upsert_search_attributes(completion: Completion, command: Command) -> None:
    if not command.HasField("upsert_workflow_search_attributes_command_attributes"):
        raise attributes_missing(_BAD_ATTRIBUTES, "UpsertWorkflowSearchAttributes")
    wanted = command.upsert_workflow_search_attributes_command_attributes
    if not wanted.HasField("search_attributes"):
        raise BadCommand(_BAD_ATTRIBUTES, "SearchAttributes is not set on UpsertWorkflowSearchAttributesCommand.")
    fields = wanted.search_attributes.indexed_fields
    if not fields:
        raise BadCommand(_BAD_ATTRIBUTES, "IndexedFields is not set on UpsertWorkflowSearchAttributesCommand.")
    turn = completion.turn
    try:
        validate_search_attributes(
            fields, turn.shared.search_attribute_types, turn.limits, namespace=turn.run.namespace
        )
    except InvalidArgument as error:
        raise BadCommand(_BAD_ATTRIBUTES, error.message) from error
    merged = sum(len(name) + len(value) for name, value in turn.run.search_attributes.items() if name not in fields)
    merged += sum(len(name) + value.ByteSize() for name, value in fields.items())
    if merged > turn.limits.search_attribute_total:
        raise BadCommand(
            _BAD_ATTRIBUTES, "UpsertWorkflowSearchAttributesCommandAttributes exceeds size limit.", terminate=True
        )
    event = completion.event(_UPSERTED, command)
    attributes = event.upsert_workflow_search_attributes_event_attributes
    attributes.workflow_task_completed_event_id = completion.event_id
    attributes.search_attributes.CopyFrom(wanted.search_attributes)
    turn.emit(event)


def modify_properties(completion: Completion, command: Command) -> None:
    if not command.HasField("modify_workflow_properties_command_attributes"):
        raise attributes_missing(_BAD_PROPERTIES, "ModifyWorkflowProperties")
    wanted = command.modify_workflow_properties_command_attributes
    if not wanted.HasField("upserted_memo"):
        raise BadCommand(_BAD_PROPERTIES, "UpsertedMemo is not set on ModifyWorkflowPropertiesCommand.")
    if not wanted.upserted_memo.fields:
        raise BadCommand(_BAD_PROPERTIES, "UpsertedMemo.Fields is not set on ModifyWorkflowPropertiesCommand.")
    turn = completion.turn
    completion.check_size(
        wanted, turn.limits.memo_size, _BAD_PROPERTIES, "ModifyWorkflowPropertiesCommandAttributes exceeds size limit."
    )
    memo = Memo.FromString(turn.run.memo)
    memo.MergeFrom(wanted.upserted_memo)
    completion.check_size(
        memo,
        turn.limits.memo_size,
        _BAD_PROPERTIES,
        "ModifyWorkflowPropertiesCommandAttributes. Memo exceeds size limit.",
    )
    event = completion.event(_MODIFIED, command)
    attributes = event.workflow_properties_modified_event_attributes
    attributes.workflow_task_completed_event_id = completion.event_id
    attributes.upserted_memo.CopyFrom(wanted.upserted_memo)
    turn.emit(event)


def record_marker(completion: Completion, command: Command) -> None:
    if not command.HasField("record_marker_command_attributes"):
        raise attributes_missing(_BAD_MARKER, "RecordMarker")
    wanted = command.record_marker_command_attributes
    limits = completion.turn.limits
    name = wanted.marker_name
    if not name:
        raise BadCommand(_BAD_MARKER, "MarkerName is not set on RecordMarkerCommand.")
    length = len(name.encode())
    if length > limits.id_length:
        raise BadCommand(
            _BAD_MARKER,
            f"MarkerName on RecordMarkerCommand exceeds length limit. "
            f"MarkerName={name} Length={length} Limit={limits.id_length}",
        )
    if sum(len(key) + value.ByteSize() for key, value in wanted.details.items()) > limits.blob_size:
        raise BadCommand(_BAD_MARKER, "RecordMarkerCommandAttributes.Details exceeds size limit.", terminate=True)
    event = completion.event(_MARKER, command)
    attributes = event.marker_recorded_event_attributes
    attributes.marker_name = name
    attributes.workflow_task_completed_event_id = completion.event_id
    for key, value in wanted.details.items():
        attributes.details[key].CopyFrom(value)
    if wanted.HasField("header"):
        attributes.header.CopyFrom(wanted.header)
    if wanted.HasField("failure"):
        attributes.failure.CopyFrom(wanted.failure)
    completion.turn.emit(event)
