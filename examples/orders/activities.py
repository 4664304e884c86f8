"""Activities: each changes one system, and may be repeated without changing it twice.

They are plain functions run on threads. The guard against repetition is named at each: a unique key, a state that only
moves forward, or an idempotency key. Domain errors cross to the workflow by their class name.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker
from temporalio import activity

from examples.orders import stock
from examples.orders.domain import (
    CURRENCY,
    MAX_QUANTITY,
    Charge,
    Closing,
    Escalation,
    InvalidOrderError,
    Mail,
    Message,
    Order,
    Quote,
    Refund,
    ReportPeriod,
    Status,
    WarehouseNotice,
)
from examples.orders.mail import Mailer, message_id
from examples.orders.models import LineRow, Notification, OrderRow, Payment, Product, WarehouseNoticeRow
from examples.orders.payments import Payments

LOW_STOCK = 10
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class OrderActivities:
    def __init__(
        self, sessions: sessionmaker[Session], payments: Payments, mailer: Mailer, operations_email: str
    ) -> None:
        self._sessions = sessions
        self._payments = payments
        self._mailer = mailer
        self._operations_email = operations_email

    @activity.defn
    def validate_order(self, order: Order) -> Quote:
        """Record the order and price it. Raises InvalidOrderError with every reason found.

        Repeating it finds the recorded order and its price, even if the catalogue changed meanwhile.
        """
        with self._sessions.begin() as session:
            if session.get(OrderRow, order.id) is None:
                session.add(OrderRow(id=order.id, email=order.email, status=Status.RECEIVED, currency=CURRENCY))
        with self._sessions.begin() as session:
            row = session.get_one(OrderRow, order.id, with_for_update=True)
            if row.total_cents is not None:
                return Quote(row.total_cents, row.currency)
            skus = [line.sku for line in order.lines]
            products = {it.sku: it for it in session.scalars(select(Product).where(Product.sku.in_(skus)))}
            if problems := _problems(order, products):
                raise InvalidOrderError("; ".join(problems))
            for line in order.lines:
                price = products[line.sku].price_cents
                session.add(LineRow(order_id=order.id, sku=line.sku, quantity=line.quantity, unit_price_cents=price))
            row.total_cents = sum(line.quantity * products[line.sku].price_cents for line in order.lines)
            row.status = Status.VALIDATED
            return Quote(row.total_cents, row.currency)

    @activity.defn
    def charge_payment(self, charge: Charge) -> str:
        """Charge the customer; the ID of the payment. Once an order by its idempotency key."""
        payment_id = self._payments.charge(charge)
        self._record_payment(charge.order_id, "charge", payment_id, charge.amount_cents)
        return payment_id

    @activity.defn
    def refund_payment(self, refund: Refund) -> str | None:
        """Give the customer's money back; the ID of the refund, None when there was none to give.

        Once an order by its idempotency key.
        """
        with self._sessions() as session:
            ordered_at = session.get_one(OrderRow, refund.order_id).created_at
        made = self._payments.refund(refund, charged_since=int(ordered_at.timestamp()) - 60)
        if made is None:
            return None
        refund_id, amount = made
        self._record_payment(refund.order_id, "refund", refund_id, amount)
        return refund_id

    def _record_payment(self, order_id: str, kind: str, payment_id: str, amount_cents: int) -> None:
        with self._sessions.begin() as session:
            if session.get(Payment, payment_id) is None:
                session.add(Payment(id=payment_id, order_id=order_id, kind=kind, amount_cents=amount_cents))

    @activity.defn
    def allocate_stock(self, order: Order) -> None:
        """Set the goods aside, all or none. Once an order by its `stock` state. Raises OutOfStockError."""
        stock.allocate(self._sessions, order.id, order.lines)

    @activity.defn
    def release_stock(self, order_id: str) -> bool:
        """Put the goods back; whether there were any. Once an order by its `stock` state."""
        return stock.release(self._sessions, order_id)

    @activity.defn
    def send_mail(self, message: Message) -> str:
        """Mail the customer; the Message-ID.

        At least once, as mail is: a kill between the mail server's answer and our commit sends it again, with the same
        Message-ID, by which mailboxes drop the copy.
        """
        identifier = message_id(message.order_id, message.kind)
        with self._sessions() as session:
            if session.get(Notification, identifier) is not None:
                return identifier
            context = message.details | _order_context(session, message.order_id)
        self._mail(message.order_id, message.kind, message.recipient, context)
        return identifier

    @activity.defn
    def notify_warehouse(self, notice: WarehouseNotice) -> None:
        """Tell the warehouse to pick an order, or to stop. Once an order and kind by the primary key."""
        content = json.dumps([{"sku": line.sku, "quantity": line.quantity} for line in notice.lines])
        with self._sessions.begin() as session:
            if session.get(WarehouseNoticeRow, (notice.order_id, notice.kind)) is None:
                session.add(WarehouseNoticeRow(order_id=notice.order_id, kind=notice.kind, content=content))

    @activity.defn
    def escalate(self, escalation: Escalation) -> None:
        """Ask a person to look at the order."""
        context = {"reason": escalation.reason}
        with self._sessions() as session:
            context |= _order_context(session, escalation.order_id)
        self._mail(escalation.order_id, Mail.ESCALATION, self._operations_email, context)

    @activity.defn
    def close_order(self, closing: Closing) -> None:
        """Record how the order ended."""
        with self._sessions.begin() as session:
            session.execute(
                update(OrderRow)
                .where(OrderRow.id == closing.order_id)
                .values(status=closing.status, tracking_number=closing.tracking_number)
            )

    @activity.defn
    def send_daily_report(self, period: ReportPeriod) -> str:
        """Mail the operations staff what happened between two times; the Message-ID."""
        since, until = datetime.fromisoformat(period.since), datetime.fromisoformat(period.until)
        with self._sessions() as session:
            statuses = session.execute(
                select(OrderRow.status, func.count())
                .where(OrderRow.created_at >= since, OrderRow.created_at < until)
                .group_by(OrderRow.status)
                .order_by(OrderRow.status)
            ).all()
            sums: dict[str, int] = {}
            for payment_kind, total in session.execute(
                select(Payment.kind, func.sum(Payment.amount_cents))
                .where(Payment.created_at >= since, Payment.created_at < until)
                .group_by(Payment.kind)
            ):
                sums[payment_kind] = int(total)
            low = session.scalars(select(Product.sku).where(Product.quantity < LOW_STOCK).order_by(Product.sku)).all()
        context = {
            "since": period.since,
            "until": period.until,
            "orders": sum(count for _, count in statuses),
            "statuses": [tuple(row) for row in statuses],
            "charged_cents": sums.get("charge", 0),
            "refunded_cents": sums.get("refund", 0),
            "low_stock": low,
            "lines": [],
        }
        report_id = f"report-{until:%Y-%m-%d}"
        self._mail(report_id, Mail.DAILY_REPORT, self._operations_email, context)
        return message_id(report_id, Mail.DAILY_REPORT)

    def _mail(self, order_id: str, kind: Mail, recipient: str, context: dict[str, Any]) -> None:
        """Send, then note that it was sent."""
        self._mailer.send(self._mailer.render(order_id, kind, recipient, context))
        identifier = message_id(order_id, kind)
        with self._sessions.begin() as session:
            if session.get(Notification, identifier) is None:
                session.add(Notification(message_id=identifier, order_id=order_id, kind=kind, recipient=recipient))


def _problems(order: Order, products: dict[str, Product]) -> list[str]:
    problems = []
    if not EMAIL.fullmatch(order.email):
        problems.append(f"{order.email!r} is no mail address")
    if not order.lines:
        problems.append("an order has at least one line")
    skus = [line.sku for line in order.lines]
    problems += [f"product {sku!r} is listed twice" for sku in sorted({sku for sku in skus if skus.count(sku) > 1})]
    for line in order.lines:
        if line.sku not in products:
            problems.append(f"there is no product {line.sku!r}")
        if not 1 <= line.quantity <= MAX_QUANTITY:
            problems.append(f"the quantity of {line.sku!r} is {line.quantity}, not 1 to {MAX_QUANTITY}")
    return problems


def _order_context(session: Session, order_id: str) -> dict[str, Any]:
    """What templates may say about an order; without lines when it was never valid."""
    row = session.get(OrderRow, order_id)
    if row is None:
        return {"lines": [], "total_cents": 0, "currency": CURRENCY}
    lines = session.execute(
        select(LineRow.quantity, LineRow.unit_price_cents, Product.name)
        .join(Product, Product.sku == LineRow.sku)
        .where(LineRow.order_id == order_id)
        .order_by(LineRow.sku)
    ).all()
    return {"lines": lines, "total_cents": row.total_cents or 0, "currency": row.currency}
