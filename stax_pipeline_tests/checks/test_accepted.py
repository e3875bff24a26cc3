"""Tokens that somebody else pays for: one cause in words, one finding that can be accepted, nothing else silenced."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stax_pipeline.alerts.causes import Kind
from stax_pipeline.alerts.facts import judge
from stax_pipeline.checks.rules import EVERY_COST_LINE_MET, EVERY_USAGE_BILLED
from stax_pipeline.checks.runner import Finding, run_rule, run_rules
from stax_pipeline.derive.reconciliation import Cause
from stax_pipeline.domain.acceptance import Acceptance
from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.tenants.acceptances import accept, withdraw
from stax_pipeline.tenants.agreements import suggested_rates
from stax_pipeline.warehouse.tenants import get_tenant
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import (
    COST,
    DAYS,
    FIRST,
    LAST,
    USAGE,
    Row,
    change,
    execute,
    on,
    query,
    sync,
    two_tenants,
)
from stax_pipeline_tests.pipeline.test_odd_costs import every_day

CHECK = EVERY_USAGE_BILLED.name
MODEL = "claude-opus-5-5"
DIMENSIONS = {
    "model": MODEL, "service_tier": "standard", "context_window": "0-200k", "inference_geo": "global",
    "workspace_id": None, "api_key_id": None, "account_id": None,
}  # fmt: skip


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        yield installation


def used(output: int) -> Row:
    return {
        **DIMENSIONS, "uncached_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": output,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "server_tool_use": {"web_search_requests": 0},
    }  # fmt: skip


def billed(cents: str) -> Row:
    described = {name: DIMENSIONS[name] for name in ("model", "service_tier", "context_window", "inference_geo")}
    return {
        **described, "amount": cents, "currency": "USD", "cost_type": "tokens", "token_type": "output_tokens",
        "description": "Claude Opus 5.5 Usage - Output Tokens", "workspace_id": None,
    }  # fmt: skip


def use(made: Installation, output: int, cents: str | None) -> None:
    """Every day so many output tokens of one model, of which so many cents were billed; fast mode was not used."""
    usage = every_day(lambda _: [used(output)])
    made.simulator.faults.add(
        every_day(lambda _: []), key=made.simulator.keys["acme"], path=USAGE, times=None,
        when=lambda params: ("speeds[]", "fast") in params,
    )  # fmt: skip
    change(made, USAGE, usage)
    change(made, COST, every_day(lambda _: [] if cents is None else [billed(cents)]))


def found(made: Installation, rule: Any = EVERY_USAGE_BILLED) -> Finding:
    with made.engine.connect() as connection:
        return run_rule(connection, rule, DAYS, made.clock.now, made.settings)


def broken(made: Installation) -> set[str]:
    with made.engine.connect() as connection:
        return {f.rule.name for f in run_rules(connection, DAYS, made.clock.now, made.settings) if not f.holds}


def alerts(made: Installation) -> set[Kind]:
    with made.engine.connect() as connection:
        return {cause.kind for cause in judge(connection, made.settings, made.clock.now, {}).causes}


def tenant(made: Installation, slug: str = "acme") -> Tenant:
    with made.engine.connect() as connection:
        return get_tenant(connection, slug)


class TestTokensWithoutCost:
    def test_forty_million_tokens_of_which_ten_were_billed(self, made: Installation) -> None:
        use(made, 40_000_000, "20000")  # 10M output tokens at $20
        ran = sync(made)
        assert ran.failures == {}  # no unit mismatch
        [row] = query(
            made,
            "select priced_usd, reported_usd, ratio, cause from stax.reconciliation join stax.tenants using (tenant_id)"
            f" where slug = 'acme' and usage_date = '{FIRST}'",
        )
        assert (row.priced_usd, row.reported_usd, row.ratio) == (800, 200, 4)
        assert row.cause == "tokens without cost: blocked, or billed to another organization"
        told = found(made)
        assert [row for row in told.rows if row[1] == FIRST] == [("acme", FIRST, Decimal(600), Decimal(200))]
        assert broken(made) == {CHECK}

    def test_however_many_days_no_rate_is_suggested(self, made: Installation) -> None:
        made.clock.now += timedelta(days=3)
        window = type(DAYS)(FIRST - timedelta(days=10), DAYS.end)
        use(made, 40_000_000, "20000")
        assert sync(made, window).failures == {}
        with made.engine.connect() as connection:
            assert suggested_rates(connection, tenant(made)) == []

    def test_no_dollar_at_all_is_the_same_finding(self, made: Installation) -> None:
        def some(rows: list[Row]) -> list[Row]:
            return [row for row in rows if row["cost_type"] != "tokens" or "opus" not in row["model"]]

        change(made, COST, on(FIRST, some))
        assert sync(made).failures == {}
        assert ("acme", FIRST) in {row[:2] for row in found(made).rows}
        assert "price_book_matches_bill" not in broken(made)


class TestAccepted:
    @pytest.fixture
    def made(self, stax_home: Path) -> Iterator[Installation]:
        with two_tenants(stax_home) as installation:
            installation.clock.now += timedelta(days=2)  # every day but the open one is settled
            use(installation, 40_000_000, "20000")
            sync(installation)
            yield installation

    def days(self, made: Installation) -> list[date]:
        return [row[1] for row in found(made).rows if row[0] == "acme"]

    def test_an_accepted_finding_is_not_told_and_comes_back_when_it_is_withdrawn(self, made: Installation) -> None:
        assert self.days(made) == [FIRST, FIRST + timedelta(days=1), LAST]
        assert Kind.PRICE_ACCURACY in alerts(made)
        accept(made.engine, tenant(made), Acceptance(CHECK, FIRST, None, "billed to the reseller"))
        assert (self.days(made), found(made).accepted) == ([], 3)
        assert Kind.PRICE_ACCURACY not in alerts(made)
        withdraw(made.engine, tenant(made), CHECK, FIRST)
        assert self.days(made) == [FIRST, FIRST + timedelta(days=1), LAST]
        assert Kind.PRICE_ACCURACY in alerts(made)
        kept = query(made, "select note, superseded_at from stax.accepted_findings")
        assert [(row.note, row.superseded_at is None) for row in kept] == [("billed to the reseller", False)]

    def test_it_holds_for_its_days_alone(self, made: Installation) -> None:
        second = FIRST + timedelta(days=1)
        accept(made.engine, tenant(made), Acceptance(CHECK, second, second, "one day"))
        assert self.days(made) == [FIRST, LAST]

    def test_it_holds_for_its_tenant_alone(self, made: Installation) -> None:
        accept(made.engine, tenant(made, "globex"), Acceptance(CHECK, FIRST, None, "another's"))
        assert self.days(made) == [FIRST, FIRST + timedelta(days=1), LAST]

    def test_it_silences_no_other_check_and_no_other_cause(self, made: Installation) -> None:
        execute(
            made,
            "update stax.reconciliation set cause = 'unexplained' where usage_date = :day and tenant_id = "
            "(select tenant_id from stax.tenants where slug = 'acme')",
            day=FIRST,
        )
        before = broken(made) - {CHECK}
        assert "price_book_matches_bill" in before
        accept(made.engine, tenant(made), Acceptance(CHECK, FIRST, None, "billed to the reseller"))
        assert broken(made) == before
        assert Kind.PRICE_ACCURACY in alerts(made)

    @pytest.mark.parametrize("check", ["price_book_matches_bill", "no_such_check", ""])
    def test_no_other_finding_can_be_accepted(self, made: Installation, check: str) -> None:
        with pytest.raises(WrongUse, match="cannot be accepted: expected every_usage_billed"):
            accept(made.engine, tenant(made), Acceptance(check, FIRST, None, "no"))
        assert query(made, "select 1 from stax.accepted_findings") == []

    def test_another_end_or_note_replaces_what_was_accepted_from_that_day(self, made: Installation) -> None:
        for last, note in ((None, "first"), (LAST, "first"), (LAST, "second"), (LAST, "second")):
            accept(made.engine, tenant(made), Acceptance(CHECK, FIRST, last, note))
        held = query(made, "select note, effective_to from stax.accepted_findings where superseded_at is null")
        assert [tuple(row) for row in held] == [("second", LAST)]
        assert len(query(made, "select 1 from stax.accepted_findings")) == 3


class TestDollarsWithoutUsage:
    def test_they_are_kept_without_a_quantity_and_named(self, made: Installation) -> None:
        change(made, COST, on(FIRST, lambda rows: [*rows, billed("1200") | {"model": "claude-haiku-5-5"}]))
        change(made, USAGE, every_day(lambda rows: [row for row in rows if row["model"] != "claude-haiku-5-5"]))
        assert sync(made).failures == {}
        [line] = query(
            made,
            "select sum(cost_usd) as usd, max(quantity) as quantity, min(cost_source) as source from stax.spend "
            "join stax.tenants using (tenant_id) "
            f"where slug = 'acme' and usage_date = '{FIRST}' and model = 'claude-haiku-5-5' and quantity is null",
        )
        assert line.usd >= 12 and (line.quantity, line.source) == (None, "reported")
        told = {(row[0], row[1], row[2]) for row in found(made, EVERY_COST_LINE_MET).rows}
        assert ("acme", FIRST, "claude-haiku-5-5") in told
        rows = query(
            made,
            "select distinct ratio, cause from stax.reconciliation join stax.tenants using (tenant_id) "
            f"where slug = 'acme' and usage_date = '{FIRST}' and model = 'claude-haiku-5-5'",
        )
        assert {(row.ratio, row.cause) for row in rows} == {(None, str(Cause.NO_USAGE))}
        assert "price_book_matches_bill" not in broken(made)
