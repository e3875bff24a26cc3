"""Rules of what people read and sign: a view that loses or invents something is found, fees tie to the digit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stax_pipeline.checks.rule import Rule
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.checks.views import (
    COMMITMENTS_TIE_TO_FEE,
    INVOICES_MATCH,
    RESTATEMENTS_TIE_TO_COST_LINES,
    VIEWS_TIE_TO_TABLES,
)
from stax_pipeline.domain.extraction import Window
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import DAYS, FIRST, LAST, sync, two_tenants

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SUMMED = (
    "spend_daily",
    "spend_monthly",
    "tier_mix",
    "effective_prices",
    "spend_by_key_daily",
    "usage_tokens",
    "cache_savings",
)
ACME = "(select tenant_id from stax.tenants where slug = 'acme')"
COST_DIMENSIONS = "workspace_id, description, cost_type, token_type, model, service_tier, context_window, inference_geo"


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        assert sync(installation).failures == {}
        yield installation


@pytest.fixture
def admin(made: Installation) -> Iterator[sa.Connection]:
    """May change views, and passes row-level security; what a test does is taken back."""
    engine = sa.create_engine(logins(made.settings).admin)
    with engine.connect() as connection:
        yield connection
        connection.rollback()
    engine.dispose()


NOVEMBER = Window(date(2026, 11, 1), date(2026, 12, 1))


def broken(
    made: Installation, connection: sa.Connection, rule: Rule, window: Window = DAYS
) -> list[tuple[object, ...]]:
    return list(run_rule(connection, rule, window, NOON, made.settings).rows)


def redefine(connection: sa.Connection, name: str, definition: str) -> None:
    """Make the view what `definition` selects; `{}` stands for what it is."""
    found = str(connection.exec_driver_sql(f"select pg_get_viewdef('stax.{name}'::regclass)").scalar_one())
    query = definition.format(f"({found.rstrip().rstrip(';')})")
    connection.exec_driver_sql(f"create or replace view stax.{name} with (security_invoker = true) as {query}")


class TestViewsTieToTables:
    @pytest.mark.parametrize("name", SUMMED)
    def test_a_view_that_leaves_something_out_is_found(
        self, made: Installation, admin: sa.Connection, name: str
    ) -> None:
        kept = "tenant = 'globex' or model is distinct from 'claude-sonnet-5-5'"
        redefine(admin, name, f"select * from {{}} v where {kept}")
        found = broken(made, admin, VIEWS_TIE_TO_TABLES, NOVEMBER)
        assert {(row[0], row[2]) for row in found} == {("acme", name)}

    @pytest.mark.parametrize("name", SUMMED)
    def test_a_view_that_counts_twice_is_found(self, made: Installation, admin: sa.Connection, name: str) -> None:
        redefine(admin, name, "select v.* from {} v cross join generate_series(1, 2)")
        found = broken(made, admin, VIEWS_TIE_TO_TABLES, NOVEMBER)
        assert {row[2] for row in found} == {name}
        assert all(row[4] == 2 * row[3] for row in found)

    def test_the_days_outside_the_window_are_not_looked_at(self, made: Installation, admin: sa.Connection) -> None:
        redefine(admin, "spend_daily", f"select * from {{}} v where usage_date <> '{FIRST}'")
        assert [row[:3] for row in broken(made, admin, VIEWS_TIE_TO_TABLES)] == [
            ("acme", FIRST, "spend_daily"), ("globex", FIRST, "spend_daily"),
        ]  # fmt: skip
        assert broken(made, admin, VIEWS_TIE_TO_TABLES, Window(LAST, DAYS.end)) == []


def test_invoices_of_an_incomplete_month_are_not_judged(made: Installation, admin: sa.Connection) -> None:
    add = f"insert into stax.invoices values ({ACME}, '2026-11-01', now(), 1, '')"
    admin.exec_driver_sql(add)
    assert broken(made, admin, INVOICES_MATCH) == []


class TestFees:
    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        fee=st.decimals(0, 10**9, places=2) | st.decimals(0, 10**6, places=18),
        before=st.integers(0, 400),
        after=st.integers(0, 400),
        off=st.sampled_from([Decimal(0), Decimal("1e-18"), Decimal("-1e-18")]),
    )
    def test_a_day_ties_to_its_fee_to_the_last_digit(
        self, made: Installation, admin: sa.Connection, fee: Decimal, before: int, after: int, off: Decimal
    ) -> None:
        starts, ends = FIRST - timedelta(days=before), LAST + timedelta(days=after)
        commitment = Commitment("c", "claude-opus-4-8", 10, 10, fee, starts, ends)
        with admin.begin_nested() as point:
            admin.execute(
                sa.text(f"insert into stax.commitments values ('c', now(), {ACME}, 'm', 10, 10, :fee, :starts, :ends)"),
                {"fee": fee, "starts": starts, "ends": ends},
            )
            for day in days(FIRST, LAST):
                bear(admin, day, commitment.fee_of(day) + (off if day == LAST else 0))
            found = broken(made, admin, COMMITMENTS_TIE_TO_FEE, Window(FIRST, LAST + timedelta(days=1)))
            point.rollback()
        assert [row[1] for row in found] == ([LAST] if off else [])

    def test_half_a_digit_goes_to_the_even_one(self, made: Installation, admin: sa.Connection) -> None:
        """Two days of 0.000…003: the first half is 1.5 digits, to 2; the other is what is left, 1."""
        fee = Decimal("0.000000000000000003")
        admin.execute(
            sa.text(f"insert into stax.commitments values ('c', now(), {ACME}, 'm', 1, 1, :fee, :starts, :ends)"),
            {"fee": fee, "starts": FIRST, "ends": FIRST + timedelta(days=1)},
        )
        bear(admin, FIRST, Decimal("2e-18"))
        bear(admin, FIRST + timedelta(days=1), Decimal("1e-18"))
        assert broken(made, admin, COMMITMENTS_TIE_TO_FEE) == []

    def test_a_superseded_commitment_has_no_fee(self, made: Installation, admin: sa.Connection) -> None:
        admin.exec_driver_sql(
            f"insert into stax.commitments values ('c', now(), {ACME}, 'm', 1, 1, 9, '{FIRST}', '{LAST}', now())"
        )
        assert broken(made, admin, COMMITMENTS_TIE_TO_FEE) == []

    def test_days_outside_the_run_are_looked_at(self, made: Installation, admin: sa.Connection) -> None:
        """Recorded after its days were built: no line bears the fee. A line of a superseded term is found too."""
        admin.exec_driver_sql(
            f"insert into stax.commitments values ('c', now(), {ACME}, 'm', 1, 1, 9, '{FIRST}', '{FIRST}', null), "
            f"('d', now(), {ACME}, 'm', 1, 1, 9, '{FIRST}', '{FIRST}', now())"
        )
        later = Window(LAST, LAST + timedelta(days=1))
        assert broken(made, admin, COMMITMENTS_TIE_TO_FEE, later) == [("acme", FIRST, "c", Decimal(9), None)]
        bear(admin, FIRST, Decimal(9))
        assert broken(made, admin, COMMITMENTS_TIE_TO_FEE, later) == []
        admin.exec_driver_sql("update stax.spend set commitment_id = 'd' where commitment_id = 'c'")
        assert broken(made, admin, COMMITMENTS_TIE_TO_FEE, later) == [
            ("acme", FIRST, "c", Decimal(9), None), ("acme", FIRST, "d", None, Decimal(9)),
        ]  # fmt: skip

    def test_a_line_outside_every_term_is_found_on_the_days_of_the_run(
        self, made: Installation, admin: sa.Connection
    ) -> None:
        admin.exec_driver_sql(
            f"insert into stax.commitments values ('c', now(), {ACME}, 'm', 1, 1, 0, '2026-01-01', '2026-01-01')"
        )
        bear(admin, LAST, Decimal(4))
        found = broken(made, admin, COMMITMENTS_TIE_TO_FEE, Window(LAST, LAST + timedelta(days=1)))
        assert found == [("acme", LAST, "c", None, Decimal(4))]

    def test_the_open_day_is_not_judged(self, made: Installation, admin: sa.Connection) -> None:
        today = LAST + timedelta(days=1)
        admin.exec_driver_sql(
            f"insert into stax.commitments values ('c', now(), {ACME}, 'm', 1, 1, 9, '{today}', '{today}')"
        )
        bear(admin, today, Decimal(4))
        assert broken(made, admin, COMMITMENTS_TIE_TO_FEE) == []


class TestRestatements:
    def test_the_last_change_counts(self, made: Installation, admin: sa.Connection) -> None:
        add = f"""
            insert into stax.restatements (usage_date, tenant_id, kind, {COST_DIMENSIONS}, speed, seen_at, old_usd,
                                           new_usd, reason)
            select usage_date, tenant_id, 'cost', {COST_DIMENSIONS}, '', now() + :hours * interval '1 hour', 0,
                   sum(amount_usd) + :off, ''
            from stax.cost_lines where usage_date = :day group by usage_date, tenant_id, {COST_DIMENSIONS}
        """
        admin.execute(sa.text(add), {"day": FIRST, "hours": 0, "off": 7})
        assert broken(made, admin, RESTATEMENTS_TIE_TO_COST_LINES) != []
        admin.execute(sa.text(add), {"day": FIRST, "hours": 1, "off": 0})
        assert broken(made, admin, RESTATEMENTS_TIE_TO_COST_LINES) == []

    def test_what_is_gone_is_zero(self, made: Installation, admin: sa.Connection) -> None:
        admin.exec_driver_sql(
            f"insert into stax.restatements (usage_date, tenant_id, kind, {COST_DIMENSIONS}, speed, seen_at, "
            f"old_usd, new_usd, reason) values ('{FIRST}', {ACME}, 'cost', 'gone', {', '.join(['%s'] * 7)}, '', "
            "now(), 9, 0, 'vanished')",
            ("",) * 7,
        )
        assert broken(made, admin, RESTATEMENTS_TIE_TO_COST_LINES) == []


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def bear(connection: sa.Connection, day: date, usd: Decimal) -> None:
    """An unused part of commitment `c` that bears so many dollars."""
    columns = (
        "usage_date, tenant_id, line, workspace_id, model, cost_type, token_type, service_tier, context_window, "
        "inference_geo, speed, description, unit, cost_source, cost_usd, effective_cost_usd, pricing_unit, "
        "price_source, price_book_version, commitment_id, cost_line_count"
    )
    connection.execute(
        sa.text(f"insert into stax.spend ({columns}) values (:day, {ACME}, 1000000, '', 'm', 'tokens', "
                "'output_tokens', 'priority', '', '', '', '', 'tokens', 'commitment-unused', 0, :usd, '', '', '', 'c', "
                "0)"),
        {"day": day, "usd": usd},
    )  # fmt: skip
