"""What may be reported where a purge cannot forget it: no dollars and no names of one tenant's models or workspaces."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

_DOLLARS = re.compile(r"-?\$-?[\d,.]*\d")
_UNKNOWN = re.compile(r"^unknown (\w+).*?(, [\d,]+ times?)?$", re.DOTALL)
_COLUMNS = frozenset(
    {"tenant", "assets", "asset", "report", "usage_date", "day", "month", "state", "reason", "mend", "view", "login"}
)


def without_figures(words: str) -> str:
    """A reason or finding without its dollars and unknown values; `stax status` and alerts say them."""
    return _UNKNOWN.sub(r"unknown \1\2", _DOLLARS.sub("$…", words))


def summed_up(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Violations by tenant, day and reason, counted; figures, models and workspaces stay in the warehouse."""
    kept = [place for place, name in enumerate(columns) if name in _COLUMNS]
    counted = Counter(
        tuple(without_figures(value) if isinstance(value, str) else value for value in (row[n] for n in kept))
        for row in rows
    )
    return [*(columns[n] for n in kept), "violations"], [(*row, count) for row, count in counted.items()]
