from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from examples.orders.api import Api
from examples.orders.domain import Order, OrderState, Shipment, Status, StatusChange, order_workflow_id
from examples.orders.temporal import ClosedOrderError, Orders, Started, UnavailableError, UnknownOrderError

BODY: dict[str, Any] = {"id": "7", "email": "ann@example.org", "lines": [{"sku": "cup", "quantity": 2}]}


class MemoryOrders:
    """Orders without a server: accepted, and closed by the first shipment or cancel."""

    def __init__(self) -> None:
        self.known: dict[str, OrderState] = {}
        self.down = False

    def _get(self, order_id: str) -> OrderState:
        if self.down:
            raise UnavailableError("the server is away")
        if order_id not in self.known:
            raise UnknownOrderError(order_id)
        return self.known[order_id]

    async def start(self, order: Order) -> Started:
        duplicate = order.id in self.known
        if not duplicate:
            change = StatusChange(Status.RECEIVED, "2026-01-01T00:00:00+00:00")
            self.known[order.id] = OrderState(order, Status.RECEIVED, None, None, None, None, [change])
        return Started(order_workflow_id(order.id), duplicate)

    async def status(self, order_id: str) -> OrderState:
        return self._get(order_id)

    def _close(self, order_id: str, status: Status) -> None:
        state = self._get(order_id)
        if state.status.final:
            raise ClosedOrderError(order_id)
        self.known[order_id] = OrderState(state.order, status, None, None, None, None, state.history)

    async def ship(self, order_id: str, shipment: Shipment) -> None:
        self._close(order_id, Status.SHIPPED)

    async def cancel(self, order_id: str, reason: str) -> None:
        self._close(order_id, Status.CANCELLED)

    async def check(self) -> None:
        if self.down:
            raise UnavailableError("the server is away")


@asynccontextmanager
async def client(orders: Orders) -> AsyncIterator[httpx.AsyncClient]:
    async def connect() -> Orders:
        return orders

    api = Api(connect, waiting_for="the test")
    app = api.app()
    async with api.lifespan(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http:
        await asyncio.wait_for(connected(http), 5)
        yield http


async def connected(http: httpx.AsyncClient) -> None:
    """Until the API has its connection, which takes a turn of the loop."""
    while "waiting for" in (await http.get("/healthz")).text:
        await asyncio.sleep(0)


async def test_an_order_posted_twice_is_one_order() -> None:
    async with client(MemoryOrders()) as http:
        first = await http.post("/orders", json=BODY)
        second = await http.post("/orders", json=BODY)

    assert (first.status_code, first.headers["location"]) == (201, "/orders/7")
    assert first.json() == {"id": "7", "workflow_id": "order-7", "status": "received", "duplicate": False}
    assert second.status_code == 200
    assert second.json()["duplicate"] is True
    assert second.json()["status"] == "received"
    assert [change["status"] for change in second.json()["history"]] == ["received"]


async def test_another_order_under_a_known_id_is_a_conflict() -> None:
    async with client(MemoryOrders()) as http:
        await http.post("/orders", json=BODY)
        other = await http.post("/orders", json=BODY | {"email": "bob@example.org"})

    assert other.status_code == 409
    assert other.json()["error"]["code"] == "order_differs"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({k: v for k, v in BODY.items() if k != "id"}, "id: Field required"),
        (BODY | {"id": "a b"}, "id: String should match pattern"),
        (BODY | {"email": "ann"}, "email: String should match pattern"),
        (BODY | {"lines": []}, "lines: List should have at least 1 item"),
        (BODY | {"lines": [{"sku": "cup", "quantity": 0}]}, "lines.0.quantity: Input should be greater than"),
        (BODY | {"lines": [{"sku": "cup", "quantity": "2"}]}, "lines.0.quantity: Input should be a valid integer"),
        (BODY | {"discount": 1}, "discount: Extra inputs are not permitted"),
        ([], "body: Input should be an object"),
    ],
)
async def test_a_bad_body_hears_why(body: Any, reason: str) -> None:
    async with client(MemoryOrders()) as http:
        answer = await http.post("/orders", json=body)

    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "invalid_body"
    assert any(it.startswith(reason) for it in answer.json()["error"]["reasons"]), answer.text


async def test_a_body_that_is_not_json_is_a_bad_body() -> None:
    async with client(MemoryOrders()) as http:
        answer = await http.post("/orders", content=b"{")

    assert answer.status_code == 422
    assert answer.json()["error"]["reasons"][0].startswith("body: Invalid JSON")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/orders/9", None),
        ("POST", "/orders/9/shipment", {"carrier": "Post", "tracking_number": "T-1"}),
        ("POST", "/orders/9/cancel", {"reason": "too late"}),
    ],
)
async def test_an_unknown_order_is_not_found(method: str, path: str, body: Any) -> None:
    async with client(MemoryOrders()) as http:
        answer = await http.request(method, path, json=body)

    assert answer.status_code == 404
    assert answer.json() == {"error": {"code": "unknown_order", "message": "there is no order '9'"}}


async def test_an_order_is_shipped_and_can_then_not_be_cancelled() -> None:
    async with client(MemoryOrders()) as http:
        await http.post("/orders", json=BODY)
        shipped = await http.post("/orders/7/shipment", json={"carrier": "Post", "tracking_number": "T-1"})
        cancelled = await http.post("/orders/7/cancel")
        state = await http.get("/orders/7")

    assert shipped.status_code == 202
    assert (cancelled.status_code, cancelled.json()["error"]["code"]) == (409, "order_closed")
    assert state.json()["status"] == "shipped"


async def test_a_shipment_needs_a_tracking_number() -> None:
    async with client(MemoryOrders()) as http:
        await http.post("/orders", json=BODY)
        answer = await http.post("/orders/7/shipment", json={"carrier": "Post"})

    assert answer.status_code == 422
    assert answer.json()["error"]["reasons"] == ["tracking_number: Field required"]


async def test_a_server_that_is_away_is_said_to_be() -> None:
    orders = MemoryOrders()
    async with client(orders) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        orders.down = True
        answer = await http.get("/healthz")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"] == {"code": "unavailable", "message": "the server is away"}


async def test_until_the_server_is_there_the_api_says_what_it_waits_for() -> None:
    async def never() -> Orders:
        await asyncio.Event().wait()
        raise AssertionError

    api = Api(never, waiting_for="the Temporal server at nowhere:1")
    app = api.app()
    async with api.lifespan(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http:
        answers = [await http.get("/healthz"), await http.get("/orders/7")]

    for answer in answers:
        assert answer.status_code == 503
        assert answer.json()["error"]["message"] == "waiting for the Temporal server at nowhere:1"


async def test_an_unknown_path_and_a_wrong_method_answer_in_json() -> None:
    async with client(MemoryOrders()) as http:
        assert (await http.get("/nothing")).json()["error"]["message"] == "Not Found"
        assert (await http.put("/orders")).status_code == 405
