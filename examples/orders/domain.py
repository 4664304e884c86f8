"""The words of the order system: what workflows, activities and the HTTP API pass to each other, as JSON.

Amounts are integer cents. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

CURRENCY = "eur"
MAX_QUANTITY = 1_000


class Status(StrEnum):
    RECEIVED = "received"
    VALIDATED = "validated"
    CHARGED = "charged"
    ALLOCATED = "allocated"
    CONFIRMED = "confirmed"
    AWAITING_SHIPMENT = "awaiting_shipment"
    REFUNDED = "refunded"
    RELEASED = "released"
    # The rest are final.
    SHIPPED = "shipped"
    CANCELLED = "cancelled"
    DECLINED = "declined"
    OUT_OF_STOCK = "out_of_stock"
    INVALID = "invalid"
    ESCALATED = "escalated"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        return self in FINAL


FINAL = frozenset(
    {
        Status.SHIPPED,
        Status.CANCELLED,
        Status.DECLINED,
        Status.OUT_OF_STOCK,
        Status.INVALID,
        Status.ESCALATED,
        Status.FAILED,
    }
)


class Mail(StrEnum):
    """One template each, and at most one message of each kind an order."""

    CONFIRMATION = "confirmation"
    SHIPPED = "shipped"
    RECEIPT = "receipt"
    FEEDBACK = "feedback"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    DECLINED = "declined"
    OUT_OF_STOCK = "out_of_stock"
    REJECTED = "rejected"
    DELAYED = "delayed"
    FAILED = "failed"
    ESCALATION = "escalation"
    DAILY_REPORT = "daily_report"


class Notice(StrEnum):
    """What the warehouse is told."""

    PICK = "pick"
    STOP = "stop"


class InvalidOrderError(Exception):
    """The order cannot be fulfilled as written; asking again will not help."""


class PaymentDeclinedError(Exception):
    """The customer's bank said no; asking again will not help."""


class OutOfStockError(Exception):
    """Too little stock now. Worth a few retries: stock also comes in."""


@dataclass(frozen=True)
class OrderLine:
    sku: str
    quantity: int


@dataclass(frozen=True)
class Order:
    id: str
    email: str
    lines: list[OrderLine]
    payment_method: str = "pm_card_visa"


@dataclass(frozen=True)
class Quote:
    total_cents: int
    currency: str = CURRENCY


@dataclass(frozen=True)
class Charge:
    order_id: str
    amount_cents: int
    currency: str
    payment_method: str
    email: str


@dataclass(frozen=True)
class Refund:
    order_id: str
    payment_id: str | None = None
    """None when the answer to the charge never arrived: look whether there is one."""


@dataclass(frozen=True)
class Shipment:
    carrier: str
    tracking_number: str


@dataclass(frozen=True)
class Message:
    order_id: str
    kind: Mail
    recipient: str
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Escalation:
    order_id: str
    reason: str


@dataclass(frozen=True)
class WarehouseNotice:
    order_id: str
    kind: Notice
    lines: list[OrderLine]


@dataclass(frozen=True)
class Closing:
    order_id: str
    status: Status
    tracking_number: str | None = None


@dataclass(frozen=True)
class StatusChange:
    status: Status
    at: str
    note: str = ""


@dataclass(frozen=True)
class OrderState:
    """The answer to the `status` query."""

    order: Order
    status: Status
    total_cents: int | None
    payment_id: str | None
    refund_id: str | None
    tracking_number: str | None
    history: list[StatusChange]


@dataclass(frozen=True)
class ReportPeriod:
    since: str
    until: str


def order_workflow_id(order_id: str) -> str:
    """Made from the order alone, so that an order posted twice is one workflow."""
    return f"order-{order_id}"


def notifications_workflow_id(order_id: str) -> str:
    return f"notifications-{order_id}"
