"""Links: how one execution points at what caused it or what it caused (reference: advanced 12.3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from google.protobuf.message import Message
from temporalio.api.common.v1 import Link

from perdure.engine.limits import Limits
from perdure.errors import InvalidArgument

_REQUIRED: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "workflow_event": (
        ("namespace", "workflow event link must not have an empty namespace field"),
        ("workflow_id", "workflow event link must not have an empty workflow ID field"),
        ("run_id", "workflow event link must not have an empty run ID field"),
    ),
    "batch_job": (("job_id", "batch job link must not have an empty job ID"),),
    "activity": (
        ("namespace", "activity link must not have an empty namespace field"),
        ("activity_id", "activity link must not have an empty activity ID field"),
        ("run_id", "activity link must not have an empty run ID field"),
    ),
    "nexus_operation": (
        ("namespace", "nexus operation link must not have an empty namespace field"),
        ("operation_id", "nexus operation link must not have an empty operation ID field"),
        ("run_id", "nexus operation link must not have an empty run ID field"),
    ),
    "workflow": (
        ("namespace", "workflow link must not have an empty namespace field"),
        ("workflow_id", "workflow link must not have an empty workflow ID field"),
        ("run_id", "workflow link must not have an empty run ID field"),
    ),
}
"""Variant to the fields it must have, and the words for one that is missing."""


def validate_links(links: Collection[Link], limits: Limits) -> None:
    """Raises InvalidArgument."""
    if len(links) > limits.links_per_request:
        raise InvalidArgument(f"cannot attach more than {limits.links_per_request} links per request, got {len(links)}")
    for link in links:
        size = link.ByteSize()
        if size > limits.link_size:
            raise InvalidArgument(f"link exceeds allowed size of {limits.link_size}, got {size}")
        variant = link.WhichOneof("variant")
        required = _REQUIRED.get(variant) if variant else None
        if variant is None or required is None:
            raise InvalidArgument("unsupported link variant")
        target: Message = getattr(link, variant)
        for name, text in required:
            if not getattr(target, name):
                raise InvalidArgument(text)
        if variant == "workflow_event":
            _check_reference(link.workflow_event)


def _check_reference(event: Link.WorkflowEvent) -> None:
    if not event.event_ref.event_type and event.event_ref.event_id:
        raise InvalidArgument("workflow event link ref cannot have an unspecified event type and a non-zero event ID")
