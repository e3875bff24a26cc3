"""What changed after the fact is written down, can be asked for as of an earlier instant, and survives a replay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stax_pipeline.checks.rules import SPEND_IS_CURRENT
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.derive.spend import SpendLine
from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.domain.money import sum_usd
from stax_pipeline.pipeline.build_batch import Books
from stax_pipeline.pipeline.history import Archive, spend_as_of
from stax_pipeline.pipeline.isolation import Outcome, no_progress
from stax_pipeline.pipeline.replay import replay
from stax_pipeline.pipeline.replay_from_lake import restore_extractions
from stax_pipeline.pipeline.rules_engine import rules_engine
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.contract_rates import ContractRate
from stax_pipeline.pricing.prices import ListPrice
from stax_pipeline.simulator.faults import Fault
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.agreements import record_commitments, record_rates, withdraw_rate
from stax_pipeline.warehouse.prices import read_book, record_prices
from stax_pipeline.warehouse.tenants import all_tenants
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

DERIVED = (
    "cost_lines", "usage_lines", "usage_by_key", "coverage", "workspaces", "api_keys", "members", "restatements",
    *("spend", "spend_totals", "spend_day_totals", "spend_by_key", "reconciliation"),
)  # fmt: skip
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    """Both tenants, synced."""
    with two_tenants(stax_home) as installation:
        sync(installation)
        yield installation


def again(made: Installation, **more: Any) -> None:
    """The next sync, ten minutes later."""
    made.clock.now += TEN_MINUTES
    assert sync(made, **more).failures == {}


def replayed(made: Installation) -> list[Outcome]:
    with made.engine.connect() as connection:
        tenants = all_tenants(connection)
    books = Books(made.engine, made.lake, made.settings.settle)
    return list(replay(books, made.settings.source, tenants, DAYS, lambda stage, unit="tenant-days": no_progress))


def restated(made: Installation, kind: str) -> list[Any]:
    return query(
        made,
        "select * from stax.restatements join stax.tenants using (tenant_id) where kind = :kind"
        " order by usage_date, seen_at, token_type",
        kind=kind,
    )


def dearer(made: Installation, factor: int | Decimal = 2) -> list[ListPrice]:
    """Every list price of a Priority model on the days at hand, multiplied; returns what was recorded."""
    [(model,)] = query(
        made, "select distinct model from stax.spend where cost_source = 'priority-reconstructed' order by 1 limit 1"
    )
    with made.engine.begin() as connection:
        known = [price for price in read_book(connection).prices if price.model == model]
        changed = [price._replace(usd_per_unit=price.usd_per_unit * factor, source="import") for price in known]
        record_prices(connection, changed, imported=True)
    return changed


class TestRestatements:
    def test_a_first_sync_restates_nothing_and_neither_does_a_second(self, made: Installation) -> None:
        again(made)
        assert query(made, "select * from stax.restatements") == []

    def test_a_changed_amount_is_told_line_by_line(self, made: Installation) -> None:
        before = usd_by_day(made, "acme", "reported")
        change(made, COST, on(FIRST, times("0.9")))
        again(made)
        found = restated(made, "cost")
        assert {(row.slug, row.usage_date, row.reason) for row in found} == {
            ("acme", FIRST, "changed at a later extraction")
        }
        assert sum_usd(row.old_usd for row in found) == before[FIRST]
        assert sum_usd(row.new_usd for row in found) == before[FIRST] * Decimal("0.9")
        assert all(row.difference_usd == row.new_usd - row.old_usd for row in found)
        assert {row.old_extraction_id for row in found}.isdisjoint(row.new_extraction_id for row in found)
        newest = query(
            made,
            "select max(published_at) as at from stax.publications join stax.tenants using (tenant_id)"
            " where report = 'cost_report' and slug = 'acme'",
        )[0].at
        assert {row.seen_at for row in found} == {newest}

    def test_a_line_that_vanishes_becomes_zero_and_one_that_comes_has_no_past(self, made: Installation) -> None:
        dropped: list[Any] = []

        def swap(rows: list[Any]) -> list[Any]:
            dropped.append(rows[0])
            new = {**rows[0], "description": "Something new", "token_type": "new_tokens", "model": "claude-new"}
            return [*rows[1:], new]

        change(made, COST, on(FIRST, swap))
        again(made)
        by_reason = {row.reason.split()[0]: row for row in restated(made, "cost")}
        gone, come = by_reason["vanished"], by_reason["appeared"]
        assert (gone.new_usd, gone.old_usd) == (0, Decimal(dropped[0]["amount"]) / 100)
        assert (come.old_usd, come.new_usd, come.description) == (None, gone.old_usd, "Something new")

    def test_changed_tokens_are_told_by_token_type(self, made: Installation) -> None:
        change(made, USAGE, on(FIRST, times("2")))
        again(made)
        found = restated(made, "usage")
        assert {row.usage_date for row in found} == {FIRST}
        assert all(row.new_quantity == 2 * row.old_quantity and row.old_usd is None for row in found)
        assert {row.cost_type for row in found} == {"tokens"}

    def test_the_open_day_grows_without_being_restated(self, made: Installation) -> None:
        made.clock.now += timedelta(hours=5)
        sync(made)
        assert query(made, "select * from stax.restatements") == []

    def test_a_cost_that_comes_late_is_no_restatement(self, stax_home: Path) -> None:
        with two_tenants(stax_home) as made:
            change(made, COST, on(LAST, lambda _: []))
            sync(made)
            made.simulator.faults.clear()
            again(made)
            assert usd_by_day(made, "acme", "reported").keys() >= {LAST}
            assert restated(made, "cost") == []

    def test_an_accepted_shrink_has_its_history(self, made: Installation) -> None:
        before = usd_by_day(made, "acme", "reported")
        change(made, COST, on(FIRST, lambda _: []))
        made.clock.now += TEN_MINUTES
        assert "shrunk" in sync(made).failures["acme"][0]
        assert restated(made, "cost") == []
        again(made, accept_shrink=True)
        found = restated(made, "cost")
        assert sum_usd(row.old_usd for row in found) == before[FIRST]
        assert {row.new_usd for row in found} == {0}

    def test_every_extraction_between_two_publishes_counts(self, made: Installation) -> None:
        change(made, COST, on(FIRST, times("0.9")))
        with made.engine.connect() as connection:
            tenants = all_tenants(connection)
        made.clock.now += TEN_MINUTES
        fetch(made, Report.COST, tenants)  # and the run is killed before it publishes
        made.simulator.faults.clear()
        again(made)
        found = restated(made, "cost")
        assert len({row.seen_at for row in found}) == 2
        assert sum_usd(row.difference_usd for row in found) == 0

    def test_a_new_price_restates_reconstructed_dollars(self, made: Installation) -> None:
        before = usd_by_day(made, "acme", "priority-reconstructed")
        changed = dearer(made)
        again(made)
        found = [row for row in restated(made, "price") if row.slug == "acme"]
        moved = [row for row in found if row.description == "cost_usd"]
        after = usd_by_day(made, "acme", "priority-reconstructed")
        assert sum_usd(row.difference_usd for row in moved if row.usage_date == FIRST) == after[FIRST] - before[FIRST]
        assert {row.model for row in found} == {changed[0].model}
        assert all(row.new_usd == 2 * row.old_usd for row in moved)
        assert {row.description for row in found} == {"cost_usd", "contracted_cost_usd", "effective_cost_usd"}
        assert "under new list prices" in moved[0].reason
        again(made)
        assert len([row for row in restated(made, "price") if row.slug == "acme"]) == len(found)

    def test_usage_and_prices_that_change_together_are_told_apart(self, made: Installation) -> None:
        """What was shown first is what was on the screen, never the new usage at the old prices."""
        before = usd_by_day(made, "acme", "priority-reconstructed")[FIRST]
        change(made, USAGE, on(FIRST, times("2")))
        dearer(made, Decimal("0.9"))
        again(made)
        after = usd_by_day(made, "acme", "priority-reconstructed")[FIRST]
        assert before < after < 2 * before
        [found] = query(made, RESTATED, day=FIRST)
        assert (found.kind, found.old_usd, found.new_usd) == ("price and usage-dollars", before, after)
        assert (found.usage_difference_usd, found.price_difference_usd) == (before, after - 2 * before)
        assert found.difference_usd == after - before

    def test_usage_that_moves_reconstructed_dollars_has_a_dollar_row(self, made: Installation) -> None:
        before = usd_by_day(made, "acme", "priority-reconstructed")[FIRST]
        change(made, USAGE, on(FIRST, times("2")))
        again(made)
        [found] = query(made, RESTATED, day=FIRST)
        assert (found.kind, found.old_usd, found.new_usd) == ("usage-dollars", before, 2 * before)
        assert (found.usage_difference_usd, found.price_difference_usd) == (before, 0)
        again(made)
        assert query(made, RESTATED, day=FIRST) == [found]

    def test_usage_that_moves_estimated_dollars_has_a_dollar_row(self, stax_home: Path) -> None:
        with two_tenants(stax_home) as made:
            change(made, COST, on(LAST, lambda _: []))
            sync(made)
            before = usd_by_day(made, "acme", "usage-estimated")[LAST]
            change(made, USAGE, on(LAST, times("2")))
            again(made)
            after = usd_by_day(made, "acme", "usage-estimated")[LAST]
            [found] = query(made, RESTATED, day=LAST)
            priority = usd_by_day(made, "acme", "priority-reconstructed")[LAST] / 2
            assert found.difference_usd == after - before + priority

    def test_prices_of_a_day_first_shown_open_restate_nothing(self, stax_home: Path) -> None:
        with two_tenants(stax_home, now=datetime(2026, 11, 21, 12, tzinfo=UTC)) as made:
            sync(made, Window(FIRST, DAYS.end - timedelta(days=1)))
            made.clock.now += timedelta(days=1)
            dearer(made)
            sync(made)
            assert query(made, RESTATED, day=LAST) == []

    def test_a_rate_recorded_and_withdrawn_leaves_no_restatement(self, made: Installation) -> None:
        rate = ContractRate("claude-*", "*", "*", FIRST, None, Decimal("0.1"), None)
        for synced_between in (False, True):
            with made.engine.begin() as connection:
                tenant_id = next(one for one in all_tenants(connection) if one.slug == "acme").tenant_id
                record_rates(connection, tenant_id, [rate])
            if synced_between:
                again(made)
                assert query(made, RESTATED, day=FIRST) != []
            with made.engine.begin() as connection:
                withdraw_rate(connection, tenant_id, rate[:4])
            again(made)
            assert query(made, "select * from stax.restated_days") == []
            assert query(made, "select * from stax.restatements") == []
            assert not any(row.restated for row in query(made, "select restated from stax.completeness"))


RESTATED = (
    "select * from stax.restated_days where tenant = 'acme' and measure = 'cost_usd' and usage_date = :day"
)  # fmt: skip


class TestWhatIsOutOfDate:
    """New terms make out of date what they price otherwise: days and tenants that use it, and no others."""

    def stale(self, made: Installation) -> set[tuple[str, date]]:
        with made.engine.connect() as connection:
            found = run_rule(connection, SPEND_IS_CURRENT, DAYS, made.clock.now, made.settings)
        return {(row[0], row[1]) for row in found.rows}

    def users(self, made: Installation, model: str, first: date, speeds: str = "standard") -> set[tuple[str, date]]:
        rows = query(
            made,
            "select distinct slug, usage_date from stax.usage_lines join stax.tenants using (tenant_id) "
            "where model = :model and usage_date >= :first and speed = :speeds",
            model=model, first=first, speeds=speeds,
        )  # fmt: skip
        return {(row.slug, row.usage_date) for row in rows}

    def test_one_price_of_one_model(self, made: Installation) -> None:
        [(model,)] = query(made, "select min(model) from stax.usage_lines where speed = 'standard' and model <> ''")
        without = Fault(change=lambda page, _: leave_out(page, model))
        made.simulator.faults.add(without, key=made.simulator.keys["globex"], path=USAGE, times=None)
        again(made, accept_shrink=True)
        assert self.stale(made) == set()
        with made.engine.begin() as connection:
            known = next(
                one for one in read_book(connection).prices
                if one.model == model and one.speed == "standard" and one.token_type == "output_tokens"
            )  # fmt: skip
            dearer_now = known._replace(usd_per_unit=known.usd_per_unit * 3, effective_from=LAST, source="import")
            record_prices(connection, [dearer_now], imported=True)
        expected = self.users(made, model, LAST)
        assert self.stale(made) == expected
        assert expected == {("acme", LAST), ("acme", LAST + timedelta(days=1))}
        replayed(made)
        assert self.stale(made) == set()

    def test_a_price_that_nobody_uses_and_one_that_was_over(self, made: Installation) -> None:
        with made.engine.begin() as connection:
            book = read_book(connection).prices
            future = book[-1]._replace(effective_from=DAYS.end, source="import")
            unused = book[0]._replace(model="claude-nobody-uses", usd_per_unit=Decimal(7), source="import")
            record_prices(connection, [future, unused], imported=True)
        assert self.stale(made) == set()

    def test_a_rate_and_a_commitment_of_one_tenant(self, made: Installation) -> None:
        [(model,)] = query(
            made,
            "select min(model) from stax.spend where cost_source = 'priority-reconstructed' and service_tier <> ''",
        )
        with made.engine.begin() as connection:
            tenant_id = next(one for one in all_tenants(connection) if one.slug == "acme").tenant_id
            record_rates(
                connection, tenant_id, [ContractRate(model, "*", "*", FIRST, FIRST, Decimal("0.1"), None)]
            )  # fmt: skip
        assert self.stale(made) <= {("acme", FIRST)}
        fee = Commitment("c", "claude-opus-4-8", 9, 9, Decimal(30), LAST, LAST)
        with made.engine.begin() as connection:
            record_commitments(connection, tenant_id, [fee])
        assert self.stale(made) - {("acme", FIRST)} == {("acme", LAST)}


def leave_out(page: Any, model: str) -> None:
    for bucket in page["data"]:
        bucket["results"] = [row for row in bucket["results"] if row["model"] != model]


def as_of(made: Installation, instant: datetime) -> list[SpendLine]:
    with made.engine.connect() as connection, rules_engine(made.lake) as rules:
        tenant = next(one for one in all_tenants(connection) if one.slug == "acme")
        return spend_as_of(Archive(connection, made.lake, made.settings.settle, rules), tenant, DAYS, instant)


def now(made: Installation) -> datetime:
    return query(made, "select clock_timestamp() as now")[0].now  # type: ignore[no-any-return]


class TestAsOf:
    def test_what_was_shown_then_is_what_is_rebuilt(self, made: Installation) -> None:
        shown = [SpendLine(*row) for row in _spend(made)]
        then = now(made)
        change(made, COST, on(FIRST, times("0.9")))
        change(made, USAGE, on(LAST, times("1.5")))
        dearer(made)
        again(made)
        assert as_of(made, then) == shown
        assert as_of(made, now(made)) == [SpendLine(*row) for row in _spend(made)] != shown

    def test_before_the_first_extraction_there_was_nothing(self, made: Installation) -> None:
        assert as_of(made, now(made) - timedelta(days=1)) == []


def _spend(made: Installation) -> list[Any]:
    columns = ", ".join(f"s.{name}" for name in SpendLine._fields)
    return query(
        made,
        f"select {columns} from stax.spend s join stax.tenants t using (tenant_id) where t.slug = 'acme'"
        " order by s.usage_date, s.line",
    )


def eventful(made: Installation) -> None:
    """Amounts, tokens, prices, rates and a commitment that change, a shrink refused and one accepted."""
    change(made, COST, on(FIRST, times("0.9")))
    change(made, USAGE, on(LAST, times("1.5")))
    again(made)
    changed = dearer(made)
    again(made)
    with made.engine.begin() as connection:
        acme = next(one for one in all_tenants(connection) if one.slug == "acme").tenant_id
        rate = ContractRate("claude-*", "*", "*", FIRST, None, Decimal("0.1"), None)
        record_rates(connection, acme, [rate])
        month = FIRST + timedelta(29)
        fee = Commitment("acme-1", changed[0].model, 100_000, 20_000, Decimal("3000"), FIRST, month)
        record_commitments(connection, acme, [fee])
    again(made)
    change(made, COST, on(FIRST, lambda _: []))
    made.clock.now += TEN_MINUTES
    sync(made)
    again(made, accept_shrink=True)


class TestReplay:
    def test_everything_thrown_away_comes_back(self, made: Installation) -> None:
        eventful(made)
        before = content(made)
        assert {row.kind for row in query(made, "select distinct kind from stax.restatements")} == {
            "cost", "usage", "price", "usage-dollars",
        }  # fmt: skip
        assert query(made, "select 1 from stax.spend where cost_source = 'commitment-unused'")
        for table in DERIVED:
            execute(made, f"delete from stax.{table}")
        made.simulator.faults.clear()
        asked = len(made.simulator.requests)
        assert [outcome.failures for outcome in replayed(made)] == [{}] * 4
        assert len(made.simulator.requests) == asked
        assert content(made) == before

    def test_a_replay_over_what_stands_changes_nothing(self, made: Installation) -> None:
        eventful(made)
        before = content(made)
        replayed(made)
        assert content(made) == before

    def test_extractions_come_back_from_the_lake(self, made: Installation) -> None:
        eventful(made)
        before = content(made)
        kept = extraction_facts(made)
        execute(made, "delete from stax.coverage")
        execute(made, "delete from stax.publications")
        execute(made, "delete from stax.extractions where raw_uri is not null")
        with made.engine.connect() as connection:
            tenants = all_tenants(connection)
        outcome = restore_extractions(made.engine, made.lake, tenants, no_progress)
        assert (outcome.failures, outcome.rows) == ({}, len(kept))
        assert extraction_facts(made) == kept
        assert restore_extractions(made.engine, made.lake, tenants, no_progress).rows == 0
        replayed(made)
        assert content(made) == before

    def test_a_cut_object_is_told_and_the_others_come_back(self, made: Installation) -> None:
        [(path, extraction)] = query(
            made,
            "select raw_uri, extraction_id from stax.extractions join stax.tenants using (tenant_id)"
            " where slug = 'acme' and report = 'usage_report'",
        )
        execute(made, "delete from stax.coverage")
        execute(made, "delete from stax.publications")
        execute(made, "delete from stax.extractions")
        whole = made.lake.get(path)
        made.lake.delete(path)
        made.lake.put_new(path, whole[: len(whole) // 2])
        with made.engine.connect() as connection:
            tenants = all_tenants(connection)
        outcome = restore_extractions(made.engine, made.lake, tenants, no_progress)
        assert path in outcome.failures["acme"]
        assert outcome.failures.keys() == {"acme"}
        held = {row.extraction_id for row in query(made, "select extraction_id from stax.extractions")}
        assert len(held) == 5
        assert extraction not in held


def extraction_facts(made: Installation) -> list[str]:
    names = ", ".join(c.name for c in tables.extractions.columns if c.name != "recorded_at")
    return sorted(map(repr, query(made, f"select {names} from stax.extractions where raw_uri is not null")))


def test_rows_that_no_extraction_stands_for_do_not_survive_a_replay(made: Installation) -> None:
    execute(made, "delete from stax.coverage where report = 'cost_report'")
    execute(made, "delete from stax.publications where report = 'cost_report'")
    execute(made, "delete from stax.extractions where report = 'cost_report'")
    replayed(made)
    assert query(made, "select 1 from stax.cost_lines") == []
    assert query(made, "select 1 from stax.spend where cost_source = 'reported'") == []
