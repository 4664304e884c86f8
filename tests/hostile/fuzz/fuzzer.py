"""A population of workflows on a real server, and one hostile caller after the other.

Calls are made one at a time, so that the processor time the event loop spends on each is known; in bursts now and then.
After each round the server must still serve: no traceback in its log, its memory within bounds, a workflow of the
official SDK runs from its start to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

import grpc
import grpc.aio
import temporalio.api.operatorservice.v1 as operator
import temporalio.api.workflowservice.v1 as ws
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from temporalio.api.testservice.v1 import SleepUntilRequest, UnlockTimeSkippingRequest
from temporalio.api.update.v1 import Acceptance, Response

from benchmarks.meter import ProcessMeter
from perdure.clock import SECOND, SkippingTime
from tests.api.client import Api, Refused
from tests.hostile.fuzz.canary import sing
from tests.hostile.fuzz.generator import QUEUES, WORKFLOW_IDS, Generator, decodes
from tests.hostile.fuzz.sweep import Sweep
from tests.support.legal import illegal_times
from tests.support.server_process import ServerProcess

SERVICES: Final = (
    ("temporalio.api.workflowservice.v1.service_pb2", "WorkflowService"),
    ("temporalio.api.operatorservice.v1.service_pb2", "OperatorService"),
    ("temporalio.api.testservice.v1.service_pb2", "TestService"),
    ("grpc_health.v1.health_pb2", "Health"),
)
SECONDS: Final = 10.0
"""Within which every call that waits for nothing is answered."""
WAITING_SECONDS: Final = 2.5
"""What a call that may wait is given."""
MOST_WAITING: Final = 48
CPU_MS: Final = 250
"""More processor time of the server's event loop than this, in which it serves no other caller, is a stall."""
GROWTH_MIB: Final = 400
WAITS: Final = frozenset(
    [
        "PollWorkflowTaskQueue",
        "PollActivityTaskQueue",
        "PollNexusTaskQueue",
        "GetWorkflowExecutionHistory",
        "QueryWorkflow",
        "UpdateWorkflowExecution",
        "PollWorkflowExecutionUpdate",
        "ExecuteMultiOperation",
        "PollActivityExecution",
        "DescribeActivityExecution",
        "PollNexusOperationExecution",
        "PollWorkflowExecutionTimeSkipping",
        "Sleep",
        "SleepUntil",
        "UnlockTimeSkippingWithSleep",
        "Watch",
        "SignalWithStartWorkflowExecution",
    ]
)
"""May still wait when the caller's time is over."""
REFUSALS: Final = frozenset(
    {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "UNIMPLEMENTED", "PERMISSION_DENIED"}
)
ALLOWED: Final = REFUSALS | {"OK", "RESOURCE_EXHAUSTED", "ABORTED"}
WRITES_WHEN_REFUSED: Final = frozenset({"RespondWorkflowTaskCompleted", "ExecuteMultiOperation"})
"""A refused completion fails its workflow task, and of two operations one may have taken place."""

_COMPLETION: Final = "RespondWorkflowTaskCompleted"
_WORKFLOW_ANSWERS: Final = (*(_COMPLETION,) * 6, "RespondWorkflowTaskFailed", "RespondQueryTaskCompleted")
_ACTIVITY_ANSWERS: Final = (
    "RespondActivityTaskCompleted",
    "RespondActivityTaskFailed",
    "RespondActivityTaskFailed",
    "RespondActivityTaskCanceled",
    "RecordActivityTaskHeartbeat",
)
_RICH: Final = (
    "StartWorkflowExecution",
    "SignalWithStartWorkflowExecution",
    "SignalWorkflowExecution",
    "UpdateWorkflowExecution",
    "CreateSchedule",
    "UpdateSchedule",
    "PatchSchedule",
    "ListScheduleMatchingTimes",
    "ResetWorkflowExecution",
    "ListWorkflowExecutions",
    "CountWorkflowExecutions",
    "GetWorkflowExecutionHistory",
    "StartActivityExecution",
    "UpdateActivityOptions",
    "StartBatchOperation",
    "QueryWorkflow",
    "ExecuteMultiOperation",
)
"""More lies behind these than behind the rest."""
_ENDS_ROUNDS: Final = ("DeleteNamespace", "DeprecateNamespace", "UpdateNamespace")
"""Without its namespace a round is lost time."""
SWEEPS: Final = 0.4
"""Of the calls, as long as there are steps."""


