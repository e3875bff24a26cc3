"""Old books, bad snapshots, full disks and killed runs leave nothing stale unseen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stax_pipeline.checks.rules import SPEND_IS_CURRENT
from stax_pipeline.checks.runner import run_rule, run_rules
from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.pipeline import publish_reports
from stax_pipeline.pipeline.build_batch import Books
from stax_pipeline.pipeline.publish_batch import Stores
from stax_pipeline.pipeline.publish_spend import publish_spend
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.simulator.faults import Fault
from stax_pipeline.warehouse.agreements import record_commitments
from stax_pipeline.warehouse.tenants import all_tenants
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import (
    COST,
    DAYS,
    FIRST,
    LAST,
    change,
    fetch,
    on,
    query,
    sync,
    times,
    two_tenants,
)
from stax_pipeline_tests.pipeline.test_history import dearer, replayed
from stax_pipeline_tests.pipeline.test_published_once import acme

HOUR = timedelta(hours=1)


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        sync(installation)
        yield installation


class TestNames:
    def test_one_bad_snapshot_does_not_stop_names_for_ever(self, made: Installation) -> None:
        def bad(page: Any, _: str) -> None:
            page["data"][0]["name"] = 7

        change(made, "/v1/organizations/api_keys", Fault(change=bad))
        made.clock.now += timedelta(minutes=10)
        sync(made)
        made.simulator.faults.clear()
        made.clock.now += timedelta(minutes=10)
        assert sync(made).failures == {}

    def test_an_entry_listed_twice_does_not_stop_names_for_ever(self, made: Installation) -> None:
        def twice(page: Any, _: str) -> None:
            page["data"].append(dict(page["data"][0]))

        change(made, "/v1/organizations/api_keys", Fault(change=twice))
        made.clock.now += timedelta(minutes=10)
        sync(made)
        made.simulator.faults.clear()
        made.clock.now += timedelta(minutes=10)
        assert sync(made).failures == {}


class TestStaleBook:
    def test_a_sync_that_began_before_new_prices_does_not_put_the_old_ones_back(self, made: Installation) -> None:
        with made.engine.connect() as connection:
            books = Books(made.engine, made.lake, made.settings.settle)
            tenants = all_tenants(connection)
        dearer(made, 2)
        replayed(made)
        versions = "select distinct tenant_id, usage_date, price_book_version from stax.spend order by 1, 2"
        replayed_with = query(made, versions)
        publish_spend(books, tenants, DAYS)  # the last step of the sync that began before
        assert query(made, versions) == replayed_with
        with made.engine.connect() as connection:
            assert run_rule(connection, SPEND_IS_CURRENT, DAYS, made.clock.now, made.settings).holds


class TestPricesBeforeAnythingWasShown:
    def test_days_first_fetched_in_the_run_that_records_new_prices_are_not_restated(self, made: Installation) -> None:
        """The graph fetches beside the price book: a new package's prices may come after the pages."""
        made.clock.now += timedelta(days=1)
        window = Window(FIRST, DAYS.end + timedelta(days=1))
        with made.engine.connect() as connection:
            tenants = all_tenants(connection)
        for report in (Report.USAGE, Report.COST):
            fetch(made, report, tenants, window)
        dearer(made, 2)
        sync(made, window, reports=[])
        found = query(
            made,
            "select distinct usage_date, description from stax.restatements where kind = 'price' and"
            " usage_date >= :d order by 1",
            d=DAYS.end,
        )
        assert found == []


class TestOutOfSpace:
    def test_a_lake_that_cannot_be_written_stops_one_tenant(self, made: Installation) -> None:
        """The refusal is written into the lake: where that fails, the other tenants go on and the reason is kept."""
        change(made, COST, on(FIRST, times("0.1")))
        made.clock.now += timedelta(minutes=10)
        with made.engine.connect() as connection:
            tenants = all_tenants(connection)
        for report in (Report.USAGE, Report.COST):
            fetch(made, report, tenants, DAYS)
        tenants = sorted(tenants, key=lambda t: t.slug)

        class Full(type(made.lake)):  # type: ignore[misc]
            def put_new(self, path: str, data: bytes) -> None:
                raise OSError(28, "No space left on device")

        stores = Stores(made.engine, Full(made.settings.lake), made.settings.settle)
        outcome = publish_reports.publish_cost(stores, tenants, DAYS)
        assert set(outcome.failures) == {"acme"}


class TestStalePriceAccuracy:
    def test_a_run_killed_before_the_price_accuracy_is_seen_by_a_check(self, made: Installation) -> None:
        change(made, COST, on(FIRST, times("0.6")))
        made.clock.now += timedelta(minutes=10)
        with made.engine.connect() as connection:
            tenants = all_tenants(connection)
        for report in (Report.USAGE, Report.COST):
            fetch(made, report, tenants, DAYS)
        stores = Stores(made.engine, made.lake, made.settings.settle)
        books = Books(made.engine, made.lake, made.settings.settle)
        publish_reports.publish_usage(stores, tenants, DAYS)
        publish_reports.publish_cost(stores, tenants, DAYS)
        publish_spend(books, tenants, DAYS)
        now = made.clock.now
        with made.engine.connect() as connection:
            findings = [f.rule.name for f in run_rules(connection, DAYS, now, made.settings) if not f.holds]
        print(findings)
        shown = query(
            made,
            "select sum(reported_usd) as usd from stax.reconciliation join stax.tenants using (tenant_id)"
            " where slug = 'acme' and usage_date = :d",
            d=FIRST,
        )[0].usd
        held = query(
            made,
            "select sum(amount_usd) as usd from stax.cost_lines join stax.tenants using (tenant_id) where"
            " slug = 'acme' and usage_date = :d and cost_type = 'tokens'",
            d=FIRST,
        )[0].usd
        assert shown == held or findings


class TestVanishedUnderNewTerms:
    def test_a_line_gone_under_new_terms_is_told_as_zero(self, made: Installation) -> None:
        models = [
            r.model
            for r in query(
                made, "select distinct model from stax.spend where service_tier = 'priority' and model <> '' order by 1"
            )
        ]
        one = Commitment("C-1", models[0], 100000, 100000, Decimal(31000), FIRST, LAST)
        for commitment in (one, one._replace(starts_on=LAST)):
            with made.engine.begin() as connection:
                record_commitments(connection, acme(made).tenant_id, [commitment])
            made.clock.now += timedelta(minutes=10)
            assert sync(made).failures == {}
        found = query(
            made,
            "select count(*) as n from stax.restatements where kind = 'price' and new_usd is null and"
            " old_usd is not null",
        )
        assert found[0].n == 0


class TestNamesStuck:
    def test_a_workspace_made_between_two_requests_does_not_stop_names_and_replay_for_ever(
        self, made: Installation
    ) -> None:
        def made_meanwhile(page: Any, _: str) -> None:
            page["data"].append({**page["data"][0], "id": "wrkspc_new", "name": "new"})

        # only one of the two listings knows it, once
        made.simulator.faults.add(
            Fault(change=made_meanwhile), key=made.simulator.keys["acme"], path="/v1/organizations/workspaces", nth=2
        )
        made.clock.now += timedelta(minutes=10)
        sync(made)
        for _ in range(2):
            made.clock.now += timedelta(minutes=10)
            failures = sync(made).failures
        print(failures, [o.failures for o in replayed(made)])
        assert failures == {}
        assert all(o.failures == {} for o in replayed(made))
