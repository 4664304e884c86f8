"""What list, count and describe tell: what was written is what is read, at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import RetryPolicy, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from tests.sdk.python.kit import unique, working

pytestmark = pytest.mark.timeout(30)

CUSTOMER = SearchAttributeKey.for_keyword("CustomerId")
AMOUNT = SearchAttributeKey.for_int("Amount")
TAGS = SearchAttributeKey.for_keyword_list("Tags")
DUE = SearchAttributeKey.for_datetime("Due")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@workflow.defn
class Order:
    """Writes about itself what it is told to, and ends when told to."""

    def __init__(self) -> None:
        self._ended = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._ended)

    @workflow.signal
    def end(self) -> None:
        self._ended = True

    @workflow.signal
    def bill(self, amount: int | None) -> None:
        change = AMOUNT.value_unset() if amount is None else AMOUNT.value_set(amount)
        workflow.upsert_search_attributes([change, TAGS.value_set(["billed", "new"])])

    @workflow.signal
    def note(self, memo: dict[str, Any]) -> None:
        workflow.upsert_memo(memo)

    @workflow.query
    def written(self) -> list[Any]:
        """Answered once the signals before it were handled, and with them their upserts."""
        return [workflow.info().typed_search_attributes.get(AMOUNT), dict(workflow.memo())]


async def order(client: Client, queue: str, customer: str, amount: int) -> WorkflowHandle[Any, None]:
    return await client.start_workflow(
        Order.run,
        id=unique("order"),
        task_queue=queue,
        memo={"note": "fragile", "gift": True},
        search_attributes=TypedSearchAttributes(
            [
                SearchAttributePair(CUSTOMER, customer),
                SearchAttributePair(AMOUNT, amount),
                SearchAttributePair(DUE, NOON),
            ]
        ),
    )


async def listed(client: Client, query: str) -> list[str]:
    return [execution.id async for execution in client.list_workflows(query)]


async def test_a_started_workflow_is_listed_when_start_returns(client: Client) -> None:
    queue, customer = unique("queue"), unique("customer")
    for number in range(1, 11):
        handle = await order(client, queue, customer, number)
        assert (await listed(client, f"CustomerId = '{customer}'"))[0] == handle.id
        assert (await client.count_workflows(f"CustomerId = '{customer}'")).count == number

    assert len(await listed(client, f"CustomerId = '{customer}' AND Amount > 7")) == 3
    assert len(await listed(client, f"CustomerId = '{customer}' AND Amount BETWEEN 2 AND 4")) == 3
    assert len(await listed(client, f"CustomerId = '{customer}' AND Due > '2026-03-01T11:00:00Z'")) == 10
    assert await listed(client, f"CustomerId = '{customer}' AND WorkflowType = 'Other'") == []
    assert await listed(client, f"WorkflowId = '{handle.id}'") == [handle.id]
    assert await listed(client, f"TaskQueue = '{queue}' AND ExecutionStatus != 'Running'") == []


async def test_pages_of_a_list_hold_every_workflow_once(client: Client) -> None:
    queue, customer = unique("queue"), unique("customer")
    handles = await asyncio.gather(*(order(client, queue, customer, number) for number in range(25)))

    pages = client.list_workflows(f"CustomerId = '{customer}'", page_size=4)

    assert sorted([execution.id async for execution in pages]) == sorted(handle.id for handle in handles)


async def test_an_ended_workflow_is_listed_as_ended_at_once(client: Client) -> None:
    customer = unique("customer")
    async with working(client, [Order]) as queue:
        done, gone, open_ = [await order(client, queue, customer, number) for number in range(3)]
        await done.signal(Order.end)
        await done.result()
        await gone.terminate(reason="no longer wanted")

        mine = f"CustomerId = '{customer}'"
        assert await listed(client, f"{mine} AND ExecutionStatus = 'Completed'") == [done.id]
        assert await listed(client, f"{mine} AND ExecutionStatus = 'Terminated'") == [gone.id]
        assert await listed(client, f"{mine} AND ExecutionStatus = 'Running'") == [open_.id]
        assert sorted(await listed(client, f"{mine} AND CloseTime IS NOT NULL")) == sorted([done.id, gone.id])
        groups = (await client.count_workflows(f"{mine} GROUP BY ExecutionStatus")).groups
        assert sorted((group.group_values[0], group.count) for group in groups) == [
            ("Completed", 1),
            ("Running", 1),
            ("Terminated", 1),
        ]
        await open_.terminate()


async def test_a_workflow_changes_its_own_search_attributes_and_memo(client: Client) -> None:
    customer = unique("customer")
    async with working(client, [Order]) as queue:
        handle = await order(client, queue, customer, 1)
        await handle.signal(Order.bill, 42)
        await handle.signal(Order.note, {"note": "billed", "gift": None, "by": "post"})
        assert (await handle.query(Order.written))[0] == 42

        assert await listed(client, f"CustomerId = '{customer}' AND Amount = 42 AND Tags = 'new'") == [handle.id]
        described = await handle.describe()
        assert described.typed_search_attributes[AMOUNT] == 42
        assert described.typed_search_attributes[TAGS] == ["billed", "new"]
        assert described.typed_search_attributes[DUE] == NOON
        assert await described.memo() == {"note": "billed", "by": "post"}

        await handle.signal(Order.bill, None)
        assert (await handle.query(Order.written))[0] is None
        assert AMOUNT not in (await handle.describe()).typed_search_attributes
        assert await listed(client, f"CustomerId = '{customer}' AND Amount = 42") == []
        await handle.terminate()


async def test_an_unknown_search_attribute_is_refused(client: Client) -> None:
    with pytest.raises(RPCError) as refusal:
        await client.start_workflow(
            Order.run,
            id=unique("order"),
            task_queue=unique("queue"),
            search_attributes=TypedSearchAttributes(
                [SearchAttributePair(SearchAttributeKey.for_keyword("Unheard"), "x")]
            ),
        )
    assert refusal.value.status is RPCStatusCode.INVALID_ARGUMENT

    with pytest.raises(RPCError) as refusal:
        await listed(client, "Unheard = 'x'")
    assert refusal.value.status is RPCStatusCode.INVALID_ARGUMENT


async def test_attributes_of_every_type_are_added_set_and_found(client: Client) -> None:
    name = unique("T").replace("-", "")
    types = {
        "Keyword": (SearchAttributeKey.for_keyword(f"{name}Keyword"), "red-fox"),
        "Text": (SearchAttributeKey.for_text(f"{name}Text"), "a quick red fox"),
        "Int": (SearchAttributeKey.for_int(f"{name}Int"), -7),
        "Double": (SearchAttributeKey.for_float(f"{name}Double"), 2.25),
        "Bool": (SearchAttributeKey.for_bool(f"{name}Bool"), False),
        "Datetime": (SearchAttributeKey.for_datetime(f"{name}Datetime"), NOON),
        "KeywordList": (SearchAttributeKey.for_keyword_list(f"{name}KeywordList"), ["red", "fox"]),
    }
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=client.namespace,
            search_attributes={key.name: key.indexed_value_type for key, _ in types.values()},
        )
    )
    pairs = [SearchAttributePair(key, value) for key, value in types.values()]
    handle = await client.start_workflow(
        Order.run,
        id=unique("order"),
        task_queue=unique("queue"),
        search_attributes=TypedSearchAttributes(pairs),  # type: ignore[arg-type]  # each pair has its own type
    )

    for query in (
        f"{name}Keyword STARTS_WITH 'red' AND `{name}Keyword` > 'red'",
        f"{name}Text = 'FOX' AND {name}Text != 'dog'",
        f"{name}Int BETWEEN -7 AND 0 AND {name}Int < 0",
        f"{name}Double > 2.2 AND {name}Double IN (1, 2.25)",
        f"{name}Bool = false AND {name}Bool != true",
        f"{name}Datetime >= '2026-03-01T13:00:00+01:00' AND {name}Datetime < '2026-03-01T12:00:00.000001Z'",
        f"{name}KeywordList = 'fox' AND {name}KeywordList NOT IN ('dog', 'cat')",
        f"NOT ({name}Int >= 0 OR {name}Int IS NULL)",
    ):
        assert await listed(client, query) == [handle.id], query
        assert (await client.count_workflows(query)).count == 1
    described = await handle.describe()
    for key, value in types.values():
        assert described.typed_search_attributes[key] == value
    await handle.terminate()


# ---- describe
@activity.defn
async def try_in_vain() -> None:
    raise ApplicationError("the printer is out of paper")


@workflow.defn
class Tries:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            try_in_vain,
            start_to_close_timeout=timedelta(seconds=5),
            retry_policy=RetryPolicy(initial_interval=timedelta(hours=1)),
        )


async def test_describe_tells_what_an_open_workflow_waits_for(client: Client) -> None:
    async with working(client, [Tries], [try_in_vain]) as queue:
        handle = await client.start_workflow(Tries.run, id=unique("tries"), task_queue=queue, memo={"who": "ann"})
        async with asyncio.timeout(10):
            while True:
                described = await handle.describe()
                pending = described.raw_description.pending_activities
                if pending and pending[0].HasField("last_failure"):
                    break

        assert described.status is WorkflowExecutionStatus.RUNNING
        assert described.workflow_type == "Tries"
        assert described.task_queue == queue
        assert described.close_time is None
        assert described.history_length > 4
        assert await described.memo() == {"who": "ann"}
        assert pending[0].activity_type.name == "try_in_vain"
        assert pending[0].attempt == 2
        assert pending[0].last_failure.message == "the printer is out of paper"
        await handle.terminate()
        assert (await handle.describe()).close_time is not None


# ---- terminate, delete
async def test_a_terminated_workflow_says_who_ended_it_and_why(client: Client) -> None:
    handle = await client.start_workflow(Order.run, id=unique("order"), task_queue=unique("queue"))

    await handle.terminate("SKU-7", reason="out of stock")

    last = (await handle.fetch_history()).events[-1].workflow_execution_terminated_event_attributes
    assert last.reason == "out of stock"
    assert await client.data_converter.decode(last.details.payloads) == ["SKU-7"]
    assert last.identity == client.identity
    with pytest.raises(RPCError) as refusal:
        await handle.terminate()
    assert refusal.value.status is RPCStatusCode.NOT_FOUND


async def test_a_deleted_workflow_is_gone(client: Client) -> None:
    from temporalio.api.common.v1 import WorkflowExecution
    from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest

    handle = await client.start_workflow(Order.run, id=unique("order"), task_queue=unique("queue"))

    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=client.namespace, workflow_execution=WorkflowExecution(workflow_id=handle.id)
        )
    )

    async with asyncio.timeout(10):
        while await listed(client, f"WorkflowId = '{handle.id}'"):
            pass
    with pytest.raises(RPCError) as gone:
        await handle.describe()
    assert gone.value.status is RPCStatusCode.NOT_FOUND
    again = await client.start_workflow(Order.run, id=handle.id, task_queue=unique("queue"))
    await again.terminate()


# ---- namespaces
async def test_namespaces_know_nothing_of_each_other(client: Client, server_address: str) -> None:
    other = await Client.connect(server_address, namespace="other")
    workflow_id, queue = unique("order"), unique("queue")
    async with working(client, [Order], task_queue=queue), working(other, [Order], task_queue=queue):
        here = await client.start_workflow(Order.run, id=workflow_id, task_queue=queue)
        there = await other.start_workflow(Order.run, id=workflow_id, task_queue=queue)
        await here.signal(Order.end)
        await here.result()

        assert (await there.describe()).status is WorkflowExecutionStatus.RUNNING
        assert await listed(other, f"WorkflowId = '{workflow_id}' AND ExecutionStatus = 'Running'") == [workflow_id]
        assert await listed(client, f"WorkflowId = '{workflow_id}' AND ExecutionStatus = 'Running'") == []
        await there.terminate()


async def test_an_unknown_namespace_is_not_found(server_address: str) -> None:
    nowhere = await Client.connect(server_address, namespace=unique("nowhere"))

    with pytest.raises(RPCError) as refusal:
        await nowhere.start_workflow(Order.run, id=unique("order"), task_queue="queue")
    assert refusal.value.status is RPCStatusCode.NOT_FOUND
