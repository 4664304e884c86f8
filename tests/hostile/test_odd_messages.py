"""Every RPC with messages nobody would send: none is a defect, none stops the server, none stays unanswered."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from msgspec import msgpack

from perdure.errors import Internal, PerdureError
from perdure.runtime.pages import HistoryPage
from tests.api.client import NAMESPACE, complete_workflow, queue, schedule_activity, start_request, start_timer
from tests.support.runtime_world import World, running

NUMBERS = (0, 1, -1, 2, 7, 1000, (1 << 31) - 1, -(1 << 31), (1 << 63) - 1, -(1 << 63))
TEXTS = (
    "",
    "default",
    "orders",
    "order-1",
    "x" * 1001,
    "\u0000",
    "é\U0001f600",
    "not-a-uuid",
    "1 2 3 4 5",
    "@every 1s",
)
BLOBS = (b"", b"\xff\xfe", b"null", b"[]", b"\x93\x01\x02\x03", msgpack.encode([1] * 10), b"x" * 300)
FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1e308)


def fill(message: Message, chance: random.Random, depth: int = 0, density: float = 0.5) -> None:
    """Set some of the fields to odd values."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() > density or depth > 4:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _fill_map(message, field, chance, depth)
        elif field.is_repeated:
            for _ in range(chance.choice((0, 1, 3))):
                if field.message_type is not None:
                    fill(getattr(message, field.name).add(), chance, depth + 1, density)
                else:
                    getattr(message, field.name).append(_scalar(field, chance))
        elif field.message_type is not None:
            getattr(message, field.name).SetInParent()
            fill(getattr(message, field.name), chance, depth + 1, density)
        else:
            setattr(message, field.name, _scalar(field, chance))


def _fill_map(message: Message, field: FieldDescriptor, chance: random.Random, depth: int) -> None:
    key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
    entries: Any = getattr(message, field.name)
    odd = _scalar(key, chance)
    if value.message_type is not None:
        fill(entries[odd], chance, depth + 1)
    else:
        entries[odd] = _scalar(value, chance)


def _scalar(field: FieldDescriptor, chance: random.Random) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return chance.choice(BLOBS if field.type == FieldDescriptor.TYPE_BYTES else TEXTS)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return chance.choice(FLOATS)
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return chance.choice((0, 1, 2, 99, -1))
    number = chance.choice(NUMBERS)
    bits = 32 if kind in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32) else 64
    if kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64):
        return abs(number) & ((1 << bits) - 1)
    return max(-(1 << bits - 1), min(number, (1 << bits - 1) - 1))


def check(world: World, method: str, request: Message, call: Any) -> None:
    error = call.error
    assert error is None or (isinstance(error, PerdureError) and not isinstance(error, Internal)), (
        f"{method}: {error!r}\n{request}"
    )
    assert not world.failures, (method, request)
    assert not world.broken, (method, request, world.broken)


def requests(world: World) -> Iterator[type[Message]]:
    for method in world.methods.values():
        if method.implemented:
            yield method.request_class


async def alive(world: World) -> None:
    """The server still runs a workflow from its start to its end."""
    await world.ask(start_request("alive", task_queue=queue("alive")))
    poll = world.poll(task_queue=queue("alive"))
    await world.settle()
    await world.ask(
        ws.RespondWorkflowTaskCompletedRequest(task_token=poll.reply.task_token, commands=[complete_workflow()])
    )


async def test_an_empty_message_is_no_defect_for_any_rpc() -> None:
    async with running() as world:
        for request_class in requests(world):
            call = world.call(request_class())
            await world.settle()
            check(world, request_class.__name__, request_class(), call)
        await alive(world)


@pytest.mark.parametrize("seed", range(8))
async def test_no_rpc_breaks_on_odd_values(seed: int) -> None:
    chance = random.Random(seed)
    async with running() as world:
        await world.start_workflow()
        # `default` must go on being registered
        changing = {"DeprecateNamespaceRequest", "UpdateNamespaceRequest", "DeleteNamespaceRequest"}
        for request_class in [kind for kind in requests(world) if kind.__name__ not in changing] * 6:
            request = request_class()
            fill(request, chance, density=chance.choice((0.2, 0.5, 0.9)))
            _aim(request, chance)
            call = world.call(request)
            await world.settle()
            check(world, request_class.__name__, request, call)
            call.leave()
        await alive(world)


def _aim(request: Any, chance: random.Random) -> None:
    """Let the request get past the first checks, most of the time."""
    fields = request.DESCRIPTOR.fields_by_name
    if chance.random() < 0.1:
        return
    if "namespace" in fields and "Namespace" not in type(request).__name__:
        request.namespace = NAMESPACE
    for name in ("execution", "workflow_execution"):
        if name in fields and fields[name].message_type is not None:
            getattr(request, name).workflow_id = "order-1"
            getattr(request, name).run_id = ""
    if "workflow_id" in fields:
        request.workflow_id = chance.choice(("order-1", "order-2"))
    if "workflow_type" in fields:
        request.workflow_type.name = "Order"
    if "task_queue" in fields and fields["task_queue"].message_type is not None:
        request.task_queue.name = "odd"
    if "signal_name" in fields:
        request.signal_name = "ship"
    for name in ("request_id", "identity"):
        if name in fields:
            setattr(request, name, "")
    for name in ("links", "search_attributes", "time_skipping_config", "retry_policy", "cron_schedule"):
        if name in fields and chance.random() < 0.7:
            request.ClearField(name)
    for name, field in fields.items():
        if field.message_type is not None and field.message_type.name == "Duration" and chance.random() < 0.7:
            request.ClearField(name)


