"""Guards and restatements over a batch, beside the same rules row by row."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stax_pipeline.derive.batch import Batch, derive
from stax_pipeline.derive.batch_days import uses_by_tenant
from stax_pipeline.derive.engine import Engine
from stax_pipeline.derive.guards import DOLLARS, grouping_faults, settlement, shrink_faults, unit_faults
from stax_pipeline.derive.restatement import (
    Later,
    Repricing,
    cost_restatements,
    dollar_restatements,
    price_restatements,
    usage_restatements,
)
from stax_pipeline.derive.schemas import schema_of, table_of_rows
from stax_pipeline_tests.derive.batches import TENANTS, TWO_DAYS, batches, unit_batches
from stax_pipeline_tests.oracle import batches as oracle

MOMENT = datetime(2026, 11, 22, 12, tzinfo=UTC)
SLUGS = {tenant_id: f"tenant-{number}" for number, tenant_id in enumerate(TENANTS)}
QUICK = settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
some_days = st.frozensets(st.tuples(st.sampled_from(TENANTS), st.sampled_from(TWO_DAYS)))


def days_where(name: str, chosen: frozenset[tuple[str, date]]) -> pa.Table:
    schema = schema_of(tenant_id=pa.string(), usage_date=pa.date32(), **{name: pa.bool_()})
    every = [(tenant_id, day) for tenant_id in TENANTS for day in TWO_DAYS]
    return table_of_rows(schema, [(*at, at in chosen) for at in every])


@QUICK
@given(batch=batches(), old_enough=some_days)
def test_settled_days_and_days_without_cost(
    engine: Engine, batch: Batch, old_enough: frozenset[tuple[str, date]]
) -> None:
    found = settlement(engine, batch.cost_lines, batch.usage_lines, days_where("old_enough", old_enough))
    assert found.to_pylist() == oracle.settlement(batch, old_enough)


@QUICK
@given(batch=unit_batches() | batches())
def test_the_unit_guard(engine: Engine, batch: Batch) -> None:
    assert unit_faults(engine, batch) == oracle.unit_faults(batch)


@QUICK
@given(batch=batches(), settled=some_days)
def test_the_grouping_guard(engine: Engine, batch: Batch, settled: frozenset[tuple[str, date]]) -> None:
    found = grouping_faults(engine, batch.cost_lines, batch.usage_lines, days_where("settled", settled))
    assert found == oracle.grouping_faults(batch, settled)


@QUICK
@given(held=batches(), fresh=batches(), settled=some_days)
def test_the_shrink_guard(engine: Engine, held: Batch, fresh: Batch, settled: frozenset[tuple[str, date]]) -> None:
    days = days_where("settled", settled)
    for table, what in (("cost_lines", DOLLARS), ("usage_lines", "tokens"), ("usage_by_key", "tokens by key")):
        tables = getattr(held, table), getattr(fresh, table)
        assert shrink_faults(engine, *tables, days, SLUGS, what) == oracle.shrink_faults(*tables, settled, SLUGS, what)


laters = st.dictionaries(
    st.sampled_from(TENANTS),
    st.frozensets(st.sampled_from(TWO_DAYS)).map(
        lambda days: Later(UUID(int=2), MOMENT, {day: UUID(int=day.day) for day in days})
    ),
)


@QUICK
@given(old=batches(), new=batches(), later=laters)
def test_restated_cost_and_usage(engine: Engine, old: Batch, new: Batch, later: dict[str, Later]) -> None:
    found = cost_restatements(engine, old.cost_lines, new.cost_lines, later)
    assert found == oracle.cost_restatements(old.cost_lines, new.cost_lines, later)
    found = usage_restatements(engine, old.usage_lines, new.usage_lines, later)
    assert found == oracle.usage_restatements(old.usage_lines, new.usage_lines, later)


@QUICK
@given(old=batches(), new=batches(), chosen=some_days, same_usage=st.booleans())
def test_restated_dollars_and_prices(
    engine: Engine, old: Batch, new: Batch, chosen: frozenset[tuple[str, date]], same_usage: bool
) -> None:
    if same_usage:
        new = old._replace(terms=new.terms)
    was, becomes = (derive(engine, one, frozenset({"spend"})).spend for one in (old, new))
    change = Repricing(MOMENT, "a", "b+c")
    changes = {t: {day: change for tenant_id, day in chosen if tenant_id == t} for t in TENANTS}
    moments = {t: dict.fromkeys(days, MOMENT) for t, days in changes.items()}
    assert price_restatements(engine, was, becomes, changes) == oracle.price_restatements(was, becomes, changes)
    assert dollar_restatements(engine, was, becomes, moments) == oracle.dollar_restatements(was, becomes, moments)


@QUICK
@given(batch=batches())
def test_uses_of_each_day(engine: Engine, batch: Batch) -> None:
    assert uses_by_tenant(engine, batch.usage_lines) == oracle.uses_by_tenant(batch.usage_lines)
