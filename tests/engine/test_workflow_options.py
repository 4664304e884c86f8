"""A running workflow's options change path by path, with an event for what changed."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.common.v1 import Priority
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions

from perdure.engine.apply import fold
from perdure.engine.describe import describe
from perdure.engine.stale import Stale
from perdure.engine.versioning import validate_versioning_override
from perdure.engine.workflow_options import option_paths, update_workflow_options
from perdure.engine.workflow_tasks import Poller, start_workflow_task
from perdure.errors import FailedPrecondition, InvalidArgument, PerdureError, Unimplemented
from tests.engine.given import Scene, given, start_timer
from tests.engine.updating import ask, messages

AUTO = VersioningOverride(auto_upgrade=True)
VERSION = WorkerDeploymentVersion(deployment_name="d", build_id="b")


def idle() -> Scene:
    scene = given()
    scene.start()
    scene.complete(start_timer("t", 60))
    return scene


def update(scene: Scene, *paths: str, **options: Any) -> WorkflowExecutionOptions:
    wanted = WorkflowExecutionOptions(**options)
    return scene.decide(lambda turn: update_workflow_options(turn, wanted, option_paths(paths), identity="ops"))


def test_an_override_is_recorded_and_shown_and_unset_again() -> None:
    scene = idle()

    assert update(scene, "versioning_override", versioning_override=AUTO).versioning_override == AUTO
    event = scene.last()
    assert event.worker_may_ignore
    assert event.workflow_execution_options_updated_event_attributes.versioning_override == AUTO
    info = describe(scene.run, scene.now).workflow_execution_info
    assert info.versioning_info.versioning_override == AUTO

    assert update(scene, "versioningOverride") == WorkflowExecutionOptions()
    assert scene.last().workflow_execution_options_updated_event_attributes.unset_versioning_override
    assert not describe(scene.run, scene.now).workflow_execution_info.HasField("versioning_info")


def test_only_the_named_parts_of_a_priority_change() -> None:
    scene = given()
    scene.start(priority=Priority(priority_key=2, fairness_key="a"))

    now = update(scene, "priority.fairness_key", priority=Priority(priority_key=5, fairness_key="b"))

    assert now.priority == Priority(priority_key=2, fairness_key="b")
    attributes = scene.last().workflow_execution_options_updated_event_attributes
    assert attributes.priority == now.priority
    assert attributes.unset_versioning_override
    assert fold(scene.history()).fairness_key == "b"


def test_a_waiting_task_finds_its_new_place_in_line() -> None:
    scene = given()
    scene.start()
    task = scene.run.workflow_task
    assert task is not None

    update(scene, "priority", priority=Priority(priority_key=1))

    assert scene.offered_workflow_tasks() == 2
    with pytest.raises(Stale):
        scene.decide(lambda turn: start_workflow_task(turn, task.scheduled_event_id, task.stamp, Poller()))
    scene.complete()


def test_a_speculative_task_that_waits_is_written_by_the_change_and_offered_once() -> None:
    scene = idle()
    ask(scene)
    scene.effects.clear()

    update(scene, "priority", priority=Priority(priority_key=1))

    assert scene.kinds()[-2:] == ["WorkflowTaskScheduled", "WorkflowExecutionOptionsUpdated"]
    assert scene.offered_workflow_tasks() == 1
    assert [message.protocol_instance_id for message in messages(scene.poll())] == ["u1"]


def test_what_changes_nothing_writes_nothing() -> None:
    scene = idle()
    events = scene.kinds()

    update(scene, "versioning_override", "priority")

    assert scene.kinds() == events


def test_a_change_holds_at_once_while_a_task_is_started() -> None:
    scene = given()
    scene.start()
    task = scene.poll()

    update(scene, "versioning_override", versioning_override=AUTO)
    assert update(scene, "priority", priority=Priority(priority_key=4)).versioning_override == AUTO
    scene.complete(started=task)

    assert scene.kinds()[-4:-1] == [
        "WorkflowTaskCompleted",
        "WorkflowExecutionOptionsUpdated",
        "WorkflowExecutionOptionsUpdated",
    ]
    assert scene.run.priority_key == 4


def pinned(**fields: Any) -> VersioningOverride:
    override = VersioningOverride()
    override.pinned.SetInParent()
    for name, value in fields.items():
        if name == "version":
            override.pinned.version.CopyFrom(value)
        else:
            setattr(override.pinned, name, value)
    return override


def one_time(version: WorkerDeploymentVersion | None) -> VersioningOverride:
    override = VersioningOverride()
    override.one_time.SetInParent()
    if version is not None:
        override.one_time.target_deployment_version.CopyFrom(version)
    return override


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (VersioningOverride(auto_upgrade=False), "auto-upgrade override must be true"),
        (pinned(), "must provide version if override is pinned."),
        (pinned(version=VERSION), "must specify pinned override behavior if override is pinned."),
        (one_time(None), "must provide target deployment version if override is one-time."),
        (
            VersioningOverride(behavior=1),  # type: ignore[arg-type] # the number of an enum value
            "must provide deployment (deprecated) or pinned version if behavior is 'PINNED'",
        ),
        (
            VersioningOverride(behavior=2, pinned_version="d.b"),  # type: ignore[arg-type]
            "only provide pinned version if behavior is 'PINNED'",
        ),
        (VersioningOverride(), "override behavior is required"),
    ],
)
def test_an_override_that_contradicts_itself_is_refused(override: VersioningOverride, message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validate_versioning_override(override, "orders")

    assert refused.value.message == message


@pytest.mark.parametrize("override", [pinned(version=VERSION, behavior=1), one_time(VERSION)])
def test_nothing_is_pinned_to_a_version_that_its_queue_does_not_have(override: VersioningOverride) -> None:
    with pytest.raises(FailedPrecondition, match="is not present in task queue 'orders'"):
        validate_versioning_override(override, "orders")


def test_a_run_that_is_not_pinned_cannot_be_pinned_to_where_it_is() -> None:
    scene = idle()
    options = WorkflowExecutionOptions(versioning_override=pinned(behavior=1))

    error = scene.refused(lambda turn: update_workflow_options(turn, options, ["versioning_override"], identity="ops"))

    assert error.message == (
        "must specify a specific pinned override version because workflow with id order-1 has behavior Unspecified "
        "and is not yet pinned to any version"
    )


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("versioning_override.pinned", InvalidArgument, "versioning_override doesn't support partial updates"),
        ("time_skipping_config.x", InvalidArgument, "time_skipping_config doesn't support partial update"),
        ("time_skipping_config", Unimplemented, "The Time-Skipping feature is not enabled for namespace."),
        (
            "colour",
            InvalidArgument,
            'error parsing UpdateMask: proto: invalid path "colour" for message '
            '"temporal.api.workflow.v1.WorkflowExecutionOptions"',
        ),
    ],
)
def test_paths_that_mean_nothing_are_refused(path: str, kind: type[PerdureError], message: str) -> None:
    with pytest.raises(kind) as refused:
        option_paths([path])

    assert refused.value.message == message
