"""Rates, commitments and invoices in the warehouse: corrections supersede, overlaps never land, the past is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import Overlap, WrongUse
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.contract_rates import ContractRate
from stax_pipeline.pricing.invoices import Invoice
from stax_pipeline.pricing.prices import PriceBook
from stax_pipeline.warehouse.agreements import (
    read_commitments,
    read_invoices,
    read_rates,
    read_terms,
    record_commitments,
    record_invoice,
    record_rates,
    withdraw_invoice,
)
from stax_pipeline.warehouse.prices import record_prices
from stax_pipeline.warehouse.tenants import add_tenant
from stax_pipeline_tests.conftest import Installation, installed
from stax_pipeline_tests.derive.builders import list_price

A, B = UUID(int=1), UUID(int=2)
RATE = ContractRate("claude-*", "*", "*", date(2026, 1, 1), None, Decimal("0.1"), None)
COMMITMENT = Commitment("c-1", "claude-opus-5", 100, 20, Decimal(1000), date(2026, 1, 1), date(2026, 1, 31))
MONTH = date(2026, 10, 1)


@pytest.fixture(scope="module")
def standing(stax_home: Path) -> Iterator[Installation]:
    with installed(stax_home) as installation:
        with installation.engine.begin() as connection:
            for tenant_id, slug in ((A, "acme"), (B, "globex")):
                add_tenant(connection, Tenant(tenant_id, slug, slug, slug, "connected", datetime.now(UTC), None))
        yield installation


@pytest.fixture
def made(standing: Installation) -> Installation:
    with standing.engine.begin() as connection:
        for table in ("contract_rates", "commitments", "invoices", "list_prices"):
            connection.execute(sa.text(f"delete from stax.{table}"))
    return standing


def count(made: Installation, table: str) -> int:
    with made.engine.begin() as connection:
        return int(connection.execute(sa.text(f"select count(*) from stax.{table}")).scalar_one())


def clock(made: Installation) -> datetime:
    with made.engine.begin() as connection:
        found: datetime = connection.execute(sa.text("select clock_timestamp()")).scalar_one()
        return found


def test_a_rate_is_added_left_and_replaced_and_the_old_one_can_be_asked_for(made: Installation) -> None:
    with made.engine.begin() as connection:
        assert record_rates(connection, A, [RATE]).added == [RATE]
    with made.engine.begin() as connection:
        assert record_rates(connection, A, [RATE]).unchanged == [RATE]
        assert record_rates(connection, B, [RATE]).added == [RATE]
    before = clock(made)
    ended = RATE._replace(effective_to=date(2026, 6, 30))
    later = RATE._replace(effective_from=date(2026, 7, 1), discount=Decimal("0.2"))
    with made.engine.begin() as connection:
        recorded = record_rates(connection, A, [ended, later])
        assert (recorded.added, recorded.replaced) == ([later], [(RATE, ended)])
        assert read_rates(connection, A).rates == (ended, later)
        assert read_rates(connection, A, before).rates == (RATE,)
        assert read_rates(connection, B).rates == (RATE,)
        assert read_rates(connection, A, datetime(2020, 1, 1, tzinfo=UTC)).rates == ()
    assert count(made, "contract_rates") == 4


def test_a_rate_that_would_overlap_is_refused_with_both_named(made: Installation) -> None:
    with made.engine.begin() as connection:
        record_rates(connection, A, [RATE])
    other = ContractRate("claude-opus-5", "batch", "*", date(2027, 1, 1), None, None, Decimal(3))
    with pytest.raises(Overlap) as refused, made.engine.begin() as connection:
        record_rates(connection, A, [other])
    assert {refused.value.first, refused.value.second} == {RATE, other}
    assert count(made, "contract_rates") == 1


def test_commitments_supersede_by_id_and_an_id_has_one_tenant(made: Installation) -> None:
    with made.engine.begin() as connection:
        record_commitments(connection, A, [COMMITMENT])
    before = clock(made)
    dearer = COMMITMENT._replace(fee_usd=Decimal(1200))
    with made.engine.begin() as connection:
        assert record_commitments(connection, A, [dearer]).replaced == [(COMMITMENT, dearer)]
        assert read_commitments(connection, A) == (dearer,)
        assert read_commitments(connection, A, before) == (COMMITMENT,)
        terms = read_terms(connection, A, PriceBook(()), before)
        assert (terms.rates.rates, terms.commitments) == ((), (COMMITMENT,))
    with pytest.raises(WrongUse, match="commitment c-1 is another tenant's"), made.engine.begin() as connection:
        record_commitments(connection, B, [COMMITMENT])
    second = COMMITMENT._replace(commitment_id="c-2", starts_on=date(2026, 1, 31), ends_on=date(2026, 2, 5))
    with pytest.raises(Overlap), made.engine.begin() as connection:
        record_commitments(connection, A, [second])
    assert count(made, "commitments") == 2


def test_the_invoice_recorded_last_holds(made: Installation) -> None:
    first, second = Invoice(MONTH, Decimal("10.50"), "INV-1"), Invoice(MONTH, Decimal("-2"), "")
    with made.engine.begin() as connection:
        assert record_invoice(connection, A, first).added == [first]
        assert record_invoice(connection, A, first._replace(note="")).unchanged == [first]
        assert record_invoice(connection, A, second).replaced == [(first, second)]
        assert record_invoice(connection, A, second._replace(note="credit")).changed == 1
        assert read_invoices(connection, A) == [second._replace(note="credit")]
        assert read_invoices(connection, B) == []
    assert count(made, "invoices") == 3


def test_a_withdrawn_invoice_is_none_until_the_next_is_recorded(made: Installation) -> None:
    first, second = Invoice(MONTH, Decimal("10.50"), "INV-1"), Invoice(MONTH, Decimal("10.50"), "")
    with made.engine.begin() as connection:
        assert withdraw_invoice(connection, A, MONTH, "") is None
        record_invoice(connection, A, first)
        record_invoice(connection, A, first._replace(month=date(2026, 9, 1)))
        assert withdraw_invoice(connection, B, MONTH, "") is None
        assert withdraw_invoice(connection, A, MONTH, "wrong month") == first
        assert withdraw_invoice(connection, A, MONTH, "") is None
        assert [one.month for one in read_invoices(connection, A)] == [date(2026, 9, 1)]
        assert record_invoice(connection, A, second).added == [second]
        assert second in read_invoices(connection, A)
    assert count(made, "invoices") == 4


def test_concurrent_imports_do_not_both_land_overlapping_rows(made: Installation) -> None:
    overlapping = COMMITMENT._replace(commitment_id="c-2")

    def rate(connection: sa.Connection, number: int) -> None:
        record_rates(connection, A, [RATE, RATE._replace(model_pattern="claude-opus-5")][number : number + 1])

    def commitment(connection: sa.Connection, number: int) -> None:
        record_commitments(connection, A, [(COMMITMENT, overlapping)[number]])

    def same_id(connection: sa.Connection, number: int) -> None:
        record_commitments(connection, (A, B)[number], [COMMITMENT._replace(commitment_id="c-9", model=f"m{number}")])

    def price(connection: sa.Connection, number: int) -> None:
        window = ("all", "0-200k")[number]
        record_prices(connection, [list_price(context_window=window)], imported=True)

    for work in (rate, commitment, same_id, price):
        assert len(race(made, work)) == 1
    assert (count(made, "contract_rates"), count(made, "commitments"), count(made, "list_prices")) == (1, 2, 1)


def race(made: Installation, work: Callable[[sa.Connection, int], None]) -> list[Exception]:
    """Run `work` for 0 and 1, the second begun while the first's transaction is still open; what was refused."""
    refused: list[Exception] = []
    begun = threading.Event()

    def second() -> None:
        try:
            with made.engine.begin() as connection:
                connection.execute(sa.text("select 1"))
                begun.set()
                work(connection, 1)
        except WrongUse as fault:
            refused.append(fault)

    thread = threading.Thread(target=second)
    with made.engine.begin() as connection:
        work(connection, 0)
        thread.start()
        assert begun.wait(10)
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(10)
    return refused
