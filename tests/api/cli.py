"""The calls that `temporal`, the command line client, makes for a command, as it makes them: compressed, with its
headers, with the fields it sets; and what each story needs to be told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import grpc.aio
from temporalio.api.command.v1 import Command

from perdure.api.registry import build_methods
from tests.api.client import NAMESPACE, Api, complete_workflow, start_timer

HEADERS = (
    ("client-name", "temporal-cli"),
    ("client-version", "1.9.1"),
    ("supported-server-versions", ">=1.0.0 <2.0.0"),
    ("caller-type", "operator"),
)
IDENTITY = "temporal-cli:ann@laptop"

_REQUESTS = {method.rpc: method.request_class for method in build_methods(()).values()}


class Cli:
    """One command's client. `await cli("TerminateWorkflowExecution", reason="enough")`; `called` are the RPCs so far.

    What others do meanwhile (workers, a workflow that must be there) goes by `cli.others`, and is not noted.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.others = Api(channel)
        self._api = Api(channel)
        self._api.metadata = HEADERS
        self.called: set[str] = set()
        self.name = f"cli-{uuid4().hex[:8]}"
        """ID of the story's workflow and name of its queue."""

    async def __call__(self, rpc: str, **fields: Any) -> Any:
        self.called.add(rpc)
        return await getattr(self._api, rpc)(self.request(rpc, **fields))

    def request(self, rpc: str, **fields: Any) -> Any:
        """With the namespace, identity and request ID that the client sets wherever a request has them."""
        kind = _REQUESTS[rpc]
        defaults = {"namespace": NAMESPACE, "identity": IDENTITY, "request_id": uuid4().hex}
        known = kind.DESCRIPTOR.fields_by_name
        return kind(**{**{name: value for name, value in defaults.items() if name in known}, **fields})

    @property
    def execution(self) -> dict[str, str]:
        return {"workflow_id": self.name}

    @property
    def queue(self) -> dict[str, str]:
        return {"name": self.name}

    # ---- what others do
    def starting(self, **fields: Any) -> dict[str, Any]:
        """The fields of a start."""
        return {
            "workflow_id": self.name,
            "workflow_type": {"name": "Order"},
            "task_queue": self.queue,
            **fields,
        }

    async def start(self, **fields: Any) -> Any:
        return await self.others.StartWorkflowExecution(
            self.request("StartWorkflowExecution", **self.starting(**fields))
        )

    async def task(self) -> Any:
        task = await self.others.poll(task_queue=self.queue)
        assert task.task_token, "no workflow task came"
        return task

    async def work(self, *commands: Command, **fields: Any) -> Any:
        """Take the next workflow task and answer it, with a timer if with nothing."""
        task = await self.task()
        await self.others.complete(task, *(commands or [start_timer()]), **fields)
        return task

    async def run(self) -> None:
        """A workflow from its start to its end."""
        await self.start()
        await self.work(complete_workflow("done"))


Story = Callable[[Cli], Awaitable[None]]

STORIES: dict[str, tuple[frozenset[str], Story]] = {}
"""By command: the RPCs it calls, and what it does with them."""


def command(name: str, *rpcs: str) -> Callable[[Story], Story]:
    def add(story: Story) -> Story:
        assert name not in STORIES, f"{name} is told twice"
        STORIES[name] = (frozenset(rpcs), story)
        return story

    return add
