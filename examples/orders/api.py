"""The shop's HTTP API. It translates, and keeps nothing: an order's state is asked of its workflow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from examples.orders import temporal
from examples.orders.domain import MAX_QUANTITY, Order, OrderLine, OrderState, Shipment
from examples.orders.settings import Settings
from examples.orders.temporal import ClosedOrderError, Orders, TemporalOrders, UnavailableError, UnknownOrderError

log = logging.getLogger("uvicorn.error")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


B = TypeVar("B", bound=Body)


class LineBody(Body):
    sku: Name
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]


class OrderBody(Body):
    id: Name
    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=200)]
    lines: Annotated[list[LineBody], Field(min_length=1, max_length=100)]
    payment_method: Text = "pm_card_visa"

    def order(self) -> Order:
        lines = [OrderLine(line.sku, line.quantity) for line in self.lines]
        return Order(self.id, self.email, lines, self.payment_method)


class ShipmentBody(Body):
    carrier: Text
    tracking_number: Text


class CancelBody(Body):
    reason: Annotated[str, Field(max_length=200)] = ""


class ApiError(Exception):
    def __init__(self, status: int, code: str, message: str, reasons: list[str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.reasons = status, code, message, reasons

    def response(self) -> JSONResponse:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.reasons is not None:
            error["reasons"] = self.reasons
        headers = {"Retry-After": "1"} if self.status == 503 else None
        return JSONResponse({"error": error}, self.status, headers)


async def parse(model: type[B], request: Request, *, optional: bool = False) -> B:
    """The body, checked. An `optional` one may be missing."""
    content = await request.body()
    try:
        return model.model_validate_json(b"{}" if optional and not content else content)
    except ValidationError as error:
        reasons = [
            f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        raise ApiError(422, "invalid_body", "the request body is not valid", reasons) from error


def state_json(state: OrderState) -> dict[str, Any]:
    content = asdict(state)
    order = content.pop("order")
    return {"id": order["id"], "email": order["email"], "lines": order["lines"]} | content


class Api:
    """Routes over `connect`'s orders. Until the server is there, they answer 503 and say what they wait for."""

    def __init__(self, connect: Callable[[], Awaitable[Orders]], waiting_for: str) -> None:
        self._connect = connect
        self._waiting_for = waiting_for
        self._connected: Orders | None = None
        self._connection_lost: str | None = None

    @property
    def _orders(self) -> Orders:
        if self._connected is None:
            raise UnavailableError(self._connection_lost or f"waiting for {self._waiting_for}")
        return self._connected

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async def connect() -> None:
            try:
                self._connected = await self._connect()
                log.info("connected to %s", self._waiting_for)
            except ConnectionError as error:
                self._connection_lost = str(error)
                log.error("%s", error)

        async with asyncio.TaskGroup() as tasks:
            connecting = tasks.create_task(connect())
            yield
            connecting.cancel()

    async def post_order(self, request: Request) -> JSONResponse:
        order = (await parse(OrderBody, request)).order()
        started = await self._orders.start(order)
        links = {"id": order.id, "workflow_id": started.workflow_id, "duplicate": started.duplicate}
        location = {"Location": f"/orders/{order.id}"}
        if not started.duplicate:
            return JSONResponse({"status": "received"} | links, 201, location)
        state = await self._orders.status(order.id)
        if state.order != order:
            raise ApiError(409, "order_differs", f"order {order.id!r} exists, with other content")
        return JSONResponse(state_json(state) | links, 200, location)

    async def get_order(self, request: Request) -> JSONResponse:
        return JSONResponse(state_json(await self._orders.status(request.path_params["id"])))

    async def post_shipment(self, request: Request) -> JSONResponse:
        body = await parse(ShipmentBody, request)
        order_id = request.path_params["id"]
        await self._orders.ship(order_id, Shipment(body.carrier, body.tracking_number))
        return JSONResponse({"id": order_id, "accepted": "shipment"}, 202)

    async def post_cancel(self, request: Request) -> JSONResponse:
        body = await parse(CancelBody, request, optional=True)
        order_id = request.path_params["id"]
        await self._orders.cancel(order_id, body.reason)
        return JSONResponse({"id": order_id, "accepted": "cancel"}, 202)

    async def healthz(self, _request: Request) -> JSONResponse:
        await self._orders.check()
        return JSONResponse({"status": "ok"})

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/orders", self.post_order, methods=["POST"]),
                Route("/orders/{id}", self.get_order, methods=["GET"]),
                Route("/orders/{id}/shipment", self.post_shipment, methods=["POST"]),
                Route("/orders/{id}/cancel", self.post_cancel, methods=["POST"]),
                Route("/healthz", self.healthz, methods=["GET"]),
            ],
            lifespan=self.lifespan,
            exception_handlers={
                ApiError: on_error,
                UnknownOrderError: on_error,
                ClosedOrderError: on_error,
                UnavailableError: on_error,
                HTTPException: on_error,
            },
        )


async def on_error(_request: Request, error: Exception) -> JSONResponse:
    match error:
        case ApiError():
            return error.response()
        case UnknownOrderError():
            return ApiError(404, "unknown_order", f"there is no order {str(error)!r}").response()
        case ClosedOrderError():
            return ApiError(409, "order_closed", f"order {str(error)!r} has already ended").response()
        case UnavailableError():
            return ApiError(503, "unavailable", str(error)).response()
        case HTTPException():
            return ApiError(error.status_code, "http_error", error.detail).response()
    raise error


def main() -> None:
    settings = Settings.from_environment()

    async def connect() -> Orders:
        client = await temporal.connect(settings, report=log.warning)
        return TemporalOrders(client, settings.task_queue)

    api = Api(connect, waiting_for=f"the Temporal server at {settings.temporal_address}")
    uvicorn.run(api.app(), host=settings.api_host, port=settings.api_port)


if __name__ == "__main__":
    main()
