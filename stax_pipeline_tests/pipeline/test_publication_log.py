"""A commitment and a restated day as the product writes them: what the views show of them, and that the rules hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from stax_pipeline.checks.rule import Rule
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.checks.views import COMMITMENTS_TIE_TO_FEE, RESTATEMENTS_TIE_TO_COST_LINES, VIEWS_TIE_TO_TABLES
from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.exports.contents import Dataset, Wanted, columns_of, rows_as_of
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.simulator import Simulator, truth
from stax_pipeline.warehouse.publication_log import now
from stax_pipeline.warehouse.tenants import get_tenant
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import (
    DAYS,
    FIRST,
    TODAY,
    execute,
    query,
    small_organizations,
    sync,
    two_tenants,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
COMMITMENT = Commitment(
    "c", "claude-sonnet-4-5-20250929", 900, 9000, Decimal(100), date(2026, 11, 20), date(2026, 11, 26)
)


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    """acme with a commitment, and a first day whose cost was read as 4 % lower on the evening after."""
    acme, globex = small_organizations()
    with two_tenants(stax_home, acme, globex, now=datetime(2026, 11, 20, 18, tzinfo=UTC)) as installation:
        columns = ", ".join(COMMITMENT._fields)
        values = ", ".join(f":{name}" for name in COMMITMENT._fields)
        execute(
            installation,
            f"insert into stax.commitments ({columns}, tenant_id, recorded_at) "
            f"select {values}, tenant_id, now() from stax.tenants where slug = 'acme'",
            **COMMITMENT._asdict(),
        )
        with (
            Simulator([replace(acme, discount=Decimal("0.04")), globex], clock=installation.clock) as cheaper,
            pytest.MonkeyPatch.context() as environment,
        ):
            environment.setenv("STAX_ANTHROPIC_BASE_URL", cheaper.base_url)
            assert sync(installation, Window(FIRST, date(2026, 11, 20))).failures == {}
        installation.clock.now = NOON
        assert sync(installation).failures == {}
        yield installation


@pytest.mark.parametrize(
    "rule", [COMMITMENTS_TIE_TO_FEE, RESTATEMENTS_TIE_TO_COST_LINES, VIEWS_TIE_TO_TABLES], ids=lambda rule: rule.name
)
def test_the_rules_hold(made: Installation, rule: Rule) -> None:
    with made.engine.connect() as connection:
        assert list(run_rule(connection, rule, DAYS, NOON, made.settings).rows) == []


def test_the_fee_is_shown_once_in_every_view(made: Installation) -> None:
    fee = COMMITMENT.fee_until(TODAY, 715)
    for period in ("day", "month"):
        utilisation = "select sum(fee_usd) as usd from stax.commitment_utilisation where period = :period"
        assert query(made, utilisation, period=period)[0].usd == fee
    checked = {
        row.tenant: row.usd for row in query(made, "select tenant, commitment_fee_usd as usd from stax.invoice_check")
    }
    assert checked == {"acme": fee, "globex": 0}
    effective = "select sum(effective_cost_usd) as usd from stax.{} where tenant = 'acme'"
    totals = {query(made, effective.format(view))[0].usd for view in ("spend_daily", "tier_mix", "spend_by_key_daily")}
    assert len(totals) == 1


def test_an_export_as_of_then_shows_the_names_of_then(made: Installation) -> None:
    acme, globex = (made.simulator.organizations[name] for name in ("acme", "globex"))
    with made.engine.connect() as connection:
        then = now(connection)
    before = names_as_of(made, then)
    renamed = replace(acme, workspaces=tuple(replace(one, name=f"New {one.name}") for one in acme.workspaces))
    made.clock.now += timedelta(days=1)  # names are read once a day
    with Simulator([renamed, globex], clock=made.clock) as later, pytest.MonkeyPatch.context() as environment:
        environment.setenv("STAX_ANTHROPIC_BASE_URL", later.base_url)
        assert sync(made, reports=(Report.ORGANIZATION,)).failures == {}
    assert names_as_of(made, then) == before
    with made.engine.connect() as connection:
        after = names_as_of(made, now(connection))
    assert after == {key: name and f"New {name}" for key, name in before.items()} != before


def names_as_of(made: Installation, instant: datetime) -> dict[str, str | None]:
    with made.engine.connect() as connection:
        wanted = Wanted(Dataset.SPEND, get_tenant(connection, "acme"))
        names = [column.name for column in columns_of(connection, wanted)]
        rows = [
            dict(zip(names, row, strict=True))
            for row in rows_as_of(connection, made.lake, wanted, instant, made.settings)
        ]
    return {str(row["workspace_id"]): row["workspace_name"] for row in rows}


def test_more_and_less_burned_than_committed_on_the_open_day(made: Installation) -> None:
    into, out = query(
        made,
        "select direction, utilisation_ratio, committed_units, unused_units from stax.commitment_utilisation "
        "where period = 'day' and period_start = :day order by direction",
        day=TODAY,
    )
    assert (into.direction, into.committed_units, into.unused_units) == ("input", 900 * 715, 0)
    assert (out.direction, out.committed_units) == ("output", 9000 * 715)
    assert into.utilisation_ratio > 1 > out.utilisation_ratio


def test_the_restated_day_says_what_it_said_and_what_it_says(made: Installation) -> None:
    [found] = query(made, "select * from stax.restated_days")
    usd = truth(made.simulator.organizations["acme"], FIRST).reported_usd
    assert (found.tenant, found.usage_date, found.kind, found.new_usd) == ("acme", FIRST, "cost", usd)
    assert found.old_usd == usd * Decimal("0.96")
    assert found.difference_usd == found.new_usd - found.old_usd
    explained = query(made, "select sum(usd) as usd from stax.invoice_differences where kind = 'restated'")
    assert explained[0].usd == found.difference_usd
    marked = query(made, "select usage_date from stax.completeness where tenant = 'acme' and restated")
    assert [row.usage_date for row in marked] == [FIRST]
