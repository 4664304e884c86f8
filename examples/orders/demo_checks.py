"""The demo's judgement: what the workflows, the orders database, the mailbox and the payment stand-in must hold.

The four are asked independently of each other, and each must agree with what was ordered, to the cent and the cup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from temporalio.client import Client, WorkflowExecutionStatus

from examples.orders.domain import (
    Mail,
    Notice,
    Order,
    Status,
    notifications_workflow_id,
    order_workflow_id,
)
from examples.orders.inbox import Inbox
from examples.orders.mail import message_id
from examples.orders.models import Notification, OrderRow, Payment, Product, StockMovement, WarehouseNoticeRow
from examples.orders.payments import Payments, order_of
from examples.orders.stock import CatalogItem
from examples.orders.stripe_standin import PostedRequest


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one way to end an order leaves behind."""

    status: Status
    charged: bool = False
    refunded: bool = False
    allocated: bool = False
    released: bool = False
    mails: frozenset[Mail] = frozenset()
    notices: frozenset[Notice] = frozenset()


SHIPPED = Outcome(
    Status.SHIPPED,
    charged=True,
    allocated=True,
    mails=frozenset({Mail.CONFIRMATION, Mail.SHIPPED, Mail.RECEIPT, Mail.FEEDBACK}),
    notices=frozenset({Notice.PICK}),
)
CANCELLED = Outcome(
    Status.CANCELLED,
    charged=True,
    refunded=True,
    allocated=True,
    released=True,
    mails=frozenset({Mail.CONFIRMATION, Mail.CANCELLED, Mail.REFUNDED}),
    notices=frozenset({Notice.PICK, Notice.STOP}),
)
OUT_OF_STOCK = Outcome(
    Status.OUT_OF_STOCK,
    charged=True,
    refunded=True,
    mails=frozenset({Mail.OUT_OF_STOCK, Mail.REFUNDED}),
)
DECLINED = Outcome(Status.DECLINED, mails=frozenset({Mail.DECLINED}))
INVALID = Outcome(Status.INVALID, mails=frozenset({Mail.REJECTED}))


@dataclass(frozen=True, slots=True)
class Expected:
    order: Order
    outcome: Outcome
    total_cents: int


@dataclass(frozen=True, slots=True)
class Check:
    where: str
    what: str
    found: str
    ok: bool


def same(where: str, what: str, expected: Iterable[Hashable], found: Iterable[Hashable], remark: str = "") -> Check:
    """Both as multisets: one too many is as wrong as one too few."""
    wanted, got = Counter(expected), Counter(found)
    if wanted == got:
        return Check(where, what, f"{got.total()} as expected{remark}", True)
    problems = [f"missing {item} x{count}" for item, count in (wanted - got).items()]
    problems += [f"unexpected {item} x{count}" for item, count in (got - wanted).items()]
    return Check(where, what, "; ".join(problems), False)


async def check_workflows(client: Client, expected: list[Expected]) -> list[Check]:
    """Every order and its notifications are completed, and notifications outlived orders."""
    statuses, outlived = [], 0
    for item in expected:
        order = await client.get_workflow_handle(order_workflow_id(item.order.id)).describe()
        notifications = await client.get_workflow_handle(notifications_workflow_id(item.order.id)).describe()
        statuses += [(description.id, description.status) for description in (order, notifications)]
        if order.close_time and notifications.close_time and notifications.close_time > order.close_time:
            outlived += 1
    ids = [make(item.order.id) for item in expected for make in (order_workflow_id, notifications_workflow_id)]
    return [
        same("workflows", "completed", [(it, WorkflowExecutionStatus.COMPLETED) for it in ids], statuses),
        Check("workflows", "notifications outlive their order", f"{outlived} of {len(expected)} did", outlived > 0),
    ]


