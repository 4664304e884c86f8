"""A refused request is gone from memory when it is answered, however large it was."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import temporalio.api.workflowservice.v1 as ws
from google.protobuf.message import Message

from perdure import Server
from perdure.errors import PerdureError
from perdure.runtime.inputs import Entry
from perdure.transport.grpcio.call import GrpcCall
from tests.api.client import NAMESPACE, Api, Refused, execution, start_request, values

Ask = Callable[[Api], Awaitable[object]]


async def _duplicate(api: Api) -> object:
    return await api.StartWorkflowExecution(start_request(input=values("x" * 1000)))


async def _missing(api: Api) -> object:
    return await api.describe("nowhere")


async def _invalid(api: Api) -> object:
    return await api.StartWorkflowExecution(start_request(workflow_id=""))


async def _late(api: Api) -> object:
    return await api.RespondWorkflowTaskCompleted(
        ws.RespondWorkflowTaskCompletedRequest(namespace=NAMESPACE, task_token=b"made up")
    )


async def _update(api: Api) -> object:
    request = ws.UpdateWorkflowExecutionRequest(namespace=NAMESPACE, workflow_execution=execution("nowhere"))
    request.request.input.name = "change"
    return await api.UpdateWorkflowExecution(request)


async def _query(api: Api) -> object:
    request = ws.QueryWorkflowRequest(namespace=NAMESPACE, execution=execution("nowhere"))
    request.query.query_type = "state"
    return await api.QueryWorkflow(request)


async def _filter(api: Api) -> object:
    return await api.ListWorkflowExecutions(ws.ListWorkflowExecutionsRequest(namespace=NAMESPACE, query="((("))


async def test_nothing_of_it_waits_for_the_collector(server: Server, api: Api) -> None:
    asks: tuple[Ask, ...] = (_duplicate, _missing, _invalid, _late, _update, _query, _filter)
    await api.start()
    for ask in asks:
        await refused(ask, api)
    gc.collect()
    gc.freeze()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(5):
            for ask in asks:
                await refused(ask, api)
        gc.collect()
        kept = [left for left in gc.garbage if isinstance(left, Message | GrpcCall | Entry | PerdureError)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()
    assert not kept, Counter(type(left).__name__ for left in kept)


async def refused(ask: Ask, api: Api) -> None:
    try:
        await ask(api)
    except Refused:
        return
    raise AssertionError(f"{ask} was served")
