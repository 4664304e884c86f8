"""Stock: taken and given back in one transaction each, once an order, and never below zero."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, Update, select, update
from sqlalchemy.orm import Session, sessionmaker

from examples.orders.database import migrate, open_database, sessions
from examples.orders.domain import OrderLine, OutOfStockError
from examples.orders.models import OrderRow, Product, StockMovement
from examples.orders.settings import Settings


class OrderClosedToStockError(Exception):
    """The order's stock was already given back; a late attempt must not take it again."""


@dataclass(frozen=True, slots=True)
class CatalogItem:
    sku: str
    name: str
    price_cents: int
    quantity: int


SAMPLE_CATALOG = (
    CatalogItem("kettle", "Kettle", 3_900, 100),
    CatalogItem("teapot", "Teapot", 2_450, 100),
    CatalogItem("cup", "Cup", 850, 500),
    CatalogItem("samovar", "Samovar", 24_900, 3),
)


def changed(session: Session, statement: Update) -> int:
    """How many rows the statement changed."""
    return cast("CursorResult[Any]", session.execute(statement)).rowcount


def deliver(sessions: sessionmaker[Session], items: tuple[CatalogItem, ...]) -> None:
    """Add products the catalogue does not have yet, with their first delivery; known ones are left alone."""
    with sessions.begin() as session:
        for item in items:
            if session.get(Product, item.sku) is None:
                session.add(Product(sku=item.sku, name=item.name, price_cents=item.price_cents, quantity=item.quantity))
                session.flush()
                session.add(StockMovement(sku=item.sku, delta=item.quantity, reason="delivery"))


def allocate(sessions: sessionmaker[Session], order_id: str, lines: list[OrderLine]) -> bool:
    """Take the stock of all lines, or of none. False when this order had already taken it.

    The order's own row goes first: it is the lock two attempts meet at, and tells the second that the work is done.
    Then each product is decremented under the guard `quantity >= n`, which holds at any isolation level; products are
    taken in one order everywhere, so two orders cannot deadlock.
    """
    with sessions.begin() as session:
        moved = changed(
            session, update(OrderRow).where(OrderRow.id == order_id, OrderRow.stock == "none").values(stock="allocated")
        )
        if moved == 0:
            match session.scalar(select(OrderRow.stock).where(OrderRow.id == order_id)):
                case "allocated":
                    return False
                case None:
                    raise LookupError(f"order {order_id!r} was never recorded")
                case state:
                    raise OrderClosedToStockError(f"the stock of order {order_id!r} is {state}")
        for line in sorted(lines, key=lambda line: line.sku):
            taken = changed(
                session,
                update(Product)
                .where(Product.sku == line.sku, Product.quantity >= line.quantity)
                .values(quantity=Product.quantity - line.quantity),
            )
            if taken == 0:
                raise OutOfStockError(f"fewer than {line.quantity} of {line.sku!r} in stock")
            session.add(StockMovement(sku=line.sku, order_id=order_id, delta=-line.quantity, reason="allocation"))
    return True


def release(sessions: sessionmaker[Session], order_id: str) -> bool:
    """Give back what the order took. False when there is nothing (any more) to give back.

    Also an order that took nothing is marked released, so an attempt to allocate that comes late finds the door shut.
    """
    with sessions.begin() as session:
        moved = changed(
            session,
            update(OrderRow).where(OrderRow.id == order_id, OrderRow.stock != "released").values(stock="released"),
        )
        if moved == 0:
            return False
        taken = session.scalars(
            select(StockMovement)
            .where(StockMovement.order_id == order_id, StockMovement.reason == "allocation")
            .order_by(StockMovement.sku)
        ).all()
        for movement in taken:
            session.execute(
                update(Product).where(Product.sku == movement.sku).values(quantity=Product.quantity - movement.delta)
            )
            session.add(
                StockMovement(sku=movement.sku, order_id=order_id, delta=-movement.delta, reason="release"),
            )
        return bool(taken)


def main() -> None:
    """Create the database if need be and deliver the sample catalogue."""
    engine = open_database(Settings.from_environment().database_url)
    migrate(engine)
    deliver(sessions(engine), SAMPLE_CATALOG)
    sys.stdout.write(f"{engine.url!r} holds the catalogue: {', '.join(item.sku for item in SAMPLE_CATALOG)}\n")


if __name__ == "__main__":
    main()
