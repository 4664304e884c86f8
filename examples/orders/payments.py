"""Payments through the official Stripe client, at Stripe itself or at the stand-in."""

from __future__ import annotations

from collections.abc import Iterator

import stripe

from examples.orders.domain import Charge, PaymentDeclinedError, Refund
from examples.orders.settings import Settings

REQUEST_TIMEOUT_SECONDS = 8.0
"""Less than an activity attempt may take, so no request is still under way when the next attempt begins."""


def connect(settings: Settings) -> stripe.StripeClient:
    return stripe.StripeClient(
        settings.stripe_api_key,
        base_addresses={"api": settings.stripe_api_base} if settings.stripe_api_base else {},
        http_client=stripe.RequestsClient(timeout=REQUEST_TIMEOUT_SECONDS),
        max_network_retries=0,  # the activity's retry policy is the one that retries
    )


class Payments:
    """Charges and refunds, each at most once an order: the idempotency key is made from the order ID.

    Stripe answers a repeated key with its first answer, so an attempt whose answer was lost can simply be repeated.
    """

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client

    def charge(self, charge: Charge) -> str:
        """The ID of the payment. Raises PaymentDeclinedError with the bank's reason."""
        try:
            intent = self._client.v1.payment_intents.create(
                params={
                    "amount": charge.amount_cents,
                    "currency": charge.currency,
                    "payment_method": charge.payment_method,
                    "confirm": True,
                    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                    "receipt_email": charge.email,
                    "metadata": {"order_id": charge.order_id},
                },
                options={"idempotency_key": f"order-{charge.order_id}-charge"},
            )
        except stripe.CardError as error:
            raise PaymentDeclinedError(error.user_message or str(error)) from error
        if intent.status != "succeeded":
            raise PaymentDeclinedError(f"the payment is {intent.status}")
        return intent.id

    def refund(self, refund: Refund, charged_since: int) -> tuple[str, int] | None:
        """Refund the order's charge in full: (refund ID, amount). None when nothing was charged.

        `charged_since` (Unix seconds) bounds the search for a charge whose answer was lost.
        """
        payment_id = refund.payment_id or self._find(refund.order_id, charged_since)
        if payment_id is None:
            return None
        made = self._client.v1.refunds.create(
            params={"payment_intent": payment_id, "metadata": {"order_id": refund.order_id}},
            options={"idempotency_key": f"order-{refund.order_id}-refund"},
        )
        return made.id, made.amount

    def charges(self, since: int = 0) -> Iterator[stripe.PaymentIntent]:
        """Payments that went through since `since` (Unix seconds), newest first."""
        page = self._client.v1.payment_intents.list(params={"created": {"gte": since}, "limit": 100})
        for intent in page.auto_paging_iter():
            if intent.status == "succeeded":
                yield intent

    def refunds(self, since: int = 0) -> Iterator[stripe.Refund]:
        page = self._client.v1.refunds.list(params={"created": {"gte": since}, "limit": 100})
        yield from page.auto_paging_iter()

    def _find(self, order_id: str, since: int) -> str | None:
        # Listed rather than searched: Stripe's search may lag behind by a minute, its lists do not.
        return next((it.id for it in self.charges(since) if order_of(it) == order_id), None)


def order_of(item: stripe.PaymentIntent | stripe.Refund) -> str | None:
    """The order that a payment or refund is for, as we noted it there."""
    metadata: dict[str, str] = item.to_dict().get("metadata") or {}
    return metadata.get("order_id")
