"""Tables of the order system. What must happen once an order has a unique key that says so."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import CheckConstraint, DateTime, Dialect, ForeignKey, String, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC, also from databases that drop the zone (SQLite)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def utcnow() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: UtcDateTime, str: String(200)}  # noqa: RUF012  SQLAlchemy reads it as a class attribute


class Product(Base):
    __tablename__ = "products"
    __table_args__ = (CheckConstraint("quantity >= 0", name="quantity_not_negative"),)

    sku: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    price_cents: Mapped[int]
    quantity: Mapped[int]


class OrderRow(Base):
    __tablename__ = "orders"

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    status: Mapped[str]
    stock: Mapped[str] = mapped_column(default="none")
    """none, allocated or released; it only ever moves forward, which makes allocating and releasing idempotent."""
    total_cents: Mapped[int | None]
    currency: Mapped[str]
    tracking_number: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, onupdate=utcnow)
    lines: Mapped[list[LineRow]] = relationship(order_by="LineRow.sku")


class LineRow(Base):
    __tablename__ = "order_lines"

    order_id: Mapped[str] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    sku: Mapped[str] = mapped_column(ForeignKey("products.sku"), primary_key=True)
    quantity: Mapped[int]
    unit_price_cents: Mapped[int]


class StockMovement(Base):
    __tablename__ = "stock_movements"
    __table_args__ = (UniqueConstraint("order_id", "sku", "reason"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(ForeignKey("products.sku"))
    order_id: Mapped[str | None] = mapped_column(ForeignKey("orders.id"))
    """None for goods that came in."""
    delta: Mapped[int]
    reason: Mapped[str]
    """delivery, allocation or release."""
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Payment(Base):
    __tablename__ = "payments"
    __table_args__ = (UniqueConstraint("order_id", "kind"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    """Stripe's ID of the payment intent or refund."""
    order_id: Mapped[str] = mapped_column(ForeignKey("orders.id"))
    kind: Mapped[str]
    """charge or refund."""
    amount_cents: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Notification(Base):
    __tablename__ = "notifications"

    message_id: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[str]
    """Not a foreign key: the daily report is about no single order."""
    kind: Mapped[str]
    recipient: Mapped[str]
    sent_at: Mapped[datetime] = mapped_column(default=utcnow)


class WarehouseNoticeRow(Base):
    __tablename__ = "warehouse_notices"

    order_id: Mapped[str] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[str] = mapped_column(String(20_000))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