@pytest.mark.parametrize("seed", range(8))
async def test_no_answer_of_a_worker_breaks_on_odd_values(seed: int) -> None:
    """Tokens are real here, so that what is odd gets to the engine."""
    chance = random.Random(seed)
    async with running() as world:
        for turn in range(25):
            workflow_id = f"order-{turn}"
            await world.start_workflow(workflow_id)
            poll = world.poll()
            await world.settle()
            token = poll.reply.task_token
            completion = ws.RespondWorkflowTaskCompletedRequest()
            fill(completion, chance, density=0.4)
            completion.intermediate_page = False
            completion.page_number = 0
            completion.identity = ""
            del completion.commands[:]
            for _ in range(chance.choice((0, 1, 2))):
                command: Any = completion.commands.add()
                number = chance.choice([*range(18), 99])
                command.command_type = number
                fill(command, chance, density=0.6)
                command.command_type = number
            if chance.random() < 0.5:
                completion.commands.append(chance.choice((schedule_activity(), start_timer())))
                fill(completion.commands[-1], chance, density=0.2)
            request: Any = chance.choice((completion, completion, ws.RespondWorkflowTaskFailedRequest()))
            if request is not completion:
                fill(request, chance)
                request.identity = ""
            request.namespace = NAMESPACE
            request.task_token = token
            call = world.call(request)
            await world.settle()
            check(world, type(request).__name__, request, call)
            activity = world.poll_activity()
            await world.settle()
            if activity.reply is not None:
                request = chance.choice(
                    (
                        ws.RespondActivityTaskCompletedRequest,
                        ws.RespondActivityTaskFailedRequest,
                        ws.RespondActivityTaskCanceledRequest,
                        ws.RecordActivityTaskHeartbeatRequest,
                    )
                )()
                fill(request, chance)
                request.namespace, request.task_token, request.identity = NAMESPACE, activity.reply.task_token, ""
                call = world.call(request)
                await world.settle()
                check(world, type(request).__name__, request, call)
            activity.leave()
            await world.pass_time(chance.choice((1, 20, 4000)))
            assert not world.broken, (request, world.broken)
            await world.ask(
                ws.TerminateWorkflowExecutionRequest(
                    namespace=NAMESPACE, workflow_execution=start_execution(workflow_id)
                )
            ) if await _runs(world, workflow_id) else None
        await alive(world)


def start_execution(workflow_id: str) -> Any:
    from tests.api.client import execution

    return execution(workflow_id)


async def _runs(world: World, workflow_id: str) -> bool:
    reply = await world.ask(
        ws.DescribeWorkflowExecutionRequest(namespace=NAMESPACE, execution=start_execution(workflow_id))
    )
    return bool(reply.workflow_execution_info.status == 1)


async def test_forged_tokens_are_refused_in_the_references_words() -> None:
    async with running() as world:
        await world.start_workflow()
        namespace_id = world.runtime.namespaces.active(NAMESPACE).id
        forged = [
            b"garbage",
            msgpack.encode(None),
            msgpack.encode([]),
            msgpack.encode([1, namespace_id, "order-1", "", 1]),
            msgpack.encode([1, namespace_id, "order-1", "", 1, "2", 3, 1, 1, 1]),
            msgpack.encode([1, 5, "order-1", "", 1, 2, 3, 1, 1, 1]),
            msgpack.encode([True, namespace_id, "order-1", "", 1, 2, 3, 1, 1, 1]),
            msgpack.encode({"a": 1}),
            b"\x93" * 400,
        ]
        for token in forged:
            call = world.call(ws.RespondWorkflowTaskCompletedRequest(namespace=NAMESPACE, task_token=token))
            await world.settle()
            assert str(call.error) == "Error deserializing task token.", (token, call.error)
        for numbers in ((-1, -2, -3, -4, -5), ((1 << 64) - 1,) * 5, (2, 3, 1, 1, 1)):
            token = msgpack.encode([1, namespace_id, "order-1", "", 1, *numbers])
            call = world.call(ws.RespondWorkflowTaskCompletedRequest(namespace=NAMESPACE, task_token=token))
            await world.settle()
            assert str(call.error) == "Workflow task not found."
        elsewhere = msgpack.encode([1, "another", "order-1", "", 1, 2, 3, 1, 1, 1])
        call = world.call(ws.RespondWorkflowTaskCompletedRequest(namespace=NAMESPACE, task_token=elsewhere))
        assert str(call.error) == "Operation requested with a token from a different namespace."
        await alive(world)


@pytest.mark.parametrize(
    "page",
    [(-1000, 0), (0, 0), (-(1 << 62), 0), ((1 << 64) - 1, 0), (1, -5), (1, (1 << 64) - 1)],
    ids=str,
)
async def test_forged_page_tokens_are_refused(page: tuple[int, int]) -> None:
    async with running() as world:
        run_id = await world.start_workflow()
        token = HistoryPage(run_id, *page, False).encode()
        for request_class in (ws.GetWorkflowExecutionHistoryRequest, ws.GetWorkflowExecutionHistoryReverseRequest):
            call = world.call(
                request_class(namespace=NAMESPACE, execution=start_execution("order-1"), next_page_token=token)
            )
            await world.settle()
            assert str(call.error) == "Invalid NextPageToken."


async def test_a_page_token_of_another_run_shows_nothing_of_it() -> None:
    async with running() as world:
        other = await world.start_workflow("other")
        await world.start_workflow()
        request = ws.GetWorkflowExecutionHistoryRequest(namespace=NAMESPACE, execution=start_execution("order-1"))
        request.next_page_token = HistoryPage(other, 1, 0, False).encode()
        call = world.call(request)
        await world.settle()
        assert type(call.error).__name__ == "NotFound"
