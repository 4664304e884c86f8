"""What the order tests share: a migrated database, and the payment stand-in and mailbox served for real."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import uvicorn
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker
from starlette.applications import Starlette

sys.path.insert(0, str(Path(__file__).parents[2]))  # the examples are run from the checkout, not installed

from aiosmtpd.controller import Controller

from examples.orders import payments, stripe_standin
from examples.orders.activities import OrderActivities
from examples.orders.database import migrate, open_database, sessions
from examples.orders.inbox import Inbox
from examples.orders.mail import Mailer
from examples.orders.payments import Payments
from examples.orders.settings import Settings
from examples.orders.stock import CatalogItem, deliver

CATALOG = (CatalogItem("kettle", "Kettle", 3_900, 10), CatalogItem("cup", "Cup", 850, 5))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """Serve an app on a thread; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    ready = threading.Event()
    original = server.startup

    async def startup(sockets: list[socket.socket] | None = None) -> None:
        await original(sockets)
        ready.set()

    server.startup = startup  # type: ignore[method-assign]  # uvicorn has no other hook for "I listen"
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    assert ready.wait(10)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/orders.db")
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def database(engine: Engine) -> sessionmaker[Session]:
    deliver(sessions(engine), CATALOG)
    return sessions(engine)


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[str]:
    with serving(stripe_standin.create_app(tmp_path / "payments.db", slow_answer_seconds=0)) as url:
        yield url


@pytest.fixture
def serve() -> Callable[[Starlette], AbstractContextManager[str]]:
    return serving


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox.db")


@pytest.fixture
def smtp_port(inbox: Inbox) -> Iterator[int]:
    port = free_port()
    controller = Controller(inbox, "127.0.0.1", port)
    controller.start()
    yield port
    controller.stop()


@pytest.fixture
def settings(standin: str, smtp_port: int) -> Settings:
    return Settings(stripe_api_base=standin, smtp_port=smtp_port)


@pytest.fixture
def shop_payments(settings: Settings) -> Payments:
    return Payments(payments.connect(settings))


@pytest.fixture
def activities(database: sessionmaker[Session], shop_payments: Payments, settings: Settings) -> OrderActivities:
    return OrderActivities(database, shop_payments, Mailer(settings), settings.operations_email)
