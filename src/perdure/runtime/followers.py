"""Who only wants to know what became of a batch: nothing is decided again when it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from perdure.errors import PerdureError, Unavailable

if TYPE_CHECKING:
    from perdure.runtime.executions import Key


class Callback:
    """A follower that only wants to know. Without `refused`, it wants to know when there is nothing to wait for."""

    __slots__ = ("_callback", "_refused")
    key: Key | None = None

    def __init__(self, callback: Callable[[], object], refused: Callable[[PerdureError], object] | None = None) -> None:
        self._callback = callback
        self._refused = refused

    def answer(self) -> None:
        self._callback()

    def undone(self) -> None:
        """Nothing of it is anybody else's affair."""

    def refused(self) -> None:
        self.give_up(Unavailable("the store refused the write, please retry"))

    def give_up(self, error: PerdureError) -> None:
        if self._refused is None:
            self._callback()
        else:
            self._refused(error)


class FirstRows:
    """Whether what a server must write before it serves is durable."""

    key: Key | None = None
    landed = False

    def answer(self) -> None:
        self.landed = True

    def undone(self) -> None:
        """Told below."""

    def refused(self) -> None:
        self.landed = False

    def give_up(self, error: PerdureError) -> None:
        self.landed = False
