"""Versioning overrides, as requests give them (reference: advanced 6.5).

No version of a worker deployment is ever registered with a task queue yet, so a workflow cannot be pinned to one.
"""

from __future__ import annotations

from temporalio.api.workflow.v1 import VersioningOverride

from perdure.enums import VersioningBehavior
from perdure.errors import FailedPrecondition, InvalidArgument

_PINNED = VersioningBehavior.VERSIONING_BEHAVIOR_PINNED


def validate_versioning_override(override: VersioningOverride, task_queue: str) -> None:
    """Raises InvalidArgument for its structure, FailedPrecondition for a version that the queue does not have."""
    version = ""
    match override.WhichOneof("override"):
        case "auto_upgrade":
            if not override.auto_upgrade:
                raise InvalidArgument("auto-upgrade override must be true")
        case "pinned":
            pinned = override.pinned
            if not pinned.HasField("version"):
                raise InvalidArgument("must provide version if override is pinned.")
            if not pinned.behavior:
                raise InvalidArgument("must specify pinned override behavior if override is pinned.")
            version = f"{pinned.version.deployment_name}:{pinned.version.build_id}"
        case "one_time":
            target = override.one_time.target_deployment_version
            if not override.one_time.HasField("target_deployment_version"):
                raise InvalidArgument("must provide target deployment version if override is one-time.")
            version = f"{target.deployment_name}:{target.build_id}"
        case _:
            version = _deprecated(override)
    if version:
        raise FailedPrecondition(
            f"Pinned version '{version}' is not present in task queue '{task_queue}' of type 'Workflow'"
        )


def _deprecated(override: VersioningOverride) -> str:
    """The version that an override in its first form pins to; empty: none."""
    if override.behavior == _PINNED:
        if not override.HasField("deployment") and not override.pinned_version:
            raise InvalidArgument("must provide deployment (deprecated) or pinned version if behavior is 'PINNED'")
        return override.pinned_version or f"{override.deployment.series_name}:{override.deployment.build_id}"
    if override.HasField("deployment"):
        raise InvalidArgument("only provide deployment if behavior is 'PINNED'")
    if override.pinned_version:
        raise InvalidArgument("only provide pinned version if behavior is 'PINNED'")
    if not override.behavior:
        raise InvalidArgument("override behavior is required")
    return ""
