"""Run the rules: which hold, which tenants break them, and how bad that is.

Stays out: the rules themselves (`steps.rules`) and Dagster (`assets.checks` makes asset checks of these, `stax verify`
runs them from the command line).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from stax_pipeline.domain.extraction import Window
from stax_pipeline.resources.warehouse.prices import read_book
from stax_pipeline.settings import Settings
from stax_pipeline.steps.rule import Rule
from stax_pipeline.steps.rules import RULES


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found: its violations, and the share of connected tenants they touch."""

    rule: Rule
    rows: Sequence[tuple[Any, ...]]
    tenants: tuple[str, ...]
    connected: int

    @property
    def holds(self) -> bool:
        return not self.rows

    @property
    def is_severe(self) -> bool:
        return bool(self.rows) and len(self.tenants) > self.rule.severe_share * max(self.connected, 1)


def examine(connection: sa.Connection, rule: Rule, window: Window, now: datetime, settings: Settings) -> Finding:
    """Run one rule at the instant `now` (UTC) over a window of days."""
    values: dict[str, Any] = {
        "start": window.start,
        "end": window.end,
        "now": now,
        "refresh": settings.refresh_minutes,
        "recent": now.date() - timedelta(days=max(settings.lookback_days, 35)),
    }
    if ":version" in rule.query:
        values["version"] = read_book(connection).version
    used = {name: value for name, value in values.items() if f":{name}" in rule.query}
    rows = [tuple(row) for row in connection.execute(sa.text(rule.query), used)]
    connected = connection.execute(sa.text("select count(*) from stax.tenants where status <> 'disconnected'")).scalar()
    return Finding(rule, rows, tuple(dict.fromkeys(str(row[0]) for row in rows)), int(connected or 0))


def examine_all(connection: sa.Connection, window: Window, now: datetime, settings: Settings) -> Iterator[Finding]:
    """Every rule in turn."""
    for rule in RULES:
        yield examine(connection, rule, window, now, settings)
