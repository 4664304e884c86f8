"""The API's enums, with their members as plain attributes.

Protobuf's own wrappers look each name up in the descriptor, at over a microsecond; the engine names a dozen for every
event. Source: the `temporalio` package's temporal/api/enums/v1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from temporalio.api.enums.v1 import *  # noqa: F403 - all of them, for the type checker alone
else:
    import temporalio.api.enums.v1 as _enums

    class _Plain:
        def __init__(self, wrapper: Any) -> None:
            self.__dict__.update(wrapper.items())
            self.DESCRIPTOR = wrapper.DESCRIPTOR
            self.Name = wrapper.Name
            self.Value = wrapper.Value
            self.items = wrapper.items
            self.values = wrapper.values

    globals().update({name: _Plain(getattr(_enums, name)) for name in _enums.__all__})


def name_of(enum: Any, number: int) -> str:
    """A value as the API spells it; a number that the installed descriptors lack as itself."""
    known = enum.DESCRIPTOR.values_by_number.get(number)
    return str(number) if known is None else str(known.name)