class Fault(AssertionError):
    """What a hostile caller brought about."""


@dataclass
class Report:
    """What was asked, and the faults found."""

    calls: int = 0
    rounds: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    slowest: str = ""
    most_mib: float = 0.0
    compared: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    left_to_sweep: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def never_accepted(self) -> list[str]:
        """RPCs that the server has, and that nothing was good enough for."""
        return [rpc for rpc in self.refused if rpc not in self.accepted]


class Fuzzer:
    """`stop_at_first` raises `Fault` for the first fault; else all go to `report.faults`."""

    def __init__(
        self, server: ServerProcess, seed: int, *, stop_at_first: bool = True, skipping: bool = False, only: str = ""
    ) -> None:
        self.report = Report()
        self._server = server
        self._seed = seed
        self._skipping = skipping
        self._only = only
        self._stop_at_first = stop_at_first
        self._meter = ProcessMeter(server.pid)
        self._channel = grpc.aio.insecure_channel(
            server.address,
            options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
        )
        self._api = Api(self._channel)
        self._methods: dict[str, MethodDescriptor] = {}
        for module, name in SERVICES:
            if skipping or name != "TestService":
                for method in import_module(module).DESCRIPTOR.services_by_name[name].methods:
                    self._methods[method.name] = method
        self._names = [name for name in self._methods if only in name]
        self._generator = Generator(str(seed))
        self._chance = self._generator.chance
        self._sweep = Sweep(self._generator, self._methods, self._names)
        self._waiting: set[asyncio.Task[None]] = set()
        self._accepted: dict[str, deque[Message]] = {}
        self._workflow_tokens: deque[bytes] = deque(maxlen=50)
        self._tasks: deque[Any] = deque(maxlen=50)
        self._activity_tokens: deque[bytes] = deque(maxlen=50)
        self._log_seen = 0
        self._recent: deque[str] = deque(maxlen=30)

    async def run(self, seconds: float, round_seconds: float = 5.0) -> Report:
        until = time.monotonic() + seconds
        try:
            if self._skipping and self._seed % 2:
                await self._go_to_the_last_hour()
            await self._canary()
            base = self._meter.resident_mib()
            while time.monotonic() < until:
                await self._round(min(until, time.monotonic() + round_seconds))
                await self._look_at(base)
                self.report.left_to_sweep = self._sweep.left
        finally:
            for task in self._waiting:
                task.cancel()
            await asyncio.gather(*self._waiting, return_exceptions=True)
            await self._channel.close()
        return self.report

    # ---- a round
    async def _round(self, until: float) -> None:
        self.report.rounds += 1
        namespace = f"fuzz-{self._seed}-{self.report.rounds}"
        self._generator.namespace = namespace
        await self._register(namespace)
        for workflow_id in WORKFLOW_IDS[:6]:
            await self._populate(workflow_id)
        polls = [
            asyncio.ensure_future(self._keep_polling(namespace, queue, rpc, tokens))
            for queue in set(QUEUES)
            for rpc, tokens in (
                ("PollWorkflowTaskQueue", self._workflow_tokens),
                ("PollActivityTaskQueue", self._activity_tokens),
            )
        ]
        try:
            while time.monotonic() < until:
                roll = self._chance.random()
                if roll < 0.02:
                    await asyncio.gather(*(self._call(*self._next(), alone=False) for _ in range(24)))
                elif roll < 0.08:
                    await self._compared(*self._next())
                elif roll < 0.14:
                    await self._work()
                elif roll < 0.2:
                    await self._populate(self._chance.choice(WORKFLOW_IDS))
                elif roll < 0.21 and self._skipping and not self._only:
                    await self._let_time_skip()
                else:
                    await self._call(*self._next())
        finally:
            for poll in polls:
                poll.cancel()
            await asyncio.gather(*polls, return_exceptions=True)

    async def _register(self, namespace: str) -> None:
        victim = ws.RegisterNamespaceRequest(namespace="fuzz-victim")
        victim.workflow_execution_retention_period.seconds = 86_400
        with contextlib.suppress(Refused):  # it may still be there
            await self._api.RegisterNamespace(victim)
        request = ws.RegisterNamespaceRequest(namespace=namespace)
        request.workflow_execution_retention_period.seconds = 86_400
        await self._api.RegisterNamespace(request)
        attributes = {"CustomerId": 2, "Amount": 3, "Ratio": 4, "Paid": 5, "Due": 6, "Tags": 7, "Notes": 1}
        added: Any = operator.AddSearchAttributesRequest(namespace=namespace)
        added.search_attributes.update(attributes)
        await self._api.AddSearchAttributes(added)

    async def _populate(self, workflow_id: str) -> None:
        """Have the workflow run, whatever became of it."""
        request = ws.StartWorkflowExecutionRequest(namespace=self._generator.namespace, workflow_id=workflow_id)
        request.workflow_type.name = "Order"
        request.task_queue.name = self._chance.choice(QUEUES[:4])
        request.workflow_id_conflict_policy = 2  # type: ignore[assignment]  # use the existing one
        await self._call("StartWorkflowExecution", request, request.SerializeToString())

    async def _work(self) -> None:
        """Answer a task as a worker would: with an activity or a timer, its updates accepted, its queries answered."""
        if not self._tasks or _COMPLETION not in self._names:
            return
        task = self._tasks.popleft()
        if task.HasField("query"):
            answer: Any = ws.RespondQueryTaskCompletedRequest(task_token=task.task_token, completed_type=1)
            answer.namespace = self._generator.namespace
            await self._call("RespondQueryTaskCompleted", answer, answer.SerializeToString())
            return
        done: Any = ws.RespondWorkflowTaskCompletedRequest(task_token=task.task_token)
        done.namespace = self._generator.namespace
        for query_id in task.queries:
            done.query_results[query_id].result_type = 1
        for message in task.messages:
            accepted = Acceptance(
                accepted_request_message_id=message.id, accepted_request_sequencing_event_id=message.event_id
            )
            completed = Response()
            completed.meta.update_id = message.protocol_instance_id
            completed.outcome.success.SetInParent()
            for body in (accepted, completed)[: self._chance.choice((1, 2, 2))]:
                sent = done.messages.add(protocol_instance_id=message.protocol_instance_id)
                sent.id = f"{message.id}/{type(body).__name__}"
                sent.body.Pack(body)
        if self._chance.random() < 0.5:
            command = done.commands.add(command_type=1)
            activity = command.schedule_activity_task_command_attributes
            activity.activity_id = self._chance.choice(("a", "b", "charge"))
            activity.activity_type.name = "Charge"
            activity.task_queue.name = self._chance.choice(QUEUES)
            activity.start_to_close_timeout.seconds = 60
        elif self._chance.random() < 0.5:
            timer = done.commands.add(command_type=3).start_timer_command_attributes
            timer.timer_id, timer.start_to_fire_timeout.seconds = self._chance.choice(("t", "u")), 3
        await self._call(_COMPLETION, done, done.SerializeToString())

    async def _go_to_the_last_hour(self) -> None:
        """Of those that time skips to. Odd seeds begin there: chance hardly ever leads so far."""
        until = SleepUntilRequest()
        until.timestamp.seconds = SkippingTime.LAST // SECOND - 3600
        code = await self._judged("SleepUntil", until, until.SerializeToString(), SECONDS)
        assert code == "OK", "nothing is in the way yet"

    async def _let_time_skip(self) -> None:
        """A few jumps, to the timers, retries, timeouts and sleeps that there are."""
        for _ in range(3):
            await self._nobody_is_busy()
            rpc = self._chance.choice(("Sleep", "SleepUntil"))
            sleep = self._generator.message(GetMessageClass(self._methods[rpc].input_type))
            await self._call(rpc, sleep, sleep.SerializeToString())

    async def _nobody_is_busy(self) -> None:
        """Do away with what keeps time from skipping: locks, and tasks whose worker is never heard of again."""
        while self._tasks:
            await self._work()
        for _ in range(10):
            if await self._judged("UnlockTimeSkipping", UnlockTimeSkippingRequest(), b"", SECONDS) != "OK":
                break
        for number in range(1, self.report.rounds + 1):
            namespace = f"fuzz-{self._seed}-{number}"
            with contextlib.suppress(Refused):  # of a namespace that is gone
                for found in (
                    await self._api.ListWorkflowExecutions(
                        ws.ListWorkflowExecutionsRequest(namespace=namespace, query="ExecutionStatus = 'Running'")
                    )
                ).executions:
                    await self._end_if_busy(namespace, found.execution)
                for activity in (
                    await self._api.ListActivityExecutions(ws.ListActivityExecutionsRequest(namespace=namespace))
                ).executions:
                    ended = ws.TerminateActivityExecutionRequest(namespace=namespace, activity_id=activity.activity_id)
                    with contextlib.suppress(Refused):
                        await self._api.TerminateActivityExecution(ended)

    async def _end_if_busy(self, namespace: str, execution: Any) -> None:
        with contextlib.suppress(Refused):  # it has ended
            asked = ws.DescribeWorkflowExecutionRequest(namespace=namespace, execution=execution)
            described = await self._api.DescribeWorkflowExecution(asked)
            if described.HasField("pending_workflow_task") or described.pending_activities:
                ended = ws.TerminateWorkflowExecutionRequest(namespace=namespace, workflow_execution=execution)
                await self._api.TerminateWorkflowExecution(ended)

    async def _keep_polling(self, namespace: str, queue: str, rpc: str, tokens: deque[bytes]) -> None:
        """A worker's polls: what they get is what answers are made for."""
        request = GetMessageClass(self._methods[rpc].input_type)()
        request.namespace, request.task_queue.name, request.identity = namespace, queue, "worker"  # type: ignore[attr-defined]
        while True:
            try:
                task = await getattr(self._api, rpc)(request, within=30.0)
            except Exception:  # its namespace may be gone
                await asyncio.sleep(0.05)
                continue
            if task.task_token:
                self._generator.learn(task)
                if rpc == "PollWorkflowTaskQueue" and self._chance.random() < 0.4:
                    self._tasks.append(task)  # for the worker that does its work
                else:
                    tokens.append(task.task_token)

    # ---- requests
    def _next(self) -> tuple[str, Any, bytes]:
        chance, generator = self._chance, self._generator
        if self._sweep.left and chance.random() < SWEEPS:
            return self._next_of_sweep()
        roll = chance.random()
        tokens: deque[bytes] | None = None
        if roll < 0.3 and self._workflow_tokens and _COMPLETION in self._names:
            rpc, tokens = chance.choice(_WORKFLOW_ANSWERS), self._workflow_tokens
        elif roll < 0.4 and self._activity_tokens:
            rpc, tokens = chance.choice(_ACTIVITY_ANSWERS), self._activity_tokens
        elif roll < 0.65:
            rpc = chance.choice(_RICH)
        else:
            rpc = chance.choice(self._names)
        if rpc not in self._names:
            rpc = chance.choice(self._names)
        accepted = self._accepted.get(rpc)
        request: Any
        if accepted and chance.random() < 0.5:
            request = generator.mutated(chance.choice(accepted))
        else:
            request = generator.message(GetMessageClass(self._methods[rpc].input_type))
        if tokens is not None and "task_token" in request.DESCRIPTOR.fields_by_name:
            request.task_token = tokens.popleft() if chance.random() < 0.7 else tokens[0]
            request.namespace = generator.namespace
        if rpc in _ENDS_ROUNDS and chance.random() < 0.97:
            request.namespace = "fuzz-victim"
        return rpc, request, generator.bytes_of(request)

    def _next_of_sweep(self) -> tuple[str, Any, bytes]:
        rpc = self._sweep.next_rpc()
        accepted = self._accepted.get(rpc)
        request = self._sweep.next(self._chance.choice(accepted) if accepted else None)
        fields = request.DESCRIPTOR.fields_by_name
        if "namespace" in fields:
            request.namespace = "fuzz-victim" if rpc in _ENDS_ROUNDS else self._generator.namespace
        tokens = self._workflow_tokens if rpc in _WORKFLOW_ANSWERS else self._activity_tokens
        if "task_token" in fields and tokens and self._sweep.field != "task_token":
            request.task_token = tokens.popleft()
        return rpc, request, request.SerializeToString()

    async def _call(self, rpc: str, request: Any, raw: bytes, *, alone: bool = True) -> str:
        """Make the call and judge its answer; a call that may wait is judged when its time is over. What the server
        spends is this call's only when it is `alone`."""
        if rpc in WAITS and len(self._waiting) < MOST_WAITING:
            task = asyncio.ensure_future(self._judged(rpc, request, raw, WAITING_SECONDS))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
            await asyncio.wait([task], timeout=0.02)
            if task.done():
                task.result()
            return ""
        before = self._meter.main_thread_ms()
        code = await self._judged(rpc, request, raw, 0.3 if rpc in WAITS else SECONDS)
        if not alone:
            return code
        spent = self._meter.main_thread_ms() - before
        if spent > self.report.slowest_ms:
            self.report.slowest_ms, self.report.slowest = spent, rpc
        if spent > CPU_MS and rpc not in WAITS:
            stalled = await self._stalled(rpc, request, raw)
            if stalled > CPU_MS:
                self._fault(
                    f"{rpc} cost the event loop {spent:.0f} ms of processor time, and {stalled:.0f} ms without a pause",
                    request,
                    raw,
                )
        return code

    async def _stalled(self, rpc: str, request: Any, raw: bytes) -> float:
        """Make the call again: the most processor time, in milliseconds, that another caller had to wait for
        meanwhile. What a call sets going in portions, as a backfill, is no stall."""
        call = asyncio.ensure_future(self._judged(rpc, request, raw, SECONDS))
        longest = 0.0
        left = 10  # what is done when the call was answered counts too
        while left:
            left -= call.done()
            before = self._meter.main_thread_ms()
            await self._api.GetSystemInfo(ws.GetSystemInfoRequest())
            longest = max(longest, self._meter.main_thread_ms() - before)
        await call
        return longest

    async def _judged(self, rpc: str, request: Any, raw: bytes, within: float) -> str:
        method = self._methods[rpc]
        kind = GetMessageClass(method.input_type)
        path = f"/{method.containing_service.full_name}/{rpc}"
        self.report.calls += 1
        self._recent.append(f"{path} {raw[:2000].hex()}")
        details = ""
        began = time.monotonic()
        try:
            if rpc == "Watch":
                async for _ in self._channel.unary_stream(path)(raw, timeout=0.3):
                    pass
                reply = b""
            else:
                reply = await self._channel.unary_unary(path)(raw, timeout=within)
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code, details = error.code().name, error.details() or ""
        took = time.monotonic() - began
        self.report.codes[code] += 1
        if code == "UNIMPLEMENTED" and details.startswith("unknown method"):  # not for what one request asks
            self._sweep.drop(rpc)
        if code not in ("OK", "UNIMPLEMENTED", "DEADLINE_EXCEEDED"):
            self.report.refused[rpc] += 1
        if code == "OK" and rpc != "Watch":
            self.report.accepted[rpc] += 1
            if not decodes(GetMessageClass(method.output_type), reply):
                self._fault(f"the answer of {rpc} cannot be read", request, raw)
                return code
            answer = GetMessageClass(method.output_type).FromString(reply)
            if wrong := next(illegal_times(answer), ""):
                self._fault(f"SDKs cannot read what {rpc} answered, {wrong}", request, raw)
            self._generator.learn(answer)
            if decodes(kind, raw):
                self._accepted.setdefault(rpc, deque(maxlen=30)).append(kind.FromString(raw))
        if code in ALLOWED or (code == "DEADLINE_EXCEEDED" and rpc in WAITS):
            return code
        if not decodes(kind, raw) and (code in ("INTERNAL", "UNKNOWN", "UNIMPLEMENTED")):
            return code
        self._fault(f"{rpc} answered {code} after {took:.1f} s: {details}", request, raw)
        return code

    async def _compared(self, rpc: str, request: Any, raw: bytes) -> None:
        """A refusal must leave everything as it was. What else goes on meanwhile may have changed it, so a difference
        counts when it comes each time."""
        if rpc in WAITS or rpc in WRITES_WHEN_REFUSED:
            await self._call(rpc, request, raw)
            return
        for _ in range(3):
            before = await self._state()
            if before != await self._state():
                continue
            code = await self._call(rpc, request, raw)
            if code not in REFUSALS:
                return
            self.report.compared += 1
            after = await self._state()
            if after == before:
                return
        else:
            return
        self._fault(f"{rpc} was refused with {code}, and changed {before} to {after}", request, raw)

    async def _state(self) -> list[Any]:
        """What can be seen of the namespace."""
        namespace = self._generator.namespace
        seen: list[Any] = []
        for workflow_id in WORKFLOW_IDS:
            request = ws.DescribeWorkflowExecutionRequest(namespace=namespace)
            request.execution.workflow_id = workflow_id
            with contextlib.suppress(Exception):
                info = (await self._api.DescribeWorkflowExecution(request)).workflow_execution_info
                seen.append((workflow_id, info.execution.run_id, info.status, info.history_length))
        for listed in (ws.CountWorkflowExecutionsRequest(), ws.CountSchedulesRequest()):
            listed.namespace = namespace
            rpc = type(listed).__name__.removesuffix("Request")
            with contextlib.suppress(Exception):
                seen.append((rpc, (await getattr(self._api, rpc)(listed)).count))
        with contextlib.suppress(Exception):
            described = await self._api.DescribeNamespace(ws.DescribeNamespaceRequest(namespace=namespace))
            seen.append(described.SerializeToString(deterministic=True))
        return seen

    # ---- after a round
    async def _look_at(self, base_mib: float) -> None:
        await self._canary()
        self._look_at_log()
        mib = self._meter.resident_mib()
        self.report.most_mib = max(self.report.most_mib, mib)
        if mib > base_mib + GROWTH_MIB:
            self._fault(f"the server grew from {base_mib} to {mib} MiB")

    async def _canary(self) -> None:
        try:
            await sing(self._server.address)
        except Exception as error:
            self._fault(f"a workflow does not run any more: {error!r}")

    def _look_at_log(self) -> None:
        log = self._server.output(None)
        new, self._log_seen = log[self._log_seen :], len(log)
        for sign in (
            "Traceback",
            "never retrieved",
            "defect",
            "failed half-way",
            "cannot be written",
            "commit refused",
        ):
            if sign in new:
                at = new.index(sign)
                self._fault(f"the log says {new[max(at - 600, 0) : at + 3000]}")
                return

    def _fault(self, text: str, request: Any = None, raw: bytes = b"") -> None:
        shown = "" if request is None else f"\n{type(request).__name__}:\n{str(request)[:3000]}"
        wire = f"\nraw: {raw[:1500].hex()}" if raw else ""
        if self._stop_at_first:
            raise Fault(f"{text}{shown}{wire}")
        self.report.faults.append(f"{text}{shown}{wire}")
