"""From the text of a filter to what was written, before any name has a meaning.

The grammar is in `filter.lark`. It is compiled when the first filter arrives: the launch of a server does without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from perdure.errors import InvalidArgument
from perdure.visibility.attributes import fitting_number
from perdure.visibility.query import Scalar

if TYPE_CHECKING:
    from lark import Lark, Token


@dataclass(frozen=True, slots=True)
class Name:
    text: str


@dataclass(frozen=True, slots=True)
class Literal:
    """`text` is the literal in the spelling that error messages repeat."""

    value: Scalar | None
    text: str


@dataclass(frozen=True, slots=True)
class Function:
    text: str


Operand = Name | Literal | Function


@dataclass(frozen=True, slots=True)
class Junction:
    """`word` is `and` or `or`."""

    word: str
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    inner: Expression


@dataclass(frozen=True, slots=True)
class Predicate:
    """`left op right...`; `op`, in lower case, is a comparison, `in`, `between`, `is`, a `not` form, or empty."""

    left: Operand
    op: str
    right: tuple[Operand, ...] = ()

    @property
    def text(self) -> str:
        right = [operand.text for operand in self.right]
        if self.op.endswith("in"):
            return f"{self.left.text} {self.op} ({', '.join(right)})"
        return " ".join([self.left.text, self.op, " and ".join(right)])


Expression = Junction | Negation | Predicate


@dataclass(frozen=True, slots=True)
class Written:
    condition: Expression | None = None
    group_by: tuple[Operand, ...] = ()
    clauses: tuple[str, ...] = ()
    """Names of further clauses, such as `ORDER BY`, none of which the language has."""


def read(text: str) -> Written:
    """Raises InvalidArgument at the first word that fits nowhere."""
    if _has_too_many_words(text):
        raise InvalidArgument(f"invalid query: the filter has more than {MAX_WORDS} words")
    from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedToken

    try:
        return _grammar().parse(text)  # type: ignore[return-value]  # the transformer makes it a Written
    except UnexpectedToken as error:
        if error.token.type == "$END":
            raise _malformed(text, len(text), "", _left_open(text)) from None
        raise _malformed(text, error.token.end_pos or len(text), str(error.token)) from None
    except UnexpectedCharacters as error:
        position: Any = error.pos_in_stream  # declared as None in lark, always set by its lexers
        raise _malformed(text, position + 1, "", _unclosed_quote(text, position)) from None
    except UnexpectedEOF:
        raise _malformed(text, len(text), "", _left_open(text)) from None


MAX_WORDS = 25_000
"""Names, literals, operators and signs in a filter: what 10,000 values in a list take. Reading more would hold others
up."""

_WORDS = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|[^\s'"`(),<>=!+-]+|[^\s]""")


def _has_too_many_words(text: str) -> bool:
    if len(text) <= MAX_WORDS:
        return False
    return sum(1 for _ in _WORDS.finditer(text)) > MAX_WORDS


_CLAUSE_FIRST = re.compile(r"\s*(group|order|limit)\b", re.IGNORECASE)


def _malformed(text: str, end: int, token: str, fix: str = "") -> InvalidArgument:
    # The reference counts in the statement it wraps around the filter, one past the word that does not fit.
    wrapper = "select * from table1 " if _CLAUSE_FIRST.match(text) else "select * from table1 where "
    near = f" near '{_bare(token)}'" if re.match(r"[\w'\"`]", token) else ""
    position = len(wrapper) + end + 1
    return InvalidArgument(f"invalid query: malformed SQL query: syntax error at position {position}{near}{fix}")


_QUOTED_OR_PARENTHESIS = re.compile(r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`[^`]*`|[()]""", re.DOTALL)


def _left_open(text: str) -> str:
    """What is wrong with a filter of which more was expected."""
    opened: list[int] = []
    for found in _QUOTED_OR_PARENTHESIS.finditer(text):
        if found[0] == "(":
            opened.append(found.start() + 1)
        elif found[0] == ")" and opened:
            opened.pop()
    if opened:
        return f" (the parenthesis at character {opened[-1]} of the filter is not closed)"
    return " (the filter ends where a condition or value should follow)"


def _unclosed_quote(text: str, position: int) -> str:
    if position < len(text) and text[position] in "'\"`":
        return f" (the quote at character {position + 1} of the filter is not closed)"
    return ""


