"""Removing what deleted runs left behind, a few rows at a time."""

from __future__ import annotations

import apsw

from perdure.storage.sqlite.sql import statements

SQL = statements("writes.sql")
PARTS = ("sweep_history", "sweep_items", "sweep_request_ids")


def sweep(connection: apsw.Connection, budget_rows: int) -> int:
    """Delete up to `budget_rows` rows of forgotten runs in one transaction; a tombstone is a row too and goes last."""
    start = connection.total_changes()

    def left() -> int:
        return budget_rows - (connection.total_changes() - start)

    with connection:
        while left() > 0:
            run_no = connection.execute(SQL["next_forgotten"]).get
            if run_no is None:
                break
            for part in PARTS:
                connection.execute(SQL[part], (run_no, left()))
            if left() > 0:
                connection.execute(SQL["sweep_tombstone"], (run_no,))
    return budget_rows - left()
