from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from examples.orders.domain import OrderLine, OutOfStockError
from examples.orders.models import OrderRow, Product, StockMovement
from examples.orders.stock import OrderClosedToStockError, allocate, release

Database = sessionmaker[Session]


def place(database: Database, *order_ids: str) -> None:
    with database.begin() as session:
        for order_id in order_ids:
            session.add(OrderRow(id=order_id, email="a@b.example", status="charged", currency="eur"))


def in_stock(database: Database, sku: str) -> int:
    """The quantity, after a check that the ledger says the same."""
    with database() as session:
        quantity = session.get_one(Product, sku).quantity
        assert quantity == session.scalar(select(func.sum(StockMovement.delta)).where(StockMovement.sku == sku))
        return quantity


def test_an_order_takes_its_stock_once_however_often_it_asks(database: Database) -> None:
    place(database, "1")

    assert allocate(database, "1", [OrderLine("kettle", 3)]) is True
    assert allocate(database, "1", [OrderLine("kettle", 3)]) is False

    assert in_stock(database, "kettle") == 7


def test_an_order_that_lacks_one_product_takes_none(database: Database) -> None:
    place(database, "1")

    with pytest.raises(OutOfStockError, match="kettle"):
        allocate(database, "1", [OrderLine("cup", 2), OrderLine("kettle", 11)])

    assert (in_stock(database, "cup"), in_stock(database, "kettle")) == (5, 10)


def test_an_order_refused_for_lack_of_stock_may_ask_again(database: Database) -> None:
    place(database, "1", "2")
    allocate(database, "1", [OrderLine("cup", 5)])
    with pytest.raises(OutOfStockError):
        allocate(database, "2", [OrderLine("cup", 1)])

    release(database, "1")

    assert allocate(database, "2", [OrderLine("cup", 1)]) is True
    assert in_stock(database, "cup") == 4


def test_stock_is_given_back_once(database: Database) -> None:
    place(database, "1")
    allocate(database, "1", [OrderLine("kettle", 3), OrderLine("cup", 1)])

    assert release(database, "1") is True
    assert release(database, "1") is False

    assert (in_stock(database, "cup"), in_stock(database, "kettle")) == (5, 10)


def test_an_attempt_to_allocate_that_comes_after_the_release_takes_nothing(database: Database) -> None:
    place(database, "1")
    assert release(database, "1") is False

    with pytest.raises(OrderClosedToStockError):
        allocate(database, "1", [OrderLine("kettle", 1)])

    assert in_stock(database, "kettle") == 10


def test_orders_at_the_same_time_never_take_more_than_there_is(database: Database) -> None:
    orders = [str(number) for number in range(16)]
    place(database, *orders)

    def attempt(order_id: str) -> bool:
        try:
            return allocate(database, order_id, [OrderLine("cup", 1), OrderLine("kettle", 1)])
        except OutOfStockError:
            return False

    with ThreadPoolExecutor(8) as threads:
        served = list(threads.map(attempt, orders))

    assert sum(served) == 5
    assert (in_stock(database, "cup"), in_stock(database, "kettle")) == (0, 5)


def test_attempts_of_one_order_at_the_same_time_take_its_stock_once(database: Database) -> None:
    place(database, "1")

    with ThreadPoolExecutor(8) as threads:
        took = list(threads.map(lambda _: allocate(database, "1", [OrderLine("kettle", 2)]), range(8)))

    assert sum(took) == 1
    assert in_stock(database, "kettle") == 8