def _bare(token: str) -> str:
    return token[1:-1] if token[0] in "'\"`" else token


@cache
def _grammar() -> Lark:
    from lark import Lark, Transformer, v_args

    @v_args(inline=True)
    class Reader(Transformer[Any, Any]):
        def start(self, *parts: Any) -> Written:
            condition = next((part for part in parts if isinstance(part, Junction | Negation | Predicate)), None)
            grouping = next((part for part in parts if isinstance(part, tuple)), ())
            return Written(condition, grouping, tuple(part for part in parts if isinstance(part, str)))

        def disjunction(self, *parts: Expression) -> Expression:
            return Junction("or", parts) if len(parts) > 1 else parts[0]

        def conjunction(self, *parts: Expression) -> Expression:
            return Junction("and", parts) if len(parts) > 1 else parts[0]

        def negation(self, _not: Token, inner: Expression) -> Negation:
            return Negation(inner)

        def comparison(self, left: Operand, *rest: Any) -> Predicate:
            *words, right = rest
            return Predicate(left, " ".join(words).lower(), (right,))

        def membership(self, left: Operand, *rest: Any) -> Predicate:
            return _with_not("in", left, rest)

        def between(self, left: Operand, *rest: Any) -> Predicate:
            return _with_not("between", left, rest)

        def is_null(self, left: Operand, *rest: Any) -> Predicate:
            *words, what = rest
            return Predicate(left, " ".join(["is", *words]).lower(), (Literal(None, str(what).lower()),))

        def bare(self, left: Operand) -> Predicate:
            return Predicate(left, "")

        def name(self, token: Token) -> Name:
            return Name(token[1:-1].replace("``", "`") if token.startswith("`") else str(token))

        def string(self, token: Token) -> Literal:
            value = _unquoted(token)
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            return Literal(value, f"'{escaped}'")

        def number(self, token: Token) -> Literal:
            text = str(token)
            return Literal(as_number(text), text)

        def boolean(self, token: Token) -> Literal:
            return Literal(token.lower() == "true", token.lower())

        def null(self, _token: Token) -> Literal:
            return Literal(None, "null")

        def function(self, token: Token, *arguments: Operand) -> Function:
            return Function(f"{token}({', '.join(argument.text for argument in arguments)})")

        def group_by(self, *operands: Operand) -> tuple[Operand, ...]:
            return operands

        def order_by(self, *_operands: Any) -> str:
            return "ORDER BY"

        def limit(self, _number: Token) -> str:
            return "LIMIT"

    grammar = files(__package__).joinpath("filter.lark").read_text()
    return Lark(grammar, parser="lalr", transformer=Reader())


MAX_DIGITS = 100
"""Of numbers that are read as integers: far more than 64 bits, and far fewer than Python's own limit."""


def as_number(text: str) -> int | float:
    """An integer where it fits into 64 bits."""
    return fitting_number(int(text) if len(text) <= MAX_DIGITS and text.lstrip("+-").isdigit() else float(text))


def _with_not(op: str, left: Operand, rest: tuple[Any, ...]) -> Predicate:
    if isinstance(rest[0], str):  # the word NOT
        return Predicate(left, f"not {op}", rest[1:])
    return Predicate(left, op, rest)


_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}
_ESCAPED = re.compile(r"\\(.)|(['\"])\2", re.DOTALL)


def _unquoted(token: str) -> str:
    """MySQL's string literals: a doubled quote or a backslash escape stands for the character."""
    quote = token[0]

    def meant(found: re.Match[str]) -> str:
        if found[1] is not None:
            return _ESCAPES.get(found[1], found[1])
        return quote if found[2] == quote else found[0]

    return _ESCAPED.sub(meant, token[1:-1])
