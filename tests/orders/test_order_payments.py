from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import stripe
from starlette.applications import Starlette

from examples.orders import payments, stripe_standin
from examples.orders.domain import Charge, PaymentDeclinedError, Refund
from examples.orders.payments import Payments, order_of
from examples.orders.settings import Settings

Serve = Callable[[Starlette], AbstractContextManager[str]]

CHARGE = Charge("1", 4_750, "eur", "pm_card_visa", "a@b.example")


def test_a_repeated_charge_is_the_same_payment(shop_payments: Payments) -> None:
    first = shop_payments.charge(CHARGE)

    assert shop_payments.charge(CHARGE) == first
    assert [(it.id, it.amount, order_of(it)) for it in shop_payments.charges()] == [(first, 4_750, "1")]


def test_the_same_key_with_another_amount_is_an_error(shop_payments: Payments) -> None:
    shop_payments.charge(CHARGE)

    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        shop_payments.charge(replace(CHARGE, amount_cents=1))


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ("pm_card_chargeDeclined", "was declined"),
        ("pm_card_visa_chargeDeclined", "was declined"),
        ("pm_card_chargeDeclinedInsufficientFunds", "insufficient funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired"),
    ],
)
def test_a_declined_card_is_not_charged_and_stays_declined(shop_payments: Payments, card: str, says: str) -> None:
    for _ in range(2):
        with pytest.raises(PaymentDeclinedError, match=says):
            shop_payments.charge(replace(CHARGE, payment_method=card))

    assert list(shop_payments.charges()) == []


def test_a_decline_carries_stripes_codes(standin: str) -> None:
    client = payments.connect(Settings(stripe_api_base=standin))

    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_intents.create(
            params={"amount": 500, "currency": "eur", "payment_method": "pm_card_chargeDeclined", "confirm": True}
        )

    assert declined.value.code == "card_declined"
    assert declined.value.http_status == 402
    assert declined.value.error is not None
    assert declined.value.error.decline_code == "generic_decline"


def test_a_payment_may_be_confirmed_later(standin: str) -> None:
    client = payments.connect(Settings(stripe_api_base=standin))
    intent = client.v1.payment_intents.create(params={"amount": 500, "currency": "eur"})
    assert intent.status == "requires_payment_method"

    intent = client.v1.payment_intents.confirm(intent.id, params={"payment_method": "pm_card_visa"})

    assert intent.status == "succeeded"


def test_a_repeated_refund_pays_back_once(shop_payments: Payments) -> None:
    payment_id = shop_payments.charge(CHARGE)

    first = shop_payments.refund(Refund("1", payment_id), charged_since=0)

    assert first is not None
    assert first[1] == 4_750
    assert shop_payments.refund(Refund("1", payment_id), charged_since=0) == first
    assert [order_of(it) for it in shop_payments.refunds()] == ["1"]


def test_a_refund_finds_the_charge_whose_answer_was_lost(shop_payments: Payments) -> None:
    for number in range(12):
        shop_payments.charge(replace(CHARGE, order_id=f"other-{number}"))
    shop_payments.charge(CHARGE)

    made = shop_payments.refund(Refund("1"), charged_since=0)

    assert made is not None
    assert made[1] == 4_750


def test_there_is_nothing_to_refund_without_a_charge(shop_payments: Payments) -> None:
    assert shop_payments.refund(Refund("1"), charged_since=0) is None


def test_the_stand_in_remembers_after_a_restart(tmp_path: Path, serve: Serve) -> None:
    file = tmp_path / "kept.db"
    with serve(stripe_standin.create_app(file)) as url:
        first = Payments(payments.connect(Settings(stripe_api_base=url))).charge(CHARGE)
    with serve(stripe_standin.create_app(file)) as url:
        again = Payments(payments.connect(Settings(stripe_api_base=url)))
        assert again.charge(CHARGE) == first
        assert len(list(again.charges())) == 1


def test_lists_are_paged(standin: str) -> None:
    client = payments.connect(Settings(stripe_api_base=standin))
    for amount in range(100, 107):
        client.v1.payment_intents.create(params={"amount": amount, "currency": "eur"})

    page = client.v1.payment_intents.list(params={"limit": 3})

    assert page.has_more
    assert [it.amount for it in page.auto_paging_iter()] == [106, 105, 104, 103, 102, 101, 100]


def test_a_request_without_a_key_is_refused(standin: str) -> None:
    with pytest.raises(stripe.AuthenticationError):
        stripe.StripeClient("nonsense", base_addresses={"api": standin}).v1.refunds.list()
