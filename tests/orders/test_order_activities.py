from __future__ import annotations

import smtplib
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from temporalio.testing import ActivityEnvironment

from examples.orders.activities import OrderActivities
from examples.orders.domain import (
    Charge,
    Closing,
    Escalation,
    InvalidOrderError,
    Mail,
    Message,
    Notice,
    Order,
    OrderLine,
    Quote,
    Refund,
    ReportPeriod,
    Status,
    WarehouseNotice,
)
from examples.orders.inbox import Inbox
from examples.orders.models import Notification, OrderRow, Payment, Product, WarehouseNoticeRow, utcnow

ORDER = Order("1", "ann@example.org", [OrderLine("kettle", 1), OrderLine("cup", 2)])
TOTAL = 3_900 + 2 * 850

Database = sessionmaker[Session]


def charge(activities: OrderActivities, order: Order = ORDER) -> str:
    quote = activities.validate_order(order)
    return activities.charge_payment(
        Charge(order.id, quote.total_cents, quote.currency, order.payment_method, order.email)
    )


def test_an_order_keeps_the_price_it_was_given(activities: OrderActivities, database: Database) -> None:
    first = activities.validate_order(ORDER)
    with database.begin() as session:
        session.get_one(Product, "kettle").price_cents = 1

    assert first == activities.validate_order(ORDER) == Quote(TOTAL, "eur")


def test_an_invalid_order_hears_every_reason(activities: OrderActivities) -> None:
    order = Order("1", "nobody", [OrderLine("unicorn", 1), OrderLine("cup", 0), OrderLine("cup", 1)])

    with pytest.raises(InvalidOrderError) as refused:
        activities.validate_order(order)

    assert str(refused.value).split("; ") == [
        "'nobody' is no mail address",
        "product 'cup' is listed twice",
        "there is no product 'unicorn'",
        "the quantity of 'cup' is 0, not 1 to 1000",
    ]


def test_a_repeated_charge_and_refund_are_recorded_once(activities: OrderActivities, database: Database) -> None:
    payment_id = charge(activities)
    assert charge(activities) == payment_id
    refund_id = activities.refund_payment(Refund("1", payment_id))
    assert activities.refund_payment(Refund("1", payment_id)) == refund_id

    with database() as session:
        recorded = session.execute(select(Payment.kind, Payment.amount_cents).order_by(Payment.kind)).all()
    assert [tuple(row) for row in recorded] == [("charge", TOTAL), ("refund", TOTAL)]


def test_a_refund_without_a_charge_records_nothing(activities: OrderActivities, database: Database) -> None:
    activities.validate_order(ORDER)

    assert activities.refund_payment(Refund("1")) is None
    with database() as session:
        assert session.scalars(select(Payment)).all() == []


def test_a_mail_is_sent_once_in_plain_text_and_html(activities: OrderActivities, inbox: Inbox) -> None:
    activities.validate_order(ORDER)
    message = Message("1", Mail.CONFIRMATION, "ann@example.org")

    identifier = activities.send_mail(message)
    assert activities.send_mail(message) == identifier

    [received] = inbox.messages()
    assert received.message_id == identifier == "<1.confirmation@shop.example>"
    assert received.recipients == "ann@example.org"
    assert received.message["Subject"] == "We have your order 1"
    plain, html = received.message.get_body(("plain",)), received.message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert "2 x Cup" in plain.get_content()
    assert "56.00" in plain.get_content()
    assert "2 &times; Cup" in html.get_content()


def test_a_mail_the_server_refused_is_not_noted_as_sent(
    activities: OrderActivities, database: Database, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> str:
        return "451 try again later"

    with monkeypatch.context() as patched:
        patched.setattr(inbox, "handle_DATA", refuse)
        with pytest.raises(smtplib.SMTPDataError):
            activities.send_mail(Message("1", Mail.REJECTED, "ann@example.org", {"reason": "no such product"}))

    with database() as session:
        assert session.scalars(select(Notification)).all() == []


@pytest.mark.parametrize("kind", [kind for kind in Mail if kind is not Mail.DAILY_REPORT])
def test_every_kind_of_mail_can_be_written(activities: OrderActivities, inbox: Inbox, kind: Mail) -> None:
    activities.validate_order(ORDER)
    details = {"reason": "<b>because</b>", "carrier": "Post", "tracking_number": "T-1"}

    activities.send_mail(Message("1", kind, "ann@example.org", details))

    [received] = inbox.messages()
    html = received.message.get_body(("html",))
    assert html is not None
    assert "1" in received.message["Subject"]
    assert "<b>because" not in html.get_content()


def test_the_warehouse_hears_each_notice_once(activities: OrderActivities, database: Database) -> None:
    activities.validate_order(ORDER)
    for kind in (Notice.PICK, Notice.PICK, Notice.STOP):
        activities.notify_warehouse(WarehouseNotice("1", kind, ORDER.lines))

    with database() as session:
        kinds = session.scalars(select(WarehouseNoticeRow.kind).order_by(WarehouseNoticeRow.kind)).all()
    assert kinds == ["pick", "stop"]


def test_an_escalation_goes_to_operations(activities: OrderActivities, inbox: Inbox) -> None:
    activities.validate_order(ORDER)

    activities.escalate(Escalation("1", "nobody ships it"))

    [received] = inbox.messages()
    assert received.recipients == "operations@shop.example"
    body = received.message.get_body(("plain",))
    assert body is not None
    assert "nobody ships it" in body.get_content()


def test_an_order_is_closed_with_its_tracking_number(activities: OrderActivities, database: Database) -> None:
    activities.validate_order(ORDER)

    activities.close_order(Closing("1", Status.SHIPPED, "T-1"))

    with database() as session:
        row = session.get_one(OrderRow, "1")
    assert (row.status, row.tracking_number) == ("shipped", "T-1")


def test_the_daily_report_counts_its_period_only(activities: OrderActivities, inbox: Inbox) -> None:
    charge(activities)
    now = utcnow()

    activities.send_daily_report(ReportPeriod((now - timedelta(days=1)).isoformat(), now.isoformat()))

    [received] = inbox.messages()
    body = received.message.get_body(("plain",))
    assert body is not None
    assert "1 orders, charged 56.00, refunded 0.00." in body.get_content()
    assert "Low stock: cup." in body.get_content()


def test_activities_run_inside_a_worker_thread(activities: OrderActivities) -> None:
    assert ActivityEnvironment().run(activities.validate_order, ORDER) == Quote(TOTAL, "eur")
