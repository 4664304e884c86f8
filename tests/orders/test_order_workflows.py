"""The order workflow as its users test it: activities by name, a server in the process, a week in milliseconds."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
from temporalio import activity
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from examples.orders.domain import (
    Charge,
    Closing,
    Escalation,
    Message,
    Order,
    OrderLine,
    OrderState,
    OutOfStockError,
    PaymentDeclinedError,
    Quote,
    Refund,
    Shipment,
    Status,
    WarehouseNotice,
    notifications_workflow_id,
)
from examples.orders.workflows import NotificationsWorkflow, OrderWorkflow
from perdure.testing import TimeSkippingEnvironment, assert_history, event

ORDER = Order("17", "ann@example.org", [OrderLine("kettle", 1)])
QUEUE = "orders"

OrderHandle = WorkflowHandle[OrderWorkflow, OrderState]


class Shop:
    """Doubles of the activities, by name. `done` is what the workflow had done, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.in_stock = True

    @activity.defn
    async def validate_order(self, order: Order) -> Quote:
        return Quote(3_900)

    @activity.defn
    async def charge_payment(self, charge: Charge) -> str:
        self.done.append("charge")
        return "pi_1"

    @activity.defn
    async def refund_payment(self, refund: Refund) -> str | None:
        self.done.append(f"refund {refund.payment_id}")
        return "re_1"

    @activity.defn
    async def allocate_stock(self, order: Order) -> None:
        if not self.in_stock:
            raise ApplicationError("kettle: 0 left", type=OutOfStockError.__name__, non_retryable=True)
        self.done.append("allocate")

    @activity.defn
    async def release_stock(self, order_id: str) -> bool:
        self.done.append("release")
        return self.in_stock

    @activity.defn
    async def send_mail(self, message: Message) -> str:
        self.done.append(f"mail {message.kind.value}")
        return "mail"

    @activity.defn
    async def notify_warehouse(self, notice: WarehouseNotice) -> None:
        self.done.append(f"warehouse {notice.kind.value}")

    @activity.defn
    async def escalate(self, escalation: Escalation) -> None:
        self.done.append("escalate")

    @activity.defn
    async def close_order(self, closing: Closing) -> None:
        self.done.append(f"close {closing.status.value}")


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture(autouse=True)
def under_a_second() -> Iterator[None]:
    began = time.perf_counter()
    yield
    if "PYTEST_XDIST_WORKER" not in os.environ:  # several workers on two cores wait for each other, not for the server
        assert time.perf_counter() - began < 1.0


@asynccontextmanager
async def ordered(env: TimeSkippingEnvironment, shop: Shop) -> AsyncIterator[OrderHandle]:
    """An order that was just posted, and a worker that takes care of it."""
    doubles = [
        shop.validate_order,
        shop.charge_payment,
        shop.refund_payment,
        shop.allocate_stock,
        shop.release_stock,
        shop.send_mail,
        shop.notify_warehouse,
        shop.escalate,
        shop.close_order,
    ]
    async with Worker(
        env.client, task_queue=QUEUE, workflows=[OrderWorkflow, NotificationsWorkflow], activities=doubles
    ):
        yield await env.client.start_workflow(OrderWorkflow.run, ORDER, id="order-17", task_queue=QUEUE)


async def until(handle: OrderHandle, status: Status) -> OrderState:
    """The order's state once it came to `status`: a query sees all that was answered before it."""
    while True:
        state = await handle.query(OrderWorkflow.status)
        if any(change.status is status for change in state.history):
            return state


def between(state: OrderState, first: Status, last: Status) -> timedelta:
    at = {change.status: datetime.fromisoformat(change.at) for change in state.history}
    return at[last] - at[first]


async def test_an_order_is_charged_allocated_confirmed_and_shipped(
    perdure_env: TimeSkippingEnvironment, shop: Shop
) -> None:
    async with ordered(perdure_env, shop) as order:
        await until(order, Status.AWAITING_SHIPMENT)

        await order.signal(OrderWorkflow.shipment, Shipment("DHL", "T-1"))
        state = await order.result()

    assert (state.status, state.tracking_number) == (Status.SHIPPED, "T-1")
    assert shop.done[:4] == ["charge", "allocate", "mail confirmation", "warehouse pick"]
    assert "close shipped" in shop.done


async def test_a_charge_is_refunded_when_there_is_nothing_to_allocate(
    perdure_env: TimeSkippingEnvironment, shop: Shop
) -> None:
    shop.in_stock = False

    async with ordered(perdure_env, shop) as order:
        state = await order.result()

    assert (state.status, state.refund_id) == (Status.OUT_OF_STOCK, "re_1")
    assert shop.done[:3] == ["charge", "release", "refund pi_1"]


async def test_a_declined_card_is_charged_once_and_nothing_else_happens(
    perdure_env: TimeSkippingEnvironment, shop: Shop
) -> None:
    @activity.defn(name="charge_payment")
    async def decline(charge: Charge) -> str:
        shop.done.append("charge")
        raise ApplicationError("insufficient funds", type=PaymentDeclinedError.__name__)

    shop.charge_payment = decline  # type: ignore[method-assign] # another double for this test

    async with ordered(perdure_env, shop) as order:
        state = await order.result()

    assert state.status is Status.DECLINED
    assert shop.done.count("charge") == 1
    assert "allocate" not in shop.done


async def test_a_customer_who_cancels_gets_the_money_back(perdure_env: TimeSkippingEnvironment, shop: Shop) -> None:
    async with ordered(perdure_env, shop) as order:
        await until(order, Status.AWAITING_SHIPMENT)

        await order.signal(OrderWorkflow.cancel, "changed my mind")
        state = await order.result()

    assert state.status is Status.CANCELLED
    assert shop.done[4:7] == ["warehouse stop", "release", "refund pi_1"]


async def test_an_order_that_nobody_ships_is_escalated_after_seven_days(
    perdure_env: TimeSkippingEnvironment, shop: Shop
) -> None:
    async with ordered(perdure_env, shop) as order:
        state = await order.result()

        week = event("TimerStarted", start_to_fire_timeout=timedelta(days=7))
        await assert_history(order, [..., week, "TimerFired", ..., "WorkflowExecutionCompleted"])
    waited = between(state, Status.AWAITING_SHIPMENT, Status.ESCALATED)
    assert timedelta(days=7) <= waited < timedelta(days=7, minutes=1)
    assert "escalate" in shop.done


async def test_the_status_can_be_asked_after_the_order_has_ended(
    perdure_env: TimeSkippingEnvironment, shop: Shop
) -> None:
    async with ordered(perdure_env, shop) as order:
        ended = await order.result()

        asked = await order.query(OrderWorkflow.status)

    assert asked == ended


async def test_notifications_outlive_the_order(perdure_env: TimeSkippingEnvironment, shop: Shop) -> None:
    async with ordered(perdure_env, shop) as order:
        await until(order, Status.AWAITING_SHIPMENT)
        await order.signal(OrderWorkflow.shipment, Shipment("DHL", "T-1"))
        await order.result()
        closed = (await order.describe()).close_time

        child = perdure_env.client.get_workflow_handle(notifications_workflow_id(ORDER.id))
        sent = await child.result()
        description = await child.describe()

    assert sent == 3
    assert description.status is WorkflowExecutionStatus.COMPLETED
    assert closed is not None
    assert description.close_time is not None
    assert description.close_time > closed
    assert [done for done in shop.done if done.startswith("mail")][1:] == [
        "mail shipped",
        "mail receipt",
        "mail feedback",
    ]
