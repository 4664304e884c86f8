"""The store in one SQLite file, or in memory."""

from perdure.storage.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
