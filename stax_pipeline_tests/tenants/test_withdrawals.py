"""What was handed in by mistake is taken back: it holds no more, stays on record, and makes room for what is right."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.pricing.invoices import Invoice
from stax_pipeline.pricing.prices import shipped_prices
from stax_pipeline.tenants.agreements import import_invoice, import_prices, import_rates
from stax_pipeline.tenants.withdrawals import withdraw_commitment, withdraw_invoice, withdraw_prices, withdraw_rate
from stax_pipeline.warehouse.agreements import read_commitments, read_rates
from stax_pipeline.warehouse.prices import read_book
from stax_pipeline.warehouse.tenants import get_tenant
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.tenants.agreements_support import (
    ACME,
    GLOBEX,
    IN,
    OUT,
    PRICES,
    RATE,
    RATES,
    lines,
    made,
    on_record,
    standing,
)

__all__ = ["made", "standing"]
JANUARY = date(2026, 1, 1)


def tenant(made: Installation, slug: str) -> Tenant:
    with made.engine.connect() as connection:
        return get_tenant(connection, slug)


def discounts(made: Installation, tenant_id: UUID) -> list[tuple[str, Decimal | None]]:
    with made.engine.connect() as connection:
        return [(rate.model_pattern, rate.discount) for rate in read_rates(connection, tenant_id).rates]


def test_a_withdrawn_rate_makes_room_for_a_narrower_one_of_the_same_day(made: Installation) -> None:
    import_rates(
        made.engine, "f.csv", lines(RATES, f"{RATE},,0.15,", "globex,claude-opus-4-5,*,*,2026-01-01,,0.1,").encode()
    )
    narrower = lines(RATES, "acme,claude-opus-*,*,*,2026-01-01,,0.15,").encode()
    with pytest.raises(WrongUse, match="overlaps what is on record"):
        import_rates(made.engine, "f.csv", narrower)
    assert withdraw_rate(made.engine, tenant(made, "acme"), "claude-*", "*", "*", JANUARY).discount == Decimal("0.15")
    assert discounts(made, ACME) == []
    import_rates(made.engine, "f.csv", narrower)
    assert discounts(made, ACME) == [("claude-opus-*", Decimal("0.15"))]
    withdraw_rate(made.engine, tenant(made, "globex"), "claude-opus-4-5", "*", "*", JANUARY)
    assert discounts(made, GLOBEX) == [("claude-opus-5", Decimal("0.1"))]
    assert sum("claude-*" in row for row in on_record(made)) == 1


def test_a_withdrawn_commitment_burns_no_more(made: Installation) -> None:
    assert withdraw_commitment(made.engine, "g-1").model == "claude-opus-5"
    with made.engine.connect() as connection:
        assert read_commitments(connection, GLOBEX) == ()
    with pytest.raises(WrongUse, match="There is no commitment 'g-1'"):
        withdraw_commitment(made.engine, "g-1")


def test_an_invoice_that_was_never_recorded_is_not_withdrawn(made: Installation) -> None:
    acme = tenant(made, "acme")
    import_invoice(made.engine, acme, Invoice(JANUARY, Decimal(7), ""))
    assert withdraw_invoice(made.engine, acme, JANUARY, "").amount_usd == 7
    for slug in ("acme", "globex"):
        with pytest.raises(WrongUse, match=f"{slug} has no invoice of 2026-01 on record. Nothing was changed."):
            withdraw_invoice(made.engine, tenant(made, slug), JANUARY, "")


def test_withdrawn_prices_give_way_to_the_shipped_ones(made: Installation) -> None:
    with made.engine.connect() as connection:
        version = read_book(connection).version
    own = lines(PRICES, f"claude-opus-5,2026-07-24,{OUT},24", f"claude-opus-9,2026-11-01,{OUT},24",
                f"claude-opus-9,2026-11-01,{IN},5")  # fmt: skip
    web = lines(f"{PRICES},cost_type", ",2026-11-01,,12,web_search")
    for text in (own, web):
        import_prices(made.engine, "f.csv", text.encode())
    closed, back = withdraw_prices(made.engine, "claude-opus-5", date(2026, 7, 24), None, None, None)
    assert [price.usd_per_unit for price in (*closed, *back)] == [24, 25]
    closed, back = withdraw_prices(made.engine, "claude-opus-9", date(2026, 11, 1), IN, "all", "standard")
    assert ([price.token_type for price in closed], back) == ([IN], [])
    withdraw_prices(made.engine, "claude-opus-9", date(2026, 11, 1), None, None, None)
    withdraw_prices(made.engine, "web_search", date(2026, 11, 1), None, None, None)
    with made.engine.connect() as connection:
        assert read_book(connection).version == version
        kept = connection.execute(sa.text("select count(*) from stax.list_prices where superseded_at is not null"))
        assert kept.scalar_one() == 5
        assert len(read_book(connection).prices) == len(shipped_prices())
        gap = sa.text(
            "select count(*) from stax.list_prices where superseded_at is not null and model = 'claude-opus-5' and not "
            "superseded_at = any(select recorded_at from stax.list_prices)"
        )
        assert connection.execute(gap).scalar_one() == 0


@pytest.mark.parametrize(
    ("model", "first", "speed"),
    [("claude-opus-5", date(2026, 7, 24), None), ("claude-opus-9", date(2026, 11, 2), None),
     ("claude-opus-9", date(2026, 11, 1), "fast")],
)  # fmt: skip
def test_what_was_never_imported_is_not_withdrawn(
    made: Installation, model: str, first: date, speed: str | None
) -> None:
    import_prices(made.engine, "f.csv", lines(PRICES, f"claude-opus-9,2026-11-01,{OUT},24").encode())
    before = on_record(made)
    with pytest.raises(WrongUse, match="No imported price"):
        withdraw_prices(made.engine, model, first, None, None, speed)
    with pytest.raises(WrongUse, match="acme has no rate"):
        withdraw_rate(made.engine, tenant(made, "acme"), "claude-opus-5", "*", "*", JANUARY)
    assert on_record(made) == before
