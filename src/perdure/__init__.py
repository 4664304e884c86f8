"""Perdure: a durable-execution server that speaks Temporal's public gRPC API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Server", "__version__"]

if TYPE_CHECKING:
    from perdure.server import Server


def __getattr__(name: str) -> Any:
    # `import perdure` stays cheap for tools that want the version only; the server's imports cost a quarter of a
    # second.
    if name == "Server":
        from perdure.server import Server

        return Server
    raise AttributeError(f"module 'perdure' has no attribute {name!r}")
