"""The rules over a batch, beside the same rules row by row: equal in every column."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from stax_pipeline.derive.batch import RESULTS, Batch, Derived, derive
from stax_pipeline.derive.engine import Engine, TooLarge
from stax_pipeline.derive.terms import Terms
from stax_pipeline.domain.errors import StaxError
from stax_pipeline.domain.extraction import Window
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.contract_rates import ContractRate, ContractRates
from stax_pipeline.pricing.prices import PriceBook
from stax_pipeline.simulator import story_organizations
from stax_pipeline.simulator.story import COMMITTED_MODEL
from stax_pipeline_tests.derive.batches import TENANTS, batch_of, batches
from stax_pipeline_tests.derive.builders import DAY, MILLION, OPUS, book, cost, key_usage, list_price, usage
from stax_pipeline_tests.derive.simulated import lines_of_organization
from stax_pipeline_tests.oracle.batches import derived

SLOW = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@SLOW
@given(batch=batches())
def test_every_table_is_what_the_rules_make_row_by_row(engine: Engine, batch: Batch) -> None:
    assert_equal(derive(engine, batch), derived(batch))


def assert_equal(found: Derived, expected: Derived) -> None:
    assert found.spend.to_pylist() == expected.spend.to_pylist()
    assert in_order(found.spend_totals, 7).to_pylist() == in_order(expected.spend_totals, 7).to_pylist()
    assert in_order(found.spend_day_totals, 2).to_pylist() == in_order(expected.spend_day_totals, 2).to_pylist()
    assert in_order(found.spend_by_key, 10).to_pylist() == expected.spend_by_key.to_pylist()
    assert found.reconciliation.to_pylist() == expected.reconciliation.to_pylist()


def in_order(rows: pa.Table, names: int) -> pa.Table:
    """Sorted by so many of the first columns, as the rules row by row give spend by key."""
    return rows.sort_by([(name, "ascending") for name in rows.column_names[:names]])


NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WEEKS = Window(date(2026, 10, 31), date(2026, 11, 22))


def test_every_demo_organization_is_the_same_in_every_column(engine: Engine) -> None:
    """Three weeks up to the open day: a rate that holds for a part of them, a commitment, days settled and not."""
    organizations = story_organizations(NOW.date())
    lines = dict(zip(TENANTS, (lines_of_organization(one, WEEKS, NOW) for one in organizations), strict=False))
    rate = ContractRate("claude-*", "*", "*", date(2026, 11, 9), None, Decimal("0.123456789"), None)
    fee = Commitment("c-1", COMMITTED_MODEL, 20_000, 4_000, Decimal("98765.43"), date(2026, 11, 3), date(2026, 12, 2))
    terms = {
        tenant_id: Terms(book(), ContractRates.of([rate] if number else []), () if number else (fee,))
        for number, tenant_id in enumerate(lines)
    }
    batch = batch_of(
        *({tenant_id: held[part] for tenant_id, held in lines.items()} for part in range(3)), terms,
        settled=frozenset((tenant_id, day) for tenant_id in lines for day in WEEKS.days if day < date(2026, 11, 17)),
        minutes={day: 1440 if day < NOW.date() else 700 for day in WEEKS.days},
    )  # fmt: skip
    assert len(organizations) == len(lines) == 2
    assert batch.cost_lines.num_rows > 10_000
    assert_equal(derive(engine, batch), derived(batch))


def test_a_day_that_is_not_given_is_not_dropped_in_silence(engine: Engine) -> None:
    batch = one_line()
    with pytest.raises(ValueError, match="lines of a day that is not given"):
        derive(engine, batch._replace(days=batch.days.slice(1)))
    with pytest.raises(ValueError, match="given twice"):
        derive(engine, batch._replace(days=pa.concat_tables([batch.days, batch.days])))


def test_a_price_that_cannot_be_told_exactly_stops_its_tenant_in_words(engine: Engine) -> None:
    fine = PriceBook.of([list_price("1.000000000000000001")])
    rates = ContractRates.of([ContractRate("*", "*", "*", DAY, None, Decimal("0.000000000000000001"), None)])
    with pytest.raises(StaxError, match=f"the price of {OPUS} has too many decimals"):
        derive(engine, one_line(Terms(fine, rates)))
    assert derive(engine, one_line(Terms(fine))).spend.num_rows == 1


def test_a_sum_that_does_not_fit_raises_for_its_tenant_alone(engine: Engine) -> None:
    most = Decimal("99999999999999999999")
    costs = {TENANTS[0]: [cost(most), cost(most, description="again")], TENANTS[1]: [cost("1")]}
    terms = {tenant_id: Terms(book()) for tenant_id in costs}
    with pytest.raises(TooLarge):
        derive(engine, batch_of(costs, {}, {}, terms))
    with pytest.raises(TooLarge):
        derive(engine, batch_of({}, {TENANTS[0]: [usage(2**63 - 1), usage(1, speed="fast")]}, {}, terms))
    other = batch_of({TENANTS[1]: [cost("1")]}, {}, {}, {TENANTS[1]: Terms(book())})
    assert derive(engine, other).spend.num_rows == 1


def test_only_what_is_wanted_is_made(engine: Engine) -> None:
    batch = one_line()
    for table in RESULTS:
        found = derive(engine, batch, frozenset({table}))
        assert {name for name in found._fields if getattr(found, name).num_rows} == {table}


def one_line(own: Terms | None = None) -> Batch:
    terms = {TENANTS[0]: own or Terms(book())}
    lines = [cost("4")], [usage(MILLION)], [key_usage("a", MILLION)]
    return batch_of(*({TENANTS[0]: one} for one in lines), terms)
