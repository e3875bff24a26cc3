"""Run the rules: which hold, which tenants break them, and how bad that is.

Stays out: the rules themselves (`checks.rules`) and Dagster (`assets.checks` makes asset checks of these, `stax verify`
runs them from the command line).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.checks.changed import columns_of
from stax_pipeline.checks.distinct import DISTINCT_RULES
from stax_pipeline.checks.rule import Rule
from stax_pipeline.checks.rules import RULES
from stax_pipeline.derive.terms import Terms
from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.settings import Settings
from stax_pipeline.warehouse.acceptances import read_acceptances
from stax_pipeline.warehouse.agreements import read_terms
from stax_pipeline.warehouse.arrow_copy import Slot
from stax_pipeline.warehouse.prices import read_book


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found: its violations, the share of the run's tenants they touch, and how many were accepted."""

    rule: Rule
    rows: Sequence[tuple[Any, ...]]
    tenants: tuple[str, ...]
    connected: int
    accepted: int = 0

    @property
    def holds(self) -> bool:
        return not self.rows

    @property
    def is_severe(self) -> bool:
        severe = {row[0] for row in self.rows if not self.rule.is_mild(row)}
        return bool(severe) and len(severe) > self.rule.severe_share * max(self.connected, 1)


@dataclass(frozen=True, slots=True)
class About:
    """What a run is about: the days it names, if any, and the slugs it is narrowed to, if it is."""

    window: Window | None = None
    slugs: Collection[str] | None = None

    def holds(self, rule: Rule, row: Sequence[Any]) -> bool:
        """Whether a violation, its tenant's slug first, is of these tenants and days."""
        if self.slugs is not None and row[0] not in self.slugs:
            return False
        if self.window is None or rule.looks_back or "usage_date" not in rule.columns:
            return True
        return row[rule.columns.index("usage_date")] in self.window.days


EVERYTHING = About()
_ADDS_UP = """
select set_config('work_mem', '64MB', true), set_config('hash_mem_multiplier', '4', true),
       set_config('max_parallel_workers_per_gather', '0', true)
"""
"""For the transaction: rules group many rows, which is to happen in memory, and in one process beside the run's own."""


def run_rule(
    connection: sa.Connection, rule: Rule, window: Window, now: datetime, settings: Settings,
    about: About = EVERYTHING, changed: Collection[Slot] | None = None,
) -> Finding:  # fmt: skip
    """Run one rule at the instant `now` (UTC) over a window of days; what is not `about` the run is not reported.

    A rule that follows days looks at the tenant-days `changed` alone, where they are given.
    """
    narrowed = rule.follows_days and changed is not None
    query = rule.over(changed_alone=narrowed)
    values: dict[str, Any] = {
        "start": window.start,
        "end": window.end,
        "now": now,
        "refresh": settings.refresh_minutes,
        "settle": settings.settle_hours,
        "source": settings.source.value,
        "recent": now.date() - timedelta(days=max(settings.lookback_days, 35)),
    }
    if ":versions" in query:
        values["versions"] = _versions(connection)
    if narrowed:
        values |= columns_of(changed or ())
    used = {name: value for name, value in values.items() if f":{name}" in query}
    connection.execute(sa.text(_ADDS_UP))
    found = [] if narrowed and not changed else [tuple(row) for row in connection.execute(sa.text(query), used)]
    relevant = [row for row in found if about.holds(rule, row)]
    rows = _without_accepted(connection, rule, relevant) if rule.acceptable else relevant
    connected = _connected(connection) if about.slugs is None else len(about.slugs)
    return Finding(rule, rows, tuple(dict.fromkeys(str(row[0]) for row in rows)), connected, len(relevant) - len(rows))


def _without_accepted(
    connection: sa.Connection, rule: Rule, rows: Sequence[tuple[Any, ...]]
) -> Sequence[tuple[Any, ...]]:
    """Violations that no operator has accepted for their tenant, check and day."""
    accepted, day = read_acceptances(connection), rule.columns.index("usage_date")
    return [
        row
        for row in rows
        if not any(one.check_name == rule.name and one.covers(row[day]) for one in accepted.get(row[0], ()))
    ]


def _connected(connection: sa.Connection) -> int:
    counted = connection.execute(sa.text("select count(*) from stax.tenants where status <> 'disconnected'"))
    return int(counted.scalar_one())


_PRICED = """
select distinct o.tenant_id, b.usage_date, b.uses
from (select distinct on (tenant_id, usage_date) tenant_id, usage_date, uses
      from stax.spend_builds order by tenant_id, usage_date, built_at desc) b
left join (select tenant_id from stax.contract_rates union select tenant_id from stax.commitments) o using (tenant_id)
where b.uses is not null
"""


def _versions(connection: sa.Connection) -> str:
    """As JSON, the version of the terms in force for all that was priced on a day; by tenant where it has own terms."""
    book = read_book(connection)
    terms: dict[UUID | None, Terms] = {None: Terms(book)}
    found = []
    for owner, day, uses in connection.execute(sa.text(_PRICED)):
        if owner not in terms:
            terms[owner] = read_terms(connection, owner, book)
        version = terms[owner].version_of(day, frozenset(json.loads(uses)))
        found.append({"owner": owner and str(owner), "usage_date": f"{day}", "uses": uses, "version": version})
    return json.dumps(found)


def run_rules(connection: sa.Connection, window: Window, now: datetime, settings: Settings) -> Iterator[Finding]:
    """Every rule in turn, those too that hold of whatever is loaded."""
    for rule in (*RULES, *DISTINCT_RULES):
        yield run_rule(connection, rule, window, now, settings)
