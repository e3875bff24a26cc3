"""What the rules of one tenant make of a batch of several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from stax_pipeline.derive.batch import Batch, Derived
from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.guards import DOLLARS, shrink_reason
from stax_pipeline.derive.reconciliation import Reconciliation
from stax_pipeline.derive.restatement import Later, Repricing, Restatement
from stax_pipeline.derive.schemas import (
    RECONCILIATION,
    SPEND,
    SPEND_BY_KEY,
    SPEND_DAY_TOTALS,
    SPEND_TOTALS,
    lines_of,
    table_of,
)
from stax_pipeline.derive.spend import SpendLine
from stax_pipeline.derive.split_by_key import KeySpend
from stax_pipeline.derive.terms import Uses
from stax_pipeline.derive.usage_lines import KeyUsageLine, UsageLine
from stax_pipeline.domain.extraction import midnight
from stax_pipeline.domain.money import EXACT
from stax_pipeline_tests.oracle.fees import spread_fees
from stax_pipeline_tests.oracle.guards import days_without_cost, grouping_fault, settled_days, shrunk_days, unit_fault
from stax_pipeline_tests.oracle.reconciliation import reconcile
from stax_pipeline_tests.oracle.restatement import restated_cost, restated_dollars, restated_prices, restated_usage
from stax_pipeline_tests.oracle.spend import spend_lines
from stax_pipeline_tests.oracle.spend_totals import spend_day_totals, spend_totals
from stax_pipeline_tests.oracle.split_by_key import spend_by_key
from stax_pipeline_tests.oracle.uses import uses_by_day


def derived(batch: Batch) -> Derived:
    """The same as `derive`."""
    spend: dict[str, list[SpendLine]] = {}
    by_key: dict[str, list[KeySpend]] = {}
    accuracy: dict[str, list[Reconciliation]] = {}
    costs, usage = lines_of(batch.cost_lines, CostLine), lines_of(batch.usage_lines, UsageLine)
    keys = lines_of(batch.usage_by_key, KeyUsageLine)
    for tenant_id in sorted(batch.terms):
        settled, minutes = _days(batch, tenant_id)
        terms, held = batch.terms[tenant_id], (costs.get(tenant_id, []), usage.get(tenant_id, []))
        spend[tenant_id] = spread_fees(spend_lines(*held, terms, settled), terms, minutes)
        by_key[tenant_id] = spend_by_key(spend[tenant_id], keys.get(tenant_id, []))
        accuracy[tenant_id] = reconcile(*held, terms, settled, batch.restated.get(tenant_id, {}))
    totals = {tenant_id: spend_totals(lines) for tenant_id, lines in spend.items()}
    by_day = {tenant_id: spend_day_totals(lines) for tenant_id, lines in spend.items()}
    return Derived(
        table_of(SPEND, spend), table_of(SPEND_TOTALS, totals), table_of(SPEND_DAY_TOTALS, by_day),
        table_of(SPEND_BY_KEY, by_key), table_of(RECONCILIATION, accuracy),
    )  # fmt: skip


def _days(batch: Batch, tenant_id: str) -> tuple[frozenset[date], Mapping[date, int]]:
    rows = [row for row in batch.days.to_pylist() if row["tenant_id"] == tenant_id]
    settled = frozenset(row["usage_date"] for row in rows if row["settled"])
    return settled, {row["usage_date"]: row["minutes"] for row in rows if row["minutes"] is not None}


Places = frozenset[tuple[str, date]]


def settlement(batch: Batch, old_enough: Places) -> list[dict[str, object]]:
    """The same as `guards.settlement`, for two days of every tenant."""
    costs, usage = lines_of(batch.cost_lines, CostLine), lines_of(batch.usage_lines, UsageLine)
    found: list[dict[str, object]] = []
    for tenant_id in sorted(batch.terms):
        days = [row["usage_date"] for row in batch.days.to_pylist() if row["tenant_id"] == tenant_id]
        moments = {day: midnight(day) + timedelta(days=9 if (tenant_id, day) in old_enough else 0) for day in days}
        held = costs.get(tenant_id, []), usage.get(tenant_id, [])
        settled = settled_days(moments, *held, timedelta(days=2))
        missing = days_without_cost(moments, *held, timedelta(days=2))
        found += [
            {"tenant_id": tenant_id, "usage_date": day, "settled": day in settled, "cost_missing": day in missing}
            for day in sorted(days)
        ]
    return found


def unit_faults(batch: Batch) -> dict[str, str]:
    costs, usage = lines_of(batch.cost_lines, CostLine), lines_of(batch.usage_lines, UsageLine)
    return _told({
        tenant_id: unit_fault(costs.get(tenant_id, []), usage.get(tenant_id, []), terms)
        for tenant_id, terms in batch.terms.items()
    })  # fmt: skip


def grouping_faults(batch: Batch, settled: Places) -> dict[str, str]:
    costs, usage = lines_of(batch.cost_lines, CostLine), lines_of(batch.usage_lines, UsageLine)
    return _told({
        tenant_id: grouping_fault(costs.get(tenant_id, []), usage.get(tenant_id, []), _of(settled, tenant_id))
        for tenant_id in batch.terms
    })  # fmt: skip


def shrink_faults(
    held: pa.Table, fresh: pa.Table, settled: Places, slugs: Mapping[str, str], what: str
) -> dict[str, str]:
    before, after = (_figures(table, what) for table in (held, fresh))
    found: dict[str, str] = {}
    for tenant_id, slug in slugs.items():
        figures = before.get(tenant_id, {}), after.get(tenant_id, {})
        if days := shrunk_days(*figures, _of(settled, tenant_id)):
            found[tenant_id] = shrink_reason(slug, days, *figures, what)
    return found


def _figures(table: pa.Table, what: str) -> dict[str, dict[date, Decimal]]:
    found: dict[str, dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    if what == DOLLARS:
        for tenant_id, costs in lines_of(table, CostLine).items():
            for cost in costs:
                day = found[tenant_id]
                day[cost.usage_date] = EXACT.add(day[cost.usage_date], max(cost.amount_usd, Decimal(0)))
        return found
    by_key = "api_key_id" in table.column_names
    for tenant_id, meters in lines_of(table, KeyUsageLine if by_key else UsageLine).items():
        for meter in meters:
            found[tenant_id][meter.usage_date] += sum(meter.counts[:5])
    return found


def cost_restatements(old: pa.Table, new: pa.Table, later: Mapping[str, Later]) -> dict[str, list[Restatement]]:
    before, after = lines_of(old, CostLine), lines_of(new, CostLine)
    return _some({t: restated_cost(before.get(t, []), after.get(t, []), one) for t, one in later.items()})


def usage_restatements(old: pa.Table, new: pa.Table, later: Mapping[str, Later]) -> dict[str, list[Restatement]]:
    before, after = lines_of(old, UsageLine), lines_of(new, UsageLine)
    return _some({t: restated_usage(before.get(t, []), after.get(t, []), one) for t, one in later.items()})


def price_restatements(
    old: pa.Table, new: pa.Table, changes: Mapping[str, Mapping[date, Repricing]]
) -> dict[str, list[Restatement]]:
    before, after = lines_of(old, SpendLine), lines_of(new, SpendLine)
    return _some({
        t: [row for day, change in sorted(days.items())
            for row in restated_prices(_on(before.get(t, []), day), _on(after.get(t, []), day), change)]
        for t, days in changes.items()
    })  # fmt: skip


def dollar_restatements(
    old: pa.Table, new: pa.Table, moments: Mapping[str, Mapping[date, datetime]]
) -> dict[str, list[Restatement]]:
    before, after = lines_of(old, SpendLine), lines_of(new, SpendLine)
    return _some({
        t: [row for day, moment in sorted(days.items())
            for row in restated_dollars(_on(before.get(t, []), day), _on(after.get(t, []), day), moment)]
        for t, days in moments.items()
    })  # fmt: skip


def uses_by_tenant(usage_lines: pa.Table) -> dict[str, dict[date, Uses]]:
    return {tenant_id: uses_by_day(usage) for tenant_id, usage in lines_of(usage_lines, UsageLine).items()}


def _on(lines: list[SpendLine], day: date) -> list[SpendLine]:
    return [line for line in lines if line.usage_date == day]


def _of(places: Places, tenant_id: str) -> frozenset[date]:
    return frozenset(day for own, day in places if own == tenant_id)


def _told(reasons: Mapping[str, str | None]) -> dict[str, str]:
    return {tenant_id: reason for tenant_id, reason in reasons.items() if reason}


def _some(rows: Mapping[str, list[Restatement]]) -> dict[str, list[Restatement]]:
    return {tenant_id: found for tenant_id, found in rows.items() if found}
