from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from examples.orders.demo_checks import SHIPPED, Expected, check_database, check_mail, check_payments, same
from examples.orders.domain import Charge, Mail, Order, OrderLine, Status
from examples.orders.inbox import Inbox
from examples.orders.mail import Mailer
from examples.orders.models import OrderRow
from examples.orders.payments import Payments
from examples.orders.settings import Settings
from examples.orders.stock import CatalogItem

ROOT = Path(__file__).parents[2]
ORDER = Order("1", "ann@example.org", [OrderLine("cup", 1)])
CATALOG = (CatalogItem("kettle", "Kettle", 3_900, 10), CatalogItem("cup", "Cup", 850, 5))
EXPECTED = [Expected(ORDER, SHIPPED, 850)]


@pytest.mark.timeout(120)
def test_the_demo_ends_with_all_books_in_agreement(tmp_path: Path) -> None:
    played = subprocess.run(
        [sys.executable, "-m", "examples.orders.demo", "--directory", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert played.returncode == 0, played.stdout + played.stderr
    assert "all books agree" in played.stdout


def test_one_too_many_is_as_wrong_as_one_too_few() -> None:
    assert same("here", "things", ["a", "b"], ["b", "a"]).ok
    assert same("here", "things", ["a"], ["a", "a"]).found == "unexpected a x1"
    assert same("here", "things", ["a", "a"], ["a"]).found == "missing a x1"
    assert not same("here", "things", ["a"], ["a", "a"]).ok


def test_a_second_charge_for_an_order_is_found(shop_payments: Payments) -> None:
    charge = Charge("1", 850, "eur", "pm_card_visa", "ann@example.org")
    shop_payments.charge(charge)
    assert all(check.ok for check in check_payments(shop_payments, [], EXPECTED))

    shop_payments._client.v1.payment_intents.create(
        params={
            "amount": 850,
            "currency": "eur",
            "payment_method": "pm_card_visa",
            "confirm": True,
            "metadata": {"order_id": "1"},
        }
    )

    wrong = [check for check in check_payments(shop_payments, [], EXPECTED) if not check.ok]
    assert [check.found for check in wrong] == ["unexpected ('1', 850) x1"]


def test_an_empty_database_disagrees_with_a_shipped_order(database: sessionmaker[Session]) -> None:
    with database.begin() as session:
        session.add(OrderRow(id="1", email="a@b.example", status=Status.FAILED, currency="eur"))
    with database() as session:
        wrong = {check.what for check in check_database(session, EXPECTED, CATALOG) if not check.ok}

    assert wrong == {
        "status of each order",
        "each charge and refund once",
        "each stock movement once",
        "stock left",
        "stock by the ledger",
        "each warehouse notice once",
        "each mail noted once",
    }


def test_a_copy_of_a_mail_is_told_and_forgiven_but_a_missing_one_is_not(settings: Settings, inbox: Inbox) -> None:
    mailer = Mailer(settings)
    context = {"lines": [], "carrier": "Post", "tracking_number": "T-1"}
    for kind in (*SHIPPED.mails, Mail.SHIPPED):
        mailer.send(mailer.render("1", kind, "ann@example.org", context))

    [check] = check_mail(inbox, EXPECTED)
    [missing] = check_mail(inbox, [*EXPECTED, replace(EXPECTED[0], order=replace(ORDER, id="2"))])

    assert check.ok
    assert "1 copy dropped" in check.found
    assert not missing.ok
