"""The order system from nothing: a server, the shop, a dozen orders down every path, and two kills in the middle.

Each part is a process of its own. Orders go in over HTTP; meanwhile the worker and the server die by SIGKILL and are
started again. In the end the books are checked, and the exit code tells whether all of them agree.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from examples.orders import payments as stripe_payments
from examples.orders import schedule, temporal
from examples.orders.database import migrate, open_database, sessions
from examples.orders.demo_board import Board
from examples.orders.demo_checks import (
    CANCELLED,
    DECLINED,
    INVALID,
    OUT_OF_STOCK,
    SHIPPED,
    Check,
    Expected,
    Outcome,
    check_database,
    check_kill,
    check_mail,
    check_payments,
    check_report,
    check_workflows,
    total_cents,
)
from examples.orders.demo_processes import ProcessDied, Shop
from examples.orders.domain import Order, OrderLine, Status, notifications_workflow_id
from examples.orders.inbox import Inbox
from examples.orders.payments import Payments, order_of
from examples.orders.settings import Settings
from examples.orders.stock import SAMPLE_CATALOG, deliver
from examples.orders.stripe_standin import SLOW_CARD, Books

PATIENCE_SECONDS = 50.0
POLL_SECONDS = 0.2
PRICES = {item.sku: item.price_cents for item in SAMPLE_CATALOG}


class DemoFailed(Exception):
    """The demo could not be played to its end."""


class Customer:
    """Drives orders over the HTTP API and shows what becomes of them."""

    def __init__(self, shop: Shop, board: Board, http: httpx.AsyncClient) -> None:
        self._shop = shop
        self._board = board
        self._http = http
        self.expected: list[Expected] = []

    def order(self, order_id: str, story: str, outcome: Outcome, lines: dict[str, int], card: str = "") -> Order:
        """Write an order, without posting it."""
        written = [OrderLine(sku, quantity) for sku, quantity in lines.items()]
        order = Order(order_id, f"{order_id}@customers.example", written, card or "pm_card_visa")
        self.expected.append(Expected(order, outcome, total_cents(order, PRICES)))
        self._board.add(order_id, story)
        return order

    async def post(self, order: Order) -> httpx.Response:
        body = {
            "id": order.id,
            "email": order.email,
            "lines": [{"sku": line.sku, "quantity": line.quantity} for line in order.lines],
            "payment_method": order.payment_method,
        }
        return await self._request("POST", "/orders", body)

    async def ship(self, order: Order) -> None:
        body = {"carrier": "Parcel Post", "tracking_number": f"PP-{order.id}"}
        await self._request("POST", f"/orders/{order.id}/shipment", body)

    async def cancel(self, order: Order, reason: str) -> None:
        await self._request("POST", f"/orders/{order.id}/cancel", {"reason": reason})

    async def reaches(self, order: Order, status: Status) -> dict[str, Any]:
        """Wait until the order has been at `status`. Raises DemoFailed if it ends otherwise."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up:
            answer = await self._http.get(f"/orders/{order.id}")
            if answer.status_code == 200:
                state: dict[str, Any] = answer.json()
                self._board.update(order.id, state["history"])
                if any(change["status"] == status for change in state["history"]):
                    return state
                if Status(state["status"]).final:
                    raise DemoFailed(f"order {order.id} ended as {state['status']}, not {status}: {state['history']}")
            elif answer.status_code != 503:
                raise DemoFailed(f"GET /orders/{order.id} answered {answer.status_code}: {answer.text}")
            await asyncio.sleep(POLL_SECONDS)
        raise DemoFailed(f"order {order.id} did not reach {status} in {PATIENCE_SECONDS:.0f} s")

    async def _request(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        """Ask until the answer is not 503: all requests of this API may be repeated.

        After a 503 an order may turn out to be closed by that very request.
        """
        give_up = time.monotonic() + PATIENCE_SECONDS
        unsure = False
        while True:
            self._shop.api.check()
            answer = await self._http.request(method, path, json=body)
            if answer.is_success or (unsure and answer.status_code == 409):
                return answer
            unsure = True
            if answer.status_code != 503 or time.monotonic() > give_up:
                raise DemoFailed(f"{method} {path} answered {answer.status_code}: {answer.text}")
            await asyncio.sleep(POLL_SECONDS)

    async def shipped(self, order: Order) -> None:
        await self.post(order)
        await self.seen_off(order)

    async def seen_off(self, order: Order) -> None:
        """The rest of the way of an order that was posted."""
        await self.reaches(order, Status.AWAITING_SHIPMENT)
        await self.ship(order)
        await self.reaches(order, Status.SHIPPED)

    async def cancelled(self, order: Order) -> None:
        await self.post(order)
        await self.reaches(order, Status.AWAITING_SHIPMENT)
        await self.cancel(order, "found it in the attic")
        await self.reaches(order, Status.CANCELLED)

    async def ends(self, order: Order, status: Status) -> None:
        await self.post(order)
        await self.reaches(order, status)

    async def posted_twice(self, order: Order) -> None:
        answers = sorted(await asyncio.gather(self.post(order), self.post(order)), key=lambda it: -it.status_code)
        await self.seen_off(order)
        late = await self.post(order)
        seen = [(it.status_code, it.json()["duplicate"]) for it in (*answers, late)]
        if seen != [(201, False), (200, True), (200, True)] or late.json()["status"] != Status.SHIPPED:
            raise DemoFailed(f"posting order {order.id} three times answered {seen}, then {late.text}")
        self._board.say(f"{order.id}: posted three times, twice at once, started once")


async def until(what: str, condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not await asyncio.to_thread(condition):
        if time.monotonic() > give_up:
            raise DemoFailed(f"{what} did not happen in {PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(0.05)


async def open_shop(shop: Shop, board: Board, settings: Settings, http: httpx.AsyncClient) -> None:
    """From nothing to a shop that takes orders."""
    board.say(f"starting server, payments, mail, worker and API; logs are in {shop.directory}")
    await asyncio.gather(shop.server.start(), shop.payments.start(), shop.mail.start())
    engine = open_database(settings.database_url)
    migrate(engine)
    deliver(sessions(engine), SAMPLE_CATALOG)
    engine.dispose()
    await asyncio.gather(shop.worker.start(), shop.api.start())
    await asyncio.gather(*(shop.listening(it) for it in (shop.server, shop.payments, shop.mail, shop.api)))
    give_up = time.monotonic() + PATIENCE_SECONDS
    while (answer := await http.get("/healthz")).status_code != 200:
        shop.check()
        if time.monotonic() > give_up:
            raise DemoFailed(f"the API is not well: {answer.text}")
        await asyncio.sleep(0.1)
    board.say("the shop is open")


async def play(shop: Shop, board: Board, customer: Customer, charges: Payments) -> None:
    """All orders, and the two kills."""

    def charged(order: Order) -> bool:
        return any(order_of(it) == order.id for it in charges.charges())

    plain = [customer.order(f"plain-{n}", "ordered and shipped", SHIPPED, {"cup": n, "teapot": 1}) for n in (1, 2)]
    twice = customer.order("twice", "posted three times", SHIPPED, {"teapot": 2})
    declined = customer.order("declined", "the bank says no", DECLINED, {"cup": 1}, "pm_card_chargeDeclined")
    invalid = customer.order("invalid", "no such product", INVALID, {"unicorn": 1, "cup": 1})
    regretted = customer.order("regretted", "cancelled after payment", CANCELLED, {"kettle": 1, "cup": 2})
    greedy = customer.order("greedy", "more than there is", OUT_OF_STOCK, {"cup": 6, "samovar": 4})
    sleeper = customer.order("sleeper", "waits through both kills", SHIPPED, {"samovar": 1})
    half_charged = customer.order("half-charged", "worker killed mid-charge", SHIPPED, {"kettle": 2}, SLOW_CARD)
    no_worker = customer.order("no-worker", "posted without a worker", SHIPPED, {"cup": 4})
    mid_flight = customer.order("mid-flight", "server killed mid-charge", SHIPPED, {"teapot": 3}, SLOW_CARD)
    no_server = customer.order("no-server", "posted without a server", SHIPPED, {"kettle": 1, "teapot": 1})

    async with asyncio.TaskGroup() as orders:
        orders.create_task(customer.ends(greedy, Status.OUT_OF_STOCK))
        async with asyncio.TaskGroup() as quick:
            for order in plain:
                quick.create_task(customer.shipped(order))
            quick.create_task(customer.posted_twice(twice))
            quick.create_task(customer.ends(declined, Status.DECLINED))
            quick.create_task(customer.ends(invalid, Status.INVALID))
            quick.create_task(customer.cancelled(regretted))
            await customer.post(sleeper)
            await customer.reaches(sleeper, Status.AWAITING_SHIPMENT)

        await customer.post(half_charged)
        await until("the charge of half-charged", lambda: charged(half_charged))
        board.say(f"killed the worker ({await shop.worker.kill()}) between a charge and its answer")
        await customer.post(no_worker)
        await shop.worker.start()
        board.say(f"started another worker ({shop.worker.pid})")
        orders.create_task(customer.seen_off(half_charged))
        await customer.reaches(no_worker, Status.AWAITING_SHIPMENT)

        await customer.post(mid_flight)
        await until("the charge of mid-flight", lambda: charged(mid_flight))
        board.say(f"killed the server ({await shop.server.kill()}) while a charge was under way")
        orders.create_task(customer.shipped(no_server))
        await shop.server.start()
        await shop.listening(shop.server)
        board.say(f"started the server again ({shop.server.pid}) on the same file")
        for order in (sleeper, no_worker, mid_flight):
            orders.create_task(customer.seen_off(order))
    shop.check()


async def judge(shop: Shop, board: Board, settings: Settings, expected: list[Expected]) -> list[Check]:
    board.say("all orders have ended; waiting for the last notifications")
    client = await temporal.connect(settings, report=board.say)
    async with asyncio.timeout(PATIENCE_SECONDS):
        for item in expected:
            await client.get_workflow_handle(notifications_workflow_id(item.order.id)).result()
        report = await schedule.report_now(client)
    board.say("triggered the schedule of the daily report once, ahead of its time")
    checks = await check_workflows(client, expected)
    engine = open_database(settings.database_url)
    with sessions(engine)() as session:
        checks += check_database(session, expected, SAMPLE_CATALOG, [report])
    engine.dispose()
    requests = Books(shop.payments_file).requests()
    checks += check_payments(Payments(stripe_payments.connect(settings)), requests, expected)
    checks.append(check_kill(requests, "half-charged"))
    checks += check_mail(Inbox(shop.inbox_file), expected, [(report, settings.operations_email)])
    checks.append(check_report(Inbox(shop.inbox_file), report, len(expected)))
    return checks


def show(console: Console, checks: list[Check], expected: list[Expected], seconds: float) -> bool:
    """The summary; whether all is as it must be."""
    good = all(check.ok for check in checks)
    table = Table(title="The books", title_justify="left")
    for heading in ("where", "what", "found", ""):
        table.add_column(heading, no_wrap=heading in ("where", ""))
    for check in checks:
        mark = "[green]ok[/]" if check.ok else "[bold red]WRONG[/]"
        table.add_row(check.where, check.what, check.found, mark)
    console.print(table)
    verdict = "all books agree" if good else "the books do not agree"
    console.print(f"{len(expected)} orders, 2 kills, {seconds:.0f} s: [bold]{verdict}[/]")
    return good


async def demo(shop: Shop, console: Console) -> bool:
    settings = Settings.from_environment(shop.environment)
    shop.clear()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop_main_task(asyncio.current_task()))
    board = Board(console)
    try:
        async with httpx.AsyncClient(base_url=shop.api_url, timeout=30, trust_env=False) as http:
            customer = Customer(shop, board, http)
            with board:
                await open_shop(shop, board, settings, http)
                await play(shop, board, customer, Payments(stripe_payments.connect(settings)))
                checks = await judge(shop, board, settings, customer.expected)
            return show(console, checks, customer.expected, board.seconds)
    finally:
        await shop.stop()


def stop_main_task(task: asyncio.Task[Any] | None) -> Callable[[], None]:
    def stop() -> None:
        if task is not None:
            task.cancel()

    return stop


def reasons(error: BaseException) -> list[str]:
    """What went wrong, without the groups that tasks wrap it in."""
    if isinstance(error, BaseExceptionGroup):
        return [reason for inner in error.exceptions for reason in reasons(inner)]
    return [f"{type(error).__name__}: {error}"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Play a dozen orders, kill things, and check the books.")
    parser.add_argument("--server", default="perdure", help="program that has `server start-dev` (default: perdure)")
    parser.add_argument("--directory", type=Path, default=Path(".demo"), help="for logs and data (default: .demo)")
    arguments = parser.parse_args()
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"  # all traffic of the demo is local

    console = Console()
    try:
        shop = Shop(arguments.directory.resolve(), arguments.server)
    except FileNotFoundError as error:
        parser.error(str(error))
    try:
        return 0 if asyncio.run(demo(shop, console)) else 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("stopped")
        return 130
    except (DemoFailed, ProcessDied, ExceptionGroup, TimeoutError, ConnectionError) as error:
        for reason in reasons(error):
            console.print(reason, style="red", markup=False)
        console.print(f"the demo failed; the logs are in {shop.directory}")
        return 1
    finally:
        shop.end_now()


if __name__ == "__main__":
    sys.exit(main())
