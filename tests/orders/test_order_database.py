from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, select

from examples.orders.database import migrate, open_database, sessions
from examples.orders.models import Base, OrderRow


def test_migrations_make_the_schema_that_the_models_describe(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    def start(_: int) -> None:
        engine = open_database(f"sqlite:///{tmp_path}/fresh.db")
        migrate(engine)
        engine.dispose()

    with ThreadPoolExecutor(1) as threads:
        list(threads.map(start, range(3)))


def test_times_come_back_in_utc(engine: Engine) -> None:
    with sessions(engine).begin() as session:
        session.add(OrderRow(id="1", email="a@b.example", status="received", currency="eur"))
    with sessions(engine)() as session:
        created = session.scalars(select(OrderRow.created_at)).one()
    offset = created.utcoffset()
    assert offset is not None
    assert not offset
