"""What workflows and activities of all stories share. Imported by workers, which are processes of their own."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.common import RetryPolicy

QUEUE = "crash"
BY_HAND_QUEUE = "crash-by-hand"
"""Its activities are polled and completed over plain gRPC, so that every acknowledged completion is known."""

TASK_TIMEOUT = timedelta(seconds=2)
# A task whose answer died with the server, or with its worker, must not be waited for long.
QUICK_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=100), backoff_coefficient=1)
ACTIVITY: dict[str, Any] = {"start_to_close_timeout": timedelta(seconds=2), "retry_policy": QUICK_RETRY}
CHILD: dict[str, Any] = {"task_timeout": TASK_TIMEOUT}


@dataclass
class Proof:
    """What an activity answers: its value, and which of its executions this was."""

    value: int
    proof: str


PROOF: ContextVar[str] = ContextVar("PROOF")
"""Of the execution that is under way; set by whoever writes it into the worker's ledger."""


def proved(value: int) -> Proof:
    return Proof(value, PROOF.get())
