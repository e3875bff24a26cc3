"""A tenant-day is written again only when its rows, prices, terms, settlement or rules changed; else coverage moves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from stax_pipeline.checks.rules import SPEND_IS_CURRENT
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.pipeline import build_batch, tenant_days
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.contract_rates import ContractRate
from stax_pipeline.warehouse.agreements import record_commitments, record_rates
from stax_pipeline.warehouse.tenants import all_tenants
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import (
    COST,
    DAYS,
    FIRST,
    LAST,
    TODAY,
    USAGE,
    change,
    on,
    query,
    sync,
    times,
    two_tenants,
    usd_by_day,
)
from stax_pipeline_tests.pipeline.test_history import dearer

NORMALIZED = ("cost_lines", "usage_lines", "usage_by_key")
DERIVED = ("spend", "spend_totals", "spend_day_totals", "spend_by_key", "reconciliation")
SECOND = FIRST + timedelta(days=1)
Slots = set[tuple[str, date]]


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        sync(installation)
        yield installation


class Written:
    """Which tenant-days of a table were written since, by the transaction that each row is of."""

    def __init__(self, made: Installation) -> None:
        self._made = made
        self._before = {table: self._transactions(table) for table in (*NORMALIZED, *DERIVED)}

    def _transactions(self, table: str) -> dict[tuple[str, date], set[str]]:
        rows = query(
            self._made,
            f"select slug, usage_date, array_agg(distinct x.xmin::text) as by from stax.{table} x"
            " join stax.tenants using (tenant_id) group by 1, 2",
        )
        return {(row.slug, row.usage_date): set(row.by) for row in rows}

    def slots(self, *tables: str) -> Slots:
        found: Slots = set()
        for table in tables:
            before, now = self._before[table], self._transactions(table)
            found |= {slot for slot in before.keys() | now.keys() if before.get(slot) != now.get(slot)}
        return {slot for slot in found if slot[1] < TODAY}


def again(made: Installation, minutes: int = 10) -> Written:
    """The next sync; what of complete days it wrote."""
    written = Written(made)
    made.clock.now += timedelta(minutes=minutes)
    assert sync(made).failures == {}
    return written


def stale(made: Installation) -> list[tuple[object, ...]]:
    with made.engine.connect() as connection:
        found = run_rule(connection, SPEND_IS_CURRENT, DAYS, made.clock.now, made.settings).rows
    held = query(made, "select tenant, usage_date from stax.completeness where not spend_is_current")
    return [*found, *held]


def tenant_id_of(made: Installation, slug: str) -> object:
    with made.engine.connect() as connection:
        return next(one for one in all_tenants(connection) if one.slug == slug).tenant_id


def test_a_repeat_that_changes_nothing_writes_no_row_and_moves_the_coverage(made: Installation) -> None:
    before = query(made, "select distinct extracted_at from stax.coverage")
    written = again(made)
    assert written.slots(*NORMALIZED, *DERIVED) == set()
    assert query(made, "select distinct extracted_at from stax.coverage") != before
    assert stale(made) == []


def test_a_day_that_changed_is_written_alone(made: Installation) -> None:
    change(made, COST, on(SECOND, times("1.1")))
    written = again(made)
    assert written.slots("cost_lines") == {("acme", SECOND)}
    assert written.slots("usage_lines", "usage_by_key") == set()
    assert written.slots(*DERIVED) == {("acme", SECOND)}
    assert stale(made) == []


def test_usage_that_changed_writes_its_tables_and_what_follows(made: Installation) -> None:
    change(made, USAGE, on(FIRST, times("1.1")))
    written = again(made)
    assert written.slots("cost_lines") == set()
    assert written.slots("usage_lines") == written.slots("spend") == {("acme", FIRST)}


def test_an_unsettled_day_that_comes_again_unchanged_after_it_settled_becomes_unbilled(made: Installation) -> None:
    """Standard tokens of a model without a cost line on a day that has others."""
    [(model,)] = query(
        made,
        "select model from stax.spend join stax.tenants using (tenant_id) where slug = 'acme' and usage_date = :day"
        " and cost_source = 'reported' and service_tier = 'standard' and unit = 'tokens' order by cost_usd limit 1",
        day=LAST,
    )
    change(made, COST, on(LAST, lambda rows: [row for row in rows if row["model"] != model]))
    again(made)
    assert LAST in usd_by_day(made, "acme", "usage-estimated")
    made.clock.now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    written = again(made)
    assert LAST not in usd_by_day(made, "acme", "usage-estimated")
    assert usd_by_day(made, "acme", "unbilled")[LAST] == 0
    assert written.slots("cost_lines", "usage_lines") == set()
    assert ("acme", LAST) in written.slots("spend")
    assert stale(made) == []


def test_a_new_rate_builds_the_days_that_it_holds_for(made: Installation) -> None:
    with made.engine.begin() as connection:
        rate = ContractRate("claude-*", "*", "*", SECOND, SECOND, Decimal("0.1"), None)
        record_rates(connection, tenant_id_of(made, "acme"), [rate])  # type: ignore[arg-type]
    assert [row[:2] for row in stale(made)] == [("acme", SECOND)]
    written = again(made)
    assert written.slots(*NORMALIZED) == set()
    assert written.slots(*DERIVED) == {("acme", SECOND)}
    assert stale(made) == []


def test_a_new_price_builds_the_days_that_used_the_model(made: Installation) -> None:
    [changed, *_] = dearer(made, 2)
    used = {
        (row.slug, row.usage_date)
        for row in query(
            made,
            "select distinct slug, usage_date from stax.usage_lines join stax.tenants using (tenant_id)"
            " where model = :model and usage_date < :today",
            model=changed.model, today=TODAY,
        )
    }  # fmt: skip
    written = again(made)
    assert written.slots(*NORMALIZED) == set()
    assert written.slots("spend") == used
    assert stale(made) == []


def test_a_commitment_builds_its_days_and_an_open_day_of_it_each_time(made: Installation) -> None:
    fee = Commitment("c", "claude-opus-4-8", 9, 9, Decimal(30), LAST, TODAY)
    with made.engine.begin() as connection:
        record_commitments(connection, tenant_id_of(made, "acme"), [fee])  # type: ignore[arg-type]
    assert again(made).slots("spend") == {("acme", LAST)}
    fees = "select sum(effective_cost_usd) as usd from stax.spend where commitment_id = 'c' and usage_date = :day"
    [before] = query(made, fees, day=TODAY)
    assert again(made, minutes=30).slots("spend") == set()
    [after] = query(made, fees, day=TODAY)
    assert after.usd > before.usd


def test_another_version_of_the_rules_builds_every_day(made: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (build_batch, tenant_days):
        monkeypatch.setattr(module, "RULES_VERSION", "of tomorrow")
    written = again(made)
    assert written.slots(*NORMALIZED) == set()
    assert written.slots("spend") == {(slug, day) for slug in ("acme", "globex") for day in DAYS.days[:-1]}