def check_database(
    session: Session, expected: list[Expected], catalog: Iterable[CatalogItem], other_mails: Sequence[str] = ()
) -> list[Check]:
    """`other_mails` are Message-IDs beside those of orders."""
    where = "orders database"
    payments = [(it.order.id, "charge", it.total_cents) for it in expected if it.outcome.charged]
    payments += [(it.order.id, "refund", it.total_cents) for it in expected if it.outcome.refunded]
    movements, left = [], {item.sku: item.quantity for item in catalog}
    for it in expected:
        for line in it.order.lines:
            if it.outcome.allocated:
                movements.append((it.order.id, line.sku, -line.quantity, "allocation"))
            if it.outcome.released:
                movements.append((it.order.id, line.sku, line.quantity, "release"))
            if it.outcome.allocated and not it.outcome.released:
                left[line.sku] -= line.quantity
    stocked = session.execute(select(Product.sku, Product.quantity))
    ledger = session.execute(select(StockMovement.sku, func.sum(StockMovement.delta)).group_by(StockMovement.sku))
    return [
        same(
            where,
            "status of each order",
            [(it.order.id, it.outcome.status) for it in expected],
            [(order_id, Status(status)) for order_id, status in session.execute(select(OrderRow.id, OrderRow.status))],
        ),
        same(
            where,
            "each charge and refund once",
            payments,
            map(tuple, session.execute(select(Payment.order_id, Payment.kind, Payment.amount_cents))),
        ),
        same(
            where,
            "each stock movement once",
            movements,
            map(
                tuple,
                session.execute(
                    select(StockMovement.order_id, StockMovement.sku, StockMovement.delta, StockMovement.reason).where(
                        StockMovement.order_id.is_not(None)
                    )
                ),
            ),
        ),
        same(where, "stock left", left.items(), map(tuple, stocked)),
        same(where, "stock by the ledger", left.items(), map(tuple, ledger)),
        same(
            where,
            "each warehouse notice once",
            [(it.order.id, str(notice)) for it in expected for notice in it.outcome.notices],
            map(tuple, session.execute(select(WarehouseNoticeRow.order_id, WarehouseNoticeRow.kind))),
        ),
        same(
            where,
            "each mail noted once",
            [*expected_mail(expected), *other_mails],
            session.scalars(select(Notification.message_id)),
        ),
    ]


def check_payments(payments: Payments, requests: list[PostedRequest], expected: list[Expected]) -> list[Check]:
    where = "payment stand-in"
    charged = [(it.order.id, it.total_cents) for it in expected if it.outcome.charged]
    refunded = [(it.order.id, it.total_cents) for it in expected if it.outcome.refunded]
    replays = sum(request.replayed for request in requests)
    return [
        same(where, "each card charged once", charged, [(order_of(it), it.amount) for it in payments.charges()]),
        same(where, "each refund made once", refunded, [(order_of(it), it.amount) for it in payments.refunds()]),
        Check(where, "requests repeated", f"{replays} of {len(requests)}, answered from memory", True),
    ]


def check_mail(inbox: Inbox, expected: list[Expected], others: Sequence[tuple[str, str]] = ()) -> list[Check]:
    """`others` are mails beside those of orders, as (Message-ID, recipient). Mail is at least once by nature, so copies
    of one Message-ID count as one message, and are told."""
    received = [(it.message_id, it.recipients) for it in inbox.messages()]
    recipients = {it.order.id: it.order.email for it in expected}
    wanted = [(message_id(it.order.id, kind), recipients[it.order.id]) for it in expected for kind in it.outcome.mails]
    wanted += others
    copies = len(received) - len(set(received))
    remark = f" (at least once by nature: {copies} {'copy' if copies == 1 else 'copies'} dropped by Message-ID)"
    return [same("mailbox", "each mail arrived", wanted, set(received), remark)]


def check_report(inbox: Inbox, report: str, orders: int) -> Check:
    """The report came by mail, and counts all orders that were posted: those that failed too."""
    texts = [mail.message.get_body(("plain",)) for mail in inbox.messages() if mail.message_id == report]
    text = " ".join(texts[-1].get_content().split()) if texts and texts[-1] is not None else "no report"
    summary = f"{orders} orders, charged"
    found = summary if f" {summary} " in f" {text}" else text
    return Check("mailbox", "the scheduled report counts all orders", found, found == summary)


def expected_mail(expected: list[Expected]) -> list[str]:
    return [message_id(it.order.id, kind) for it in expected for kind in it.outcome.mails]


def check_kill(requests: list[PostedRequest], order_id: str) -> Check:
    """The worker died between a charge and its answer: the charge was asked for twice and answered from memory."""
    mine = [request for request in requests if request.key == f"order-{order_id}-charge"]
    found = f"asked {len(mine)} times, {sum(request.replayed for request in mine)} answered from memory"
    return Check(
        "payment stand-in", "the kill hit a charge half-way", found, [it.replayed for it in mine] == [False, True]
    )


def total_cents(order: Order, prices: Mapping[str, int]) -> int:
    """What the order costs; 0 for one with a product we do not have."""
    return sum(line.quantity * prices.get(line.sku, 0) for line in order.lines)
