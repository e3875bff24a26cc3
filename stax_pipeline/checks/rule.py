"""What a rule is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WINDOW = "usage_date >= :start and usage_date < :end"
CHANGED = (
    "(tenant_id, usage_date) in "
    "(select x.tenant, x.day from unnest(cast(:tenants as uuid[]), cast(:days as date[])) as x (tenant, day))"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """`query` selects violations, the tenant's slug first; it may use :start, :end, :now, :refresh, :recent, :settle,
    :source, :versions.

    `asset` is the asset the rule is about; `severe_share` is the share of tenants above which it is an error. A rule
    that `looks_back` tells of days that the run is not about, and says so in its description. What an `acceptable` rule
    finds, by tenant and `usage_date`, an operator may accept. A violation that holds all of `warns_of` is never more
    than a warning. What a rule that `follows_days` finds of a tenant's day follows from that day's rows, wherever its
    query says WINDOW: it need not look again at days that are as they were. What a rule `of_views` finds follows from
    how views are defined, for they hold nothing: a run looks at some tenant-days.
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
    follows_days: bool = False
    of_views: bool = False

    def over(self, *, changed_alone: bool) -> str:
        """The query over every day of the window, or over those tenant-days of it alone that CHANGED names."""
        return self.query.replace(WINDOW, f"{WINDOW} and {CHANGED}") if changed_alone else self.query

    def is_mild(self, row: Sequence[Any]) -> bool:
        """Whether this violation alone is a warning, however many tenants have it."""
        return bool(self.warns_of) and self.warns_of <= set(row)
