"""What a rule is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WINDOW = "usage_date >= :start and usage_date < :end"


@dataclass(frozen=True, slots=True)
class Rule:
    """`query` selects violations, the tenant's slug first; it may use :start, :end, :now, :refresh, :recent, :settle,
    :source, :versions.

    `asset` is the asset the rule is about; `severe_share` is the share of tenants above which it is an error. A rule
    that `looks_back` tells of days that the run is not about, and says so in its description. What an `acceptable` rule
    finds, by tenant and `usage_date`, an operator may accept. A violation that holds all of `warns_of` is never more
    than a warning.
    """

    name: str
    asset: str
    description: str
    columns: tuple[str, ...]
    query: str
    severe_share: float = 0.0
    looks_back: bool = False
    acceptable: bool = False
    warns_of: frozenset[str] = frozenset()

    def is_mild(self, row: Sequence[Any]) -> bool:
        """Whether this violation alone is a warning, however many tenants have it."""
        return bool(self.warns_of) and self.warns_of <= set(row)
