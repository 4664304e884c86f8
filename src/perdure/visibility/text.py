"""Words of a Text attribute: what `=` compares.

Source: the reference server matches a Text when any word of the literal is a word of the value, whatever the case.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+")


def tokens(text: str) -> tuple[str, ...]:
    """The distinct words of `text`, folded to one case, in order of appearance."""
    return tuple(dict.fromkeys(_WORD.findall(text.casefold())))
