"""What handlers, runtime, engine and store cost without any transport: the one-activity workflow, in this process.

    python -m benchmarks.inprocess                 # memory store
    python -m benchmarks.inprocess --store file --profile

Handlers are called as a transport calls them, with calls that only note their answers; 32 workflows are under way at
a time. Prints CPU microseconds for each workflow (all threads of the process, and the event loop's alone).
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from temporalio.api.enums.v1 import CommandType
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
    RespondActivityTaskCompletedRequest,
    RespondWorkflowTaskCompletedRequest,
    StartWorkflowExecutionRequest,
)

from perdure.api.handlers import all_handlers
from perdure.api.registry import build_methods
from perdure.call import PENDING
from perdure.cli.serve import GC_THRESHOLDS
from perdure.clock import SystemEntropy, SystemMonotonic, WallTime
from perdure.config import Config
from perdure.log import Log
from perdure.runtime.runtime import Runtime
from perdure.storage.sqlite import SqliteStore

SERVICE = "/temporal.api.workflowservice.v1.WorkflowService/"


class NotedCall:
    """A call whose answer goes to a callback."""

    __slots__ = ("answered", "deadline", "gone", "metadata", "method", "peer")
    client_name = "bench"

    def __init__(self, method: str, deadline: float, answered: Callable[[bytes], None]) -> None:
        self.method = method
        self.deadline = deadline
        self.answered = answered
        self.metadata: dict[str, str] = {}
        self.peer = ""
        self.gone = False

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Nobody goes away here."""

    def finish(self, reply: Message | bytes) -> bool:
        self.gone = True
        self.answered(reply if isinstance(reply, bytes) else reply.SerializeToString())
        return True

    def fail(self, error: Exception) -> None:
        raise error


class Driver:
    def __init__(self, runtime: Runtime, in_flight: int) -> None:
        self._methods = build_methods(all_handlers(runtime))
        self._loop = asyncio.get_running_loop()
        self._monotonic = runtime.monotonic
        self._left = 0
        self._open = 0
        self._in_flight = in_flight
        self._number = 0
        self._done: asyncio.Future[None] = self._loop.create_future()

    def call(self, rpc: str, raw: bytes, answered: Callable[[bytes], None]) -> None:
        method = self._methods[SERVICE + rpc]
        call = NotedCall(rpc, self._monotonic.now() + 60, answered)
        handler: Any = method.handler
        reply = handler(method.request_class.FromString(raw), call)
        if reply is not PENDING:
            call.finish(reply)

    def park(self) -> None:
        for _ in range(2 * self._in_flight):
            self.poll_workflow(b"")
            self.poll_activity(b"")

    async def drive(self, workflows: int) -> None:
        self._left = workflows
        self._done = self._loop.create_future()
        for _ in range(self._in_flight):
            self._loop.call_soon(self.begin)
        await self._done

    def begin(self) -> None:
        if self._left <= 0:
            if self._open == 0 and not self._done.done():
                self._done.set_result(None)
            return
        self._left -= 1
        self._open += 1
        self._number += 1
        request = StartWorkflowExecutionRequest(namespace="default", workflow_id=f"w{self._number}")
        request.workflow_type.name = "W"
        request.task_queue.name = "q"
        request.request_id = f"r{self._number}"
        request.input.payloads.add().data = b'"x"'
        self.call("StartWorkflowExecution", request.SerializeToString(), lambda reply: None)

    def poll_workflow(self, _: bytes) -> None:
        request = PollWorkflowTaskQueueRequest(namespace="default", identity="w")
        request.task_queue.name = "q"
        self.call("PollWorkflowTaskQueue", request.SerializeToString(), self.workflow_task)

    def poll_activity(self, _: bytes) -> None:
        request = PollActivityTaskQueueRequest(namespace="default", identity="w")
        request.task_queue.name = "q"
        self.call("PollActivityTaskQueue", request.SerializeToString(), self.activity_task)

    def workflow_task(self, raw: bytes) -> None:
        task = PollWorkflowTaskQueueResponse.FromString(raw)
        if not task.task_token:
            return
        request = RespondWorkflowTaskCompletedRequest(namespace="default", identity="w", task_token=task.task_token)
        command = request.commands.add()
        last = task.previous_started_event_id > 0
        if last:
            command.command_type = CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION
            command.complete_workflow_execution_command_attributes.SetInParent()
        else:
            command.command_type = CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK
            attributes = command.schedule_activity_task_command_attributes
            attributes.activity_id = "1"
            attributes.activity_type.name = "a"
            attributes.task_queue.name = "q"
            attributes.start_to_close_timeout.seconds = 10
        self._loop.call_soon(
            self.call, "RespondWorkflowTaskCompleted", request.SerializeToString(), self.closed if last else _ignore
        )
        self._loop.call_soon(self.poll_workflow, b"")

    def closed(self, _: bytes) -> None:
        self._open -= 1
        self._loop.call_soon(self.begin)

    def activity_task(self, raw: bytes) -> None:
        task = PollActivityTaskQueueResponse.FromString(raw)
        if not task.task_token:
            return
        request = RespondActivityTaskCompletedRequest(namespace="default", identity="w", task_token=task.task_token)
        self._loop.call_soon(self.call, "RespondActivityTaskCompleted", request.SerializeToString(), _ignore)
        self._loop.call_soon(self.poll_activity, b"")


def _ignore(_: bytes) -> None:
    pass


async def run(store_kind: str, workflows: int, in_flight: int, profile: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        store = SqliteStore(str(Path(folder) / "bench.db") if store_kind == "file" else None)
        await store.open()
        runtime = Runtime(store, Config(), WallTime(), SystemMonotonic(), SystemEntropy(), Log())
        await runtime.start()
        driver = Driver(runtime, in_flight)
        driver.park()
        await driver.drive(200)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        profiler = cProfile.Profile()
        before, before_loop, wall = time.process_time(), time.thread_time(), time.perf_counter()
        if profile:
            profiler.enable()
        await driver.drive(workflows)
        if profile:
            profiler.disable()
        used, used_loop = time.process_time() - before, time.thread_time() - before_loop
        print(
            f"{store_kind}: {used / workflows * 1e6:.0f} us a workflow, "
            f"{used_loop / workflows * 1e6:.0f} of it on the loop, "
            f"{workflows / (time.perf_counter() - wall):.0f} workflows/s"
        )
        if profile:
            pstats.Stats(profiler).sort_stats("tottime").print_stats(60)
        await runtime.stop()
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("memory", "file"), default="memory")
    parser.add_argument("--workflows", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--profile", action="store_true", help="print where the time goes (cProfile)")
    options = parser.parse_args()
    asyncio.run(run(options.store, options.workflows, options.in_flight, options.profile))


if __name__ == "__main__":
    main()
