"""A list filter as a small syntax tree; each store turns it into SQL.

Source of the grammar: the reference server's list filter (docs/visibility.md tells users).
"""

from __future__ import annotations

from dataclasses import dataclass

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Compare:
    """`attribute op value`. `op` is one of = != < <= > >= and STARTS_WITH. Datetimes and durations are microseconds."""

    attribute: str
    op: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    attribute: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Between:
    attribute: str
    low: Scalar
    high: Scalar


@dataclass(frozen=True, slots=True)
class IsNull:
    attribute: str


@dataclass(frozen=True, slots=True)
class Not:
    condition: Condition


@dataclass(frozen=True, slots=True)
class And:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    conditions: tuple[Condition, ...]


Condition = Compare | In | Between | IsNull | Not | And | Or


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed filter. `types` gives the IndexedValueType number of each attribute that it names.

    Rows of `division` alone are seen (empty: users' workflows), unless TemporalNamespaceDivision is among the `types`.
    """

    condition: Condition | None
    types: dict[str, int]
    group_by: str = ""
    division: str = ""

    def narrowed(self, condition: Condition, types: dict[str, int]) -> Query:
        """The same, for rows that meet `condition` besides."""
        both = condition if self.condition is None else And((condition, self.condition))
        return Query(both, {**self.types, **types}, self.group_by, self.division)
