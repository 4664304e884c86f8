"""A task that nobody wants any more."""

from __future__ import annotations


class Stale(Exception):
    """The task was handed out, timed out, moved to another queue, or its run closed: matching drops it silently and its
    poller waits on. Raised before anything is written."""
