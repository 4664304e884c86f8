"""Orders from the first step to the last, as a user would test them: the real workflows and activities, with days
skipped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from examples.orders.activities import OrderActivities
from examples.orders.domain import (
    Order,
    OrderLine,
    OrderState,
    Shipment,
    Status,
    notifications_workflow_id,
    order_workflow_id,
)
from examples.orders.inbox import Inbox
from examples.orders.models import Product
from examples.orders.payments import Payments
from examples.orders.worker import MAX_ACTIVITIES, build_worker
from examples.orders.workflows import NotificationsWorkflow, OrderWorkflow
from perdure.testing import TimeSkippingEnvironment, assert_history, event

ORDER = Order("1", "ann@example.org", [OrderLine("kettle", 1), OrderLine("cup", 2)])
TOTAL_CENTS = 3_900 + 2 * 850
STOCK = {"kettle": 10, "cup": 5}
QUEUE = "orders"


@dataclass(frozen=True)
class Shop:
    """The order system, at work on a server whose time skips."""

    env: TimeSkippingEnvironment
    payments: Payments
    inbox: Inbox
    database: sessionmaker[Session]

    async def place(self, order: Order = ORDER) -> WorkflowHandle[OrderWorkflow, OrderState]:
        return await self.env.client.start_workflow(
            OrderWorkflow.run, order, id=order_workflow_id(order.id), task_queue=QUEUE
        )

    async def accepted(self, order: Order = ORDER) -> WorkflowHandle[OrderWorkflow, OrderState]:
        """An order that is paid, allocated, confirmed, and waits for its parcel to leave."""
        handle = await self.place(order)
        await self.env.wait_until_idle()
        assert (await handle.query(OrderWorkflow.status)).status is Status.AWAITING_SHIPMENT
        return handle

    async def notifications_sent(self, order: Order = ORDER) -> None:
        notifications = self.env.client.get_workflow_handle_for(
            NotificationsWorkflow.run, notifications_workflow_id(order.id)
        )
        await notifications.result()

    def stock(self) -> dict[str, int]:
        with self.database() as session:
            return {row.sku: row.quantity for row in session.execute(select(Product.sku, Product.quantity))}

    def charged_cents(self) -> int:
        return sum(charge.amount for charge in self.payments.charges())

    def refunded_cents(self) -> int:
        return sum(refund.amount for refund in self.payments.refunds())

    def mails(self) -> list[tuple[str, str]]:
        """(kind, recipient), in order of arrival."""
        return [(mail.message_id.split(".")[1].split("@")[0], mail.recipients) for mail in self.inbox.messages()]


@pytest.fixture
async def shop(
    perdure_env: TimeSkippingEnvironment,
    activities: OrderActivities,
    shop_payments: Payments,
    inbox: Inbox,
    database: sessionmaker[Session],
) -> AsyncIterator[Shop]:
    with ThreadPoolExecutor(MAX_ACTIVITIES) as threads:
        async with build_worker(perdure_env.client, QUEUE, activities, threads):
            yield Shop(perdure_env, shop_payments, inbox, database)


@pytest.fixture(autouse=True)
def within_a_second(shop: Shop) -> Iterator[None]:
    """No test here takes a second of CPU, whatever its workflow waits for."""
    began = time.process_time()
    yield
    assert time.process_time() - began < 1


def statuses(state: OrderState) -> list[Status]:
    return [change.status for change in state.history]


PAID_AND_SENT_TO_THE_WAREHOUSE = [
    Status.RECEIVED,
    Status.VALIDATED,
    Status.CHARGED,
    Status.ALLOCATED,
    Status.CONFIRMED,
    Status.AWAITING_SHIPMENT,
]


async def test_an_order_is_paid_confirmed_and_shipped(shop: Shop) -> None:
    handle = await shop.accepted()
    await shop.env.sleep(timedelta(days=2))
    await handle.signal(OrderWorkflow.shipment, Shipment("Parcel Post", "PP-1"))

    state = await handle.result()
    await shop.notifications_sent()

    assert statuses(state) == [*PAID_AND_SENT_TO_THE_WAREHOUSE, Status.SHIPPED]
    assert state.tracking_number == "PP-1"
    assert (shop.charged_cents(), shop.refunded_cents()) == (TOTAL_CENTS, 0)
    assert shop.stock() == {"kettle": 9, "cup": 3}
    assert shop.mails() == [(kind, "ann@example.org") for kind in ("confirmation", "shipped", "receipt", "feedback")]
    await assert_history(
        handle,
        [
            event("WorkflowExecutionStarted", workflow_type="OrderWorkflow"),
            *activity("validate_order"),
            *activity("charge_payment"),
            *activity("allocate_stock"),
            *activity("send_mail"),
            *activity("notify_warehouse"),
            event("TimerStarted", start_to_fire_timeout=timedelta(days=7)),
            event("WorkflowExecutionSignaled", signal_name="shipment"),
            "TimerCanceled",
            *activity("close_order"),
            event("StartChildWorkflowExecutionInitiated", parent_close_policy="ABANDON"),
            "ChildWorkflowExecutionStarted",
            "WorkflowExecutionCompleted",
        ],
    )


def activity(name: str) -> list[object]:
    return [event("ActivityTaskScheduled", activity_type=name), "ActivityTaskStarted", "ActivityTaskCompleted"]


async def test_an_order_that_cannot_be_allocated_is_refunded(shop: Shop) -> None:
    began = await shop.env.get_current_time()
    handle = await shop.place(Order("1", "ann@example.org", [OrderLine("kettle", 1), OrderLine("cup", 6)]))

    state = await handle.result()
    await shop.notifications_sent()

    assert statuses(state)[-2:] == [Status.REFUNDED, Status.OUT_OF_STOCK]
    assert state.refund_id is not None
    assert shop.refunded_cents() == shop.charged_cents() == 3_900 + 6 * 850
    assert shop.stock() == STOCK
    assert [kind for kind, _ in shop.mails()] == ["out_of_stock", "refunded"]
    # Three attempts, 1 s and 2 s apart: stock also comes in.
    assert await shop.env.get_current_time() - began >= timedelta(seconds=3)
    await assert_history(
        handle,
        [
            ...,
            event("ActivityTaskScheduled", activity_type="allocate_stock"),
            event("ActivityTaskStarted", attempt=3),
            event("ActivityTaskFailed", failure="fewer than 6 of 'cup' in stock"),
            ...,
            event("ActivityTaskScheduled", activity_type="refund_payment"),
            ...,
        ],
    )


async def test_a_customer_who_cancels_gets_the_money_back(shop: Shop) -> None:
    handle = await shop.accepted()
    await shop.env.sleep(timedelta(days=6))
    await handle.signal(OrderWorkflow.cancel, "found a better kettle")

    state = await handle.result()
    await shop.notifications_sent()

    assert statuses(state)[-3:] == [Status.RELEASED, Status.REFUNDED, Status.CANCELLED]
    assert state.history[-1].note == "found a better kettle"
    assert shop.refunded_cents() == shop.charged_cents() == TOTAL_CENTS
    assert shop.stock() == STOCK
    assert [kind for kind, _ in shop.mails()] == ["confirmation", "cancelled", "refunded"]


async def test_an_order_that_nobody_ships_for_seven_days_is_escalated(shop: Shop) -> None:
    state = await (await shop.place()).result()
    await shop.notifications_sent()

    assert statuses(state) == [*PAID_AND_SENT_TO_THE_WAREHOUSE, Status.ESCALATED]
    assert state.history[-1].note == "neither shipped nor cancelled within 7 days"
    awaiting, escalated = (datetime.fromisoformat(change.at) for change in state.history[-2:])
    assert timedelta(days=7) <= escalated - awaiting < timedelta(days=7, minutes=1)
    assert shop.refunded_cents() == 0, "the order is late, not over"
    assert sorted(shop.mails()) == [
        ("confirmation", "ann@example.org"),
        ("delayed", "ann@example.org"),
        ("escalation", "operations@shop.example"),
    ]


async def test_an_order_tells_its_status_also_after_its_end(shop: Shop) -> None:
    handle = await shop.accepted()
    await handle.signal(OrderWorkflow.shipment, Shipment("Parcel Post", "PP-1"))
    state = await handle.result()
    await shop.env.sleep(timedelta(days=30))

    assert await handle.query(OrderWorkflow.status) == state


async def test_notifications_outlive_the_order(shop: Shop) -> None:
    handle = await shop.accepted()
    with shop.env.frozen():
        await handle.signal(OrderWorkflow.shipment, Shipment("Parcel Post", "PP-1"))
        await shop.env.wait_until_idle()

        # The order has ended; its messages go out 0.1 s apart, and the clock stands still.
        notifications = shop.env.client.get_workflow_handle(notifications_workflow_id(ORDER.id))
        assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
        assert (await notifications.describe()).status is WorkflowExecutionStatus.RUNNING
        assert [kind for kind, _ in shop.mails()] == ["confirmation", "shipped"]

    assert await notifications.result() == 3
    assert [kind for kind, _ in shop.mails()] == ["confirmation", "shipped", "receipt", "feedback"]


async def test_many_orders_share_a_clock(shop: Shop) -> None:
    orders = [Order(f"{number}", "ann@example.org", [OrderLine("kettle", 1)]) for number in range(1, 4)]
    handles = [await shop.place(order) for order in orders]
    await shop.env.wait_until_idle()
    await handles[0].signal(OrderWorkflow.shipment, Shipment("Parcel Post", "PP-1"))
    await handles[1].signal(OrderWorkflow.cancel, "too late")

    states = await asyncio.gather(*(handle.result() for handle in handles))

    assert [state.status for state in states] == [Status.SHIPPED, Status.CANCELLED, Status.ESCALATED]
