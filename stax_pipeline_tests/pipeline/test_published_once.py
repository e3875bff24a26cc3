"""An extraction is judged once and published once; replay and as-of go by what was published."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.pipeline import publish_reports
from stax_pipeline.pipeline.history import Archive, spend_as_of
from stax_pipeline.pipeline.isolation import no_progress
from stax_pipeline.pipeline.publish_batch import Stores
from stax_pipeline.pipeline.replay_from_lake import restore_extractions
from stax_pipeline.pipeline.rules_engine import rules_engine
from stax_pipeline.pricing.prices import shipped_prices
from stax_pipeline.simulator.faults import Fault
from stax_pipeline.warehouse.prices import read_book, record_prices
from stax_pipeline.warehouse.tenants import all_tenants, tenants_to_sync
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import (
    COST,
    DAYS,
    FIRST,
    LAST,
    USAGE,
    change,
    content,
    execute,
    fetch,
    on,
    query,
    sync,
    times,
    two_tenants,
    usd_by_day,
)
from stax_pipeline_tests.pipeline.test_history import DERIVED, again, dearer, replayed

HOUR = timedelta(hours=1)


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        sync(installation)
        yield installation


def acme(made: Installation) -> Any:
    with made.engine.connect() as connection:
        return tenants_to_sync(connection, ["acme"])[0]


def fetch_only(made: Installation, report: Report, window: Window = DAYS) -> None:
    """A sync that is killed after its extraction was recorded."""
    made.clock.now += timedelta(minutes=10)
    assert fetch(made, report, [acme(made)], window).failures == {}


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, Any]:
    found = {}
    for name in before:
        gone, come = (
            [r for r in before[name] if r not in after[name]],
            [r for r in after[name] if r not in before[name]],
        )
        if before[name] != after[name]:
            found[name] = (len(gone), len(come), gone[:2], come[:2])
    return found


def unit_price(made: Installation, factor: int) -> None:
    with made.engine.begin() as connection:
        known = [p for p in shipped_prices() if p.cost_type == "tokens"]
        record_prices(
            connection,
            [p._replace(usd_per_unit=p.usd_per_unit * factor, source="import") for p in known],
            imported=True,
        )


def _times_100(page: Any, _: str) -> None:
    for bucket in page["data"]:
        for row in bucket["results"]:
            row["amount"] = str(Decimal(row["amount"]) * 100)


class TestJudgedTwice:
    def test_a_wrong_price_takes_no_published_extraction_back(self, made: Installation) -> None:
        before = content(made)
        unit_price(made, 1000)  # someone takes USD per 1M for cents per 1k
        made.clock.now += timedelta(minutes=10)
        sync(made)
        unit_price(made, 1)  # corrected
        wrong = query(
            made,
            "select distinct c.usage_date, e.error from stax.coverage c join stax.extractions e using (extraction_id) "
            "where e.error is not null",
        )
        assert wrong == []
        replayed(made)
        after = content(made)
        assert before["cost_lines"] == after["cost_lines"]

    def test_as_of_survives_a_wrong_price(self, made: Installation) -> None:
        now = query(made, "select clock_timestamp() as at")[0].at
        held = sum(usd_by_day(made, "acme", "reported").values())
        unit_price(made, 1000)
        made.clock.now += timedelta(minutes=10)
        sync(made)
        with made.engine.connect() as connection, rules_engine(made.lake) as rules:
            lines = spend_as_of(Archive(connection, made.lake, made.settings.settle, rules), acme(made), DAYS, now)
        assert sum((x.cost_usd or 0 for x in lines if x.cost_source == "reported"), Decimal(0)) == held


class TestRawDamage:
    def test_a_raw_object_restored_from_a_backup_counts_again(self, made: Installation) -> None:
        content(made)
        uri = query(
            made,
            "select raw_uri from stax.extractions join stax.tenants using (tenant_id) "
            "where slug = 'acme' and report = 'cost_report'",
        )[0].raw_uri
        path = Path(made.settings.lake) / uri
        whole = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(whole[:-5])
        made.clock.now += timedelta(minutes=10)
        print(sync(made).failures)
        path.write_bytes(whole)
        sync(made)
        print(replayed(made))
        assert query(made, "select error from stax.extractions where error is not null") == []


class TestReplayBesideSync:
    def test_replay_publishes_nothing_the_unit_guard_would_hold(self, made: Installation) -> None:
        before = usd_by_day(made, "acme", "reported")
        change(made, COST, Fault(change=_times_100))
        fetch_only(made, Report.COST)
        replayed(made)
        assert usd_by_day(made, "acme", "reported") == before

    def test_replay_publishes_nothing_the_shrink_guard_would_hold(self, made: Installation) -> None:
        before = usd_by_day(made, "acme", "reported")
        change(made, COST, on(FIRST, times("0.1")))
        fetch_only(made, Report.COST)
        replayed(made)
        assert usd_by_day(made, "acme", "reported") == before

    def test_what_replay_published_unjudged_is_not_refused_while_it_is_current(self, made: Installation) -> None:
        change(made, COST, on(FIRST, times("0.1")))
        fetch_only(made, Report.COST)
        replayed(made)
        made.clock.now += timedelta(minutes=10)
        print(sync(made).failures)
        wrong = query(
            made, "select * from stax.coverage join stax.extractions e using (extraction_id) where e.error is not null"
        )
        assert wrong == []


class TestEquality:
    def test_a_price_corrected_back_before_the_next_sync(self, made: Installation) -> None:
        dearer(made, 2)
        with made.engine.begin() as connection:
            model = [p for p in read_book(connection).prices if p.source == "import"]
            record_prices(connection, [p._replace(usd_per_unit=p.usd_per_unit / 2) for p in model], imported=True)
        again(made)
        before = content(made)
        replayed(made)
        assert differences(before, content(made)) == {}

    def test_a_narrow_sync_after_a_killed_wide_one(self, made: Installation) -> None:
        change(made, COST, on(FIRST, times("0.9")))
        fetch_only(made, Report.COST)
        made.clock.now += timedelta(minutes=10)
        sync(made, Window(LAST, DAYS.end))
        before = content(made)
        replayed(made)
        assert differences(before, content(made)) == {}

    def test_names_that_came_out_of_order(self, made: Installation) -> None:
        """The slow one of two syncs began earlier, on the day before, and ends later; in between a key was deleted."""

        def add(page: Any, _: str) -> None:
            page["data"].append({**page["data"][0], "id": "apikey_gone", "name": "gone"})

        made.clock.now -= timedelta(days=1)
        change(made, "/v1/organizations/api_keys", Fault(change=add))
        sync(made, reports=[Report.ORGANIZATION])
        made.simulator.faults.clear()
        before = content(made)
        replayed(made)
        assert differences(before, content(made)) == {}

    def test_published_by_two_in_the_same_second(self, made: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
        """One lists what to publish, another overtakes it with a later one of the same second."""
        stores = Stores(made.engine, made.lake, made.settings.settle)
        made.clock.now += timedelta(minutes=10)
        change(made, COST, on(FIRST, times("0.9")))
        assert fetch(made, Report.COST, [acme(made)]).failures == {}
        with made.engine.connect() as connection:
            listed = publish_reports.unpublished(connection, [acme(made).tenant_id], Report.COST, DAYS)
        made.simulator.faults.clear()
        change(made, COST, on(FIRST, times("0.8")))
        assert fetch(made, Report.COST, [acme(made)]).failures == {}
        assert publish_reports.publish_cost(stores, [acme(made)], DAYS).failures == {}
        newest = content(made)
        monkeypatch.setattr(publish_reports, "unpublished", lambda *_: listed)
        overtaken = publish_reports.publish_cost(stores, [acme(made)], DAYS)
        assert (overtaken.rows, overtaken.failures) == (0, {})
        monkeypatch.undo()
        assert content(made) == newest
        sync(made, reports=[])
        before = content(made)
        replayed(made)
        assert differences(before, content(made)) == {}


class TestUsageFault:
    def test_a_fault_of_usage_takes_no_published_cost_back(self, made: Installation) -> None:
        """Tokens ×100 from the source: nobody made a mistake here, and the cost extraction was good."""
        before = content(made, "acme")["cost_lines"]
        for day in DAYS.days:
            change(made, USAGE, on(day, times("100")))
        made.simulator.faults.clear()

        def hundredfold(page: Any, _: str) -> None:
            for bucket in page["data"]:
                bucket["results"] = times("100")(bucket["results"])

        change(made, USAGE, Fault(change=hundredfold))
        made.clock.now += timedelta(minutes=10)
        print(sync(made).failures)
        replayed(made)
        assert content(made, "acme")["cost_lines"] == before


class TestFromLake:
    def test_an_accepted_shrink_and_a_refused_one_come_back(self, made: Installation) -> None:
        change(made, COST, on(FIRST, times("0.1")))
        made.clock.now += timedelta(minutes=10)
        assert "acme" in sync(made).failures
        made.clock.now += timedelta(minutes=10)
        assert sync(made, accept_shrink=True).failures == {}
        before = content(made)
        execute(made, "; ".join(f"delete from stax.{t}" for t in (*DERIVED, "publications", "extractions")))
        with made.engine.connect() as connection:
            tenants = all_tenants(connection)
        assert restore_extractions(made.engine, made.lake, tenants, no_progress).failures == {}
        replayed(made)
        assert differences(before, content(made)) == {}


class TestVerdictOutsideTheLock:
    def test_what_another_sync_accepts_meanwhile_is_not_refused(
        self, made: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One sync finds the day shrunk, another with --accept-shrink publishes it before the refusal is written."""
        change(made, COST, on(FIRST, times("0.1")))
        fetch_only(made, Report.COST)
        stores = Stores(made.engine, made.lake, made.settings.settle)
        accepting = Stores(made.engine, made.lake, made.settings.settle, accept_shrink=True)
        real = publish_reports.refuse_raw

        def overtaken(*args: Any) -> None:
            monkeypatch.setattr(publish_reports, "refuse_raw", real)
            assert publish_reports.publish_cost(accepting, [acme(made)], DAYS).failures == {}
            real(*args)

        monkeypatch.setattr(publish_reports, "refuse_raw", overtaken)
        publish_reports.publish_cost(stores, [acme(made)], DAYS)
        wrong = query(
            made, "select 1 from stax.coverage join stax.extractions e using (extraction_id) where e.error is not null"
        )
        assert wrong == []


class TestCurrentPublishedAgain:
    def test_rows_read_by_older_rules_do_not_fail_the_next_sync(self, made: Installation) -> None:
        """After an upgrade that reads pages otherwise, nothing is restated by reading them again."""
        change(made, COST, on(FIRST, times("0.9")))
        again(made)
        execute(
            made,
            "update stax.cost_lines set amount_usd = amount_usd + 0.01 where usage_date = :d and token_type"
            " = 'output_tokens'",
            d=FIRST,
        )
        made.clock.now += timedelta(minutes=10)
        assert sync(made).failures == {}
        same = query(made, "select count(*) as n from stax.restatements where old_extraction_id = new_extraction_id")
        assert same[0].n == 0
