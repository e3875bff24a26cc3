"""From the source to dollars, against the simulator's own arithmetic: exact, repeatable, and equal after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.pipeline import build_batch, publish_batch, publish_reports
from stax_pipeline.simulator import faults, realistic_organization, truth
from stax_pipeline.simulator.billing import cost_lines
from stax_pipeline.warehouse.tenants import all_tenants
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import (
    COST,
    DAYS,
    FIRST,
    LAST,
    TODAY,
    content,
    execute,
    fetch,
    query,
    sync,
    true_usd,
    two_tenants,
    usd_by_day,
)

COMPLETE = [FIRST, FIRST + timedelta(days=1), LAST]


@pytest.fixture(scope="module")
def synced(stax_home: Path) -> Iterator[Installation]:
    """Both tenants after one run; tests only read."""
    with two_tenants(stax_home) as made:
        ran = sync(made)
        assert ran.failures == {}
        yield made


class TestAgainstTheTruth:
    @pytest.mark.parametrize("slug", ["acme", "globex"])
    def test_reported_dollars_are_the_cost_report_exactly(self, synced: Installation, slug: str) -> None:
        assert usd_by_day(synced, slug, "reported") == true_usd(synced, slug, COMPLETE)

    @pytest.mark.parametrize("slug", ["acme", "globex"])
    def test_priority_dollars_are_tokens_times_price_exactly(self, synced: Installation, slug: str) -> None:
        found = usd_by_day(synced, slug, "priority-reconstructed")
        organization = synced.simulator.organizations[slug]
        assert {day: found[day] for day in COMPLETE} == {d: truth(organization, d).priority_usd for d in COMPLETE}
        assert found[TODAY] > 0

    @pytest.mark.parametrize("slug", ["acme", "globex"])
    def test_tokens_are_equal_by_model_tier_and_type(self, synced: Installation, slug: str) -> None:
        organization = synced.simulator.organizations[slug]
        for table, figure in (("usage_tokens", "tokens"), ("spend", "quantity")):
            rows = query(
                synced,
                f"select usage_date, model, service_tier, token_type, sum({figure}) as n from stax.{table} "
                f"join stax.tenants t using (tenant_id) where t.slug = '{slug}' and usage_date < '{TODAY}' "
                f"and token_type <> '' group by 1, 2, 3, 4 having sum({figure}) > 0",
            )
            for day in COMPLETE:
                found = {(r.model, r.service_tier, r.token_type): int(r.n) for r in rows if r.usage_date == day}
                assert found == truth(organization, day).tokens, table

    def test_web_searches_are_counted_once(self, synced: Installation) -> None:
        for slug in ("acme", "globex"):
            organization = synced.simulator.organizations[slug]
            expected = sum(truth(organization, day).web_search_requests for day in COMPLETE)
            [row] = query(
                synced,
                "select sum(web_search_requests) as n from stax.usage_lines join stax.tenants using (tenant_id) "
                f"where slug = '{slug}' and usage_date < '{TODAY}'",
            )
            assert row.n == expected > 0

    def test_every_cost_line_of_the_source_is_a_row(self, synced: Installation) -> None:
        rows = query(synced, "select count(*) as n from stax.cost_lines join stax.tenants using (tenant_id)")
        organizations = synced.simulator.organizations.values()
        assert rows[0].n == sum(len(cost_lines(o, day)) for o in organizations for day in COMPLETE)

    def test_the_open_day_has_estimates_and_no_cost(self, synced: Installation) -> None:
        rows = query(synced, f"select distinct cost_source from stax.spend where usage_date = '{TODAY}'")
        assert {row.cost_source for row in rows} == {"usage-estimated", "priority-reconstructed"}
        assert query(synced, f"select 1 from stax.cost_lines where usage_date >= '{TODAY}'") == []

    def test_cost_is_never_asked_for_today(self, synced: Installation) -> None:
        asked = [dict(r.params) for r in synced.simulator.requests if r.path == COST]
        assert asked
        assert {params["ending_at"][:10] for params in asked} == {TODAY.isoformat()}

    def test_spend_by_key_sums_to_spend_with_every_key_of_the_source(self, synced: Installation) -> None:
        sums = "select usage_date, tenant_id, sum(cost_usd) as usd from stax.{} group by 1, 2 order by 1, 2"
        assert query(synced, sums.format("spend")) == query(synced, sums.format("spend_by_key"))
        keys = {row.api_key_id for row in query(synced, "select distinct api_key_id from stax.spend_by_key")}
        listed = {key.id for o in synced.simulator.organizations.values() for key in o.api_keys}
        assert keys - {"", "unattributed"} <= listed
        assert len(keys & listed) >= 2

    def test_the_price_accuracy_is_one_where_nothing_was_negotiated(self, synced: Installation) -> None:
        ratios = {row.ratio for row in query(synced, "select ratio from stax.reconciliation where reported_usd > 0")}
        assert ratios == {Decimal(1)}

    def test_names_are_published(self, synced: Installation) -> None:
        found = {row.workspace_id: row for row in query(synced, "select * from stax.workspaces")}
        organization = synced.simulator.organizations["globex"]
        assert found["default"].is_default
        assert organization.default_workspace.id in {
            r.anthropic_id for r in query(synced, "select anthropic_id from stax.workspaces where is_default")
        }
        assert {w.id for w in organization.workspaces if not w.is_default} <= found.keys()
        assert len(query(synced, "select 1 from stax.members")) == sum(
            len(o.members) for o in synced.simulator.organizations.values()
        )


class TestDiscountAndBlocked:
    def test_a_discount_shows_in_the_ratio_and_blocked_requests_are_listed_unpriced(self, stax_home: Path) -> None:
        organization = realistic_organization(
            "acme", daily_tokens=20_000_000, shared_workspaces=2, discount=Decimal("0.2"), blocked_rate=0.9
        )
        with two_tenants(stax_home, organization) as made:
            ran = sync(made)
            assert (ran.failures, ran.findings) == ({}, [])
            over = [FIRST, FIRST + timedelta(days=1)]
            found = usd_by_day(made, "acme", "reported")
            assert {day: found[day] for day in over} == true_usd(made, "acme", over)
            assert usd_by_day(made, "acme", "unbilled") == {FIRST: Decimal(0)}
            assert {over[1], LAST} <= usd_by_day(made, "acme", "usage-estimated").keys()
            ratios = query(made, "select ratio from stax.reconciliation where model like '%opus%' and ratio > 0")
            assert {row.ratio for row in ratios} == {Decimal("1.25")}
            causes = query(made, "select distinct cause from stax.reconciliation where reported_usd = 0")
            assert "tokens without cost: blocked, or billed to another organization" in {row.cause for row in causes}


class TestRunningAgain:
    def test_running_twice_is_running_once(self, stax_home: Path) -> None:
        with two_tenants(stax_home) as made:
            sync(made)
            once = content(made)
            assert all(once[name] for name in ("spend", "cost_lines", "usage_lines", "usage_by_key", "spend_by_key"))
            assert sync(made).failures == {}
            assert content(made) == once
            assert sync(made, reports=()).failures == {}
            assert content(made) == once
            assert sync(made, Window(LAST, DAYS.end), "acme").failures == {}
            assert content(made) == once

    @pytest.mark.parametrize("kill", ["usage", "cost", "spend"])
    def test_a_killed_publish_is_made_good_by_the_next_run(
        self, stax_home: Path, monkeypatch: pytest.MonkeyPatch, kill: str
    ) -> None:
        with two_tenants(stax_home) as made:
            sync(made)
            oracle = content(made)
        with two_tenants(stax_home) as made:
            module: Any = build_batch if kill == "spend" else publish_batch
            real = module.replace_tenant_days

            def killed(connection: Any, contents: Any, *more: Any) -> Any:
                written = real(connection, contents, *more)
                named = {"usage": "usage_lines", "cost": "cost_lines", "spend": "spend"}[kill]
                if named in {table.name for table in contents}:
                    raise KeyboardInterrupt
                return written

            with monkeypatch.context() as patched:
                patched.setattr(module, "replace_tenant_days", killed)
                with pytest.raises(KeyboardInterrupt):
                    sync(made)
            assert content(made) != oracle
            table = {"usage": "usage_lines", "cost": "cost_lines", "spend": "spend"}[kill]
            assert query(made, f"select 1 from stax.{table}") == []
            sync(made, reports=())
            assert content(made) == oracle


class TestOlderNeverOverNewer:
    def test_an_older_extraction_is_recorded_and_never_published(
        self, stax_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with two_tenants(stax_home) as made:
            with made.engine.connect() as connection:
                tenants = all_tenants(connection)
            half = faults.amounts(lambda cents: str(Decimal(cents) / 2))
            made.simulator.faults.add(half, path=COST, times=2)
            fetch(made, Report.COST, tenants)
            with made.engine.connect() as connection:
                old = publish_reports.unpublished(connection, [t.tenant_id for t in tenants], Report.COST, DAYS)
            assert set(old) == {t.tenant_id for t in tenants}
            made.clock.now += timedelta(minutes=10)
            sync(made)
            after = content(made)
            slow = publish_reports.unpublished

            def picked_long_ago(connection: Any, tenant_ids: Any, report: Report, window: Window) -> Any:
                return old if report is Report.COST else slow(connection, tenant_ids, report, window)

            monkeypatch.setattr(publish_reports, "unpublished", picked_long_ago)
            assert sync(made, reports=()).failures == {}
            assert content(made) == after
            assert usd_by_day(made, "acme", "reported") == true_usd(made, "acme", COMPLETE)

    def test_when_the_newest_stops_counting_the_older_does_not_come_back(self, stax_home: Path) -> None:
        with two_tenants(stax_home) as made:
            made.simulator.faults.add(faults.amounts(lambda cents: str(Decimal(cents) / 2)), path=COST, times=2)
            sync(made)
            made.clock.now += timedelta(minutes=10)
            sync(made)
            execute(made, "update stax.extractions set error = 'later found bad' where extracted_at >= :t",
                    t=made.clock.now)  # fmt: skip
            after = content(made)
            sync(made, reports=())
            assert content(made) == after
