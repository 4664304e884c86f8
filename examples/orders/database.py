"""The orders database: any SQLAlchemy URL, brought to the newest schema by Alembic when a process starts."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

MIGRATIONS = Path(__file__).with_name("migrations")
BUSY_TIMEOUT_SECONDS = 8


def open_database(url: str, *, pool_size: int = 10) -> Engine:
    options: dict[str, Any] = {"pool_size": pool_size, "pool_pre_ping": True}
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, **options)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, **options)
    _take_write_lock_first(engine)
    return engine


def _take_write_lock_first(engine: Engine) -> None:
    """Begin SQLite transactions with the write lock.

    A transaction that reads first and writes later fails at once when another wrote in between, whatever the timeout;
    one that begins IMMEDIATE waits its turn. It also makes DDL transactional, which Alembic relies on.
    """

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin or commit by itself
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma foreign_keys = on")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("begin immediate")


def migrate(engine: Engine) -> None:
    """Bring the schema up to date. Safe when several processes start at once: the second waits, then finds it done."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("select pg_advisory_xact_lock(7233)"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def sessions(engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(engine, expire_on_commit=False)
