"""The product's rules for the lines of one tenant, so that an example fits on a line. Stays out: expectations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from stax_pipeline.derive import guards, restatement
from stax_pipeline.derive.batch import Batch, derive
from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.engine import Engine, open_engine
from stax_pipeline.derive.guards import DOLLARS
from stax_pipeline.derive.reconciliation import Cell, Change, Reconciliation
from stax_pipeline.derive.restatement import Later, Repricing, Restatement
from stax_pipeline.derive.schemas import (
    COST_LINES,
    SPEND,
    USAGE_LINES,
    lines_of,
    schema_of,
    table_of,
    table_of_rows,
)
from stax_pipeline.derive.spend import SpendLine
from stax_pipeline.derive.split_by_key import KeySpend
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import KeyUsageLine, UsageLine
from stax_pipeline.domain.time import is_old_enough_to_settle
from stax_pipeline_tests.derive.batches import TENANTS, batch_of
from stax_pipeline_tests.derive.builders import DAY, cost

TENANT = TENANTS[0]


@cache
def engine() -> Engine:
    """One for all tests: to open it takes longer than to run a rule."""
    return open_engine(Path(tempfile.mkdtemp(prefix="stax-rules-")))


def _batch(
    costs: Iterable[CostLine], usage: Iterable[UsageLine], terms: Terms, settled: frozenset[date] = frozenset(),
    by_key: Iterable[KeyUsageLine] = (), **more: Any,
) -> Batch:  # fmt: skip
    lines = {TENANT: list(costs)}, {TENANT: list(usage)}, {TENANT: list(by_key)}
    return batch_of(*lines, {TENANT: terms}, settled=frozenset((TENANT, day) for day in settled), **more)


def spend_lines(
    costs: Iterable[CostLine], usage: Iterable[UsageLine], terms: Terms, settled: frozenset[date],
    minutes: Mapping[date, int] | None = None,
) -> list[SpendLine]:  # fmt: skip
    batch = _batch(costs, usage, terms, settled, minutes=minutes)
    return lines_of(derive(engine(), batch, frozenset({"spend"})).spend, SpendLine).get(TENANT, [])


def spend_by_key(
    costs: Iterable[CostLine], usage: Iterable[UsageLine], by_key: Iterable[KeyUsageLine], terms: Terms,
    settled: frozenset[date] = frozenset(),
) -> list[KeySpend]:  # fmt: skip
    batch = _batch(costs, usage, terms, settled, by_key)
    found = derive(engine(), batch, frozenset({"spend_by_key"})).spend_by_key
    return sorted(lines_of(found, KeySpend).get(TENANT, []), key=lambda row: row[:9])


def reconcile(
    costs: Iterable[CostLine], usage: Iterable[UsageLine], terms: Terms, settled: frozenset[date],
    restated: Mapping[Cell, Sequence[Change]] | None = None,
) -> list[Reconciliation]:  # fmt: skip
    batch = _batch(costs, usage, terms, settled, restated={TENANT: restated or {}})
    found = derive(engine(), batch, frozenset({"reconciliation"})).reconciliation
    return lines_of(found, Reconciliation).get(TENANT, [])


def unit_fault(costs: Iterable[CostLine], usage: Iterable[UsageLine], terms: Terms) -> str | None:
    return guards.unit_faults(engine(), _batch(costs, usage, terms)).get(TENANT)


def grouping_fault(costs: Iterable[CostLine], usage: Iterable[UsageLine], settled: frozenset[date]) -> str | None:
    lines = table_of(COST_LINES, {TENANT: costs}), table_of(USAGE_LINES, {TENANT: usage})
    return guards.grouping_faults(engine(), *lines, _days("settled", dict.fromkeys(settled, True))).get(TENANT)


def shrink_fault(
    before: Mapping[date, Decimal], after: Mapping[date, Decimal], settled: frozenset[date], slug: str = "acme"
) -> str | None:
    held, fresh = (
        table_of(COST_LINES, {TENANT: [cost(usd, usage_date=day) for day, usd in figures.items()]})
        for figures in (before, after)
    )
    days = _days("settled", dict.fromkeys(settled, True))
    return guards.shrink_faults(engine(), held, fresh, days, {TENANT: slug}, DOLLARS).get(TENANT)


def settled_days(
    extracted: Mapping[date, datetime], costs: Iterable[CostLine], usage: Iterable[UsageLine], settle: timedelta
) -> frozenset[date]:
    return frozenset(day for day, settled, _ in _settlement(extracted, costs, usage, settle) if settled)


def days_without_cost(
    extracted: Mapping[date, datetime], costs: Iterable[CostLine], usage: Iterable[UsageLine], settle: timedelta
) -> list[date]:
    return [day for day, _, missing in _settlement(extracted, costs, usage, settle) if missing]


def _settlement(
    extracted: Mapping[date, datetime], costs: Iterable[CostLine], usage: Iterable[UsageLine], settle: timedelta
) -> list[tuple[date, bool, bool]]:
    old = {day: is_old_enough_to_settle(day, moment, settle) for day, moment in extracted.items()}
    lines = table_of(COST_LINES, {TENANT: costs}), table_of(USAGE_LINES, {TENANT: usage})
    found = guards.settlement(engine(), *lines, _days("old_enough", old)).to_pylist()
    return [(row["usage_date"], row["settled"], row["cost_missing"]) for row in found]


def _days(name: str, days: Mapping[date, bool]) -> pa.Table:
    schema = schema_of(tenant_id=pa.string(), usage_date=pa.date32(), **{name: pa.bool_()})
    return table_of_rows(schema, [(TENANT, day, value) for day, value in days.items()])


def restated_cost(old: Iterable[CostLine], new: Iterable[CostLine], later: Later) -> list[Restatement]:
    tables = (table_of(COST_LINES, {TENANT: lines}) for lines in (old, new))
    return restatement.cost_restatements(engine(), *tables, {TENANT: later}).get(TENANT, [])


def restated_usage(old: Iterable[UsageLine], new: Iterable[UsageLine], later: Later) -> list[Restatement]:
    tables = (table_of(USAGE_LINES, {TENANT: lines}) for lines in (old, new))
    return restatement.usage_restatements(engine(), *tables, {TENANT: later}).get(TENANT, [])


def restated_prices(old: Iterable[SpendLine], new: Iterable[SpendLine], change: Repricing) -> list[Restatement]:
    tables = (table_of(SPEND, {TENANT: lines}) for lines in (old, new))
    changes = {TENANT: dict.fromkeys([DAY, DAY + timedelta(days=1)], change)}
    return restatement.price_restatements(engine(), *tables, changes).get(TENANT, [])
