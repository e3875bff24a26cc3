"""Both sources beside each other, and Priority money that is shown and never added."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stax_pipeline.checks.rules import SOURCES_AGREE
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.cli.commands.status import status
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.simulator import faults, truth
from stax_pipeline_tests.conftest import NOON, Installation
from stax_pipeline_tests.pipeline.analytics_support import (
    CLOSED,
    COST,
    USAGE,
    Page,
    edit,
    figures,
    gaps,
    holds,
    reading,
    with_priority_money,
)
from stax_pipeline_tests.pipeline.support import DAYS, FIRST, LAST, execute, query, sync, true_usd, usd_by_day


@pytest.fixture(scope="module")
def by_reports(stax_home: Path) -> dict[str, Any]:
    """What the reports give: tables, dollars, Priority, price accuracy."""
    with reading(stax_home, "reports") as made:
        assert not sync(made).failures
        return figures(made)


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with reading(stax_home, "analytics") as opened:
        yield opened


@pytest.fixture
def both(stax_home: Path) -> Iterator[Installation]:
    with reading(stax_home, "both") as opened:
        yield opened


class TestPriorityMoney:
    def test_it_is_kept_and_shown_and_never_added(self, stax_home: Path) -> None:
        organization = with_priority_money()
        with reading(stax_home, "analytics", organization, now=NOON) as made:
            assert sync(made).failures == {}
            for day, usd in usd_by_day(made, "acme", "reported").items():
                assert usd == truth(organization, day).reported_usd
            rows = query(made, "select * from stax.source_differences order by usage_date")
            assert [row.usage_date for row in rows] == CLOSED
            for row in rows:
                assert row.analytics_priority_usd == truth(organization, row.usage_date).priority_usd
                assert row.priority_reconstructed_usd == row.analytics_priority_usd
                assert (row.reports_usd, row.analytics_usd, row.difference_usd) == (None, None, None)
            assert query(made, "select 1 from stax.cost_lines where service_tier = 'priority' "
                               "and cost_type = 'tokens'") == []  # fmt: skip
            assert (holds(made), gaps(made)) == ([], [])

    def test_what_was_set_aside_is_tied_to_the_pages(self, stax_home: Path) -> None:
        with reading(stax_home, "analytics", with_priority_money()) as made:
            sync(made)
            execute(made, "delete from stax.source_comparison where usage_date = :day", day=LAST)
            assert [gap.usage_date for gap in gaps(made)] == [LAST]  # type: ignore[attr-defined]

    def test_beside_the_reports_it_makes_no_difference(self, stax_home: Path) -> None:
        organization = with_priority_money("0.1")
        with reading(stax_home, "both", organization) as made:
            assert sync(made).failures == {}
            rows = query(made, "select * from stax.source_differences order by usage_date")
            assert [row.difference_usd for row in rows] == [0, 0, 0]
            for row in rows:
                true = truth(organization, row.usage_date)
                assert row.reports_usd == true.reported_usd
                assert row.analytics_priority_usd == true.priority_usd * Decimal("0.9")
                assert row.priority_reconstructed_usd == true.priority_usd
                assert row.analytics_list_usd == true.reported_usd / Decimal("0.9") + true.priority_usd


class TestBoth:
    def test_the_tables_are_the_reports_and_nothing_differs(
        self, both: Installation, by_reports: dict[str, Any]
    ) -> None:
        ran = sync(both)
        assert (ran.failures, ran.findings) == ({}, [])
        assert figures(both) == by_reports
        rows = query(both, "select * from stax.source_differences order by tenant, usage_date")
        assert [(row.tenant, row.usage_date) for row in rows] == [(s, d) for s in ("acme", "globex") for d in CLOSED]
        for row in rows:
            true = truth(both.simulator.organizations[row.tenant], row.usage_date)
            assert (row.reports_usd, row.analytics_usd) == (true.reported_usd, true.reported_usd)
            assert row.reports_tokens == row.analytics_tokens == sum(true.tokens.values())
            assert (row.difference_usd, row.difference_tokens, row.analytics_priority_usd) == (0, 0, 0)
        assert self.apart(both) == []
        assert gaps(both) == []

    def test_it_is_recorded_as_an_extraction_of_its_own_and_covers_nothing(self, both: Installation) -> None:
        sync(both)
        kinds = query(both, "select distinct report from stax.extractions order by 1")
        assert [row.report for row in kinds] == ["analytics", "cost_report", "organization", "usage_report"]
        assert [r.report for r in query(both, "select distinct report from stax.coverage order by 1")] == [
            "cost_report", "usage_report",
        ]  # fmt: skip

    def test_a_difference_is_found_to_the_row(self, both: Installation) -> None:
        def dearer(page: Page) -> None:
            page["data"][0]["cost"]["amount"] = str(Decimal(page["data"][0]["cost"]["amount"]) + 1)

        acme = both.simulator.keys["acme"]
        edit(COST, dearer, both, key=acme, when=lambda params: ("group_by[]", "model") in params)
        sync(both)
        assert self.apart(both) == [("acme", FIRST, Decimal("0.01"), 0)]
        rows = query(both, "select * from stax.source_comparison where analytics_usd <> reports_usd")
        assert len(rows) == 1
        assert usd_by_day(both, "acme", "reported") == true_usd(both, "acme", CLOSED)

    def test_tokens_that_only_one_source_has_are_found(self, both: Installation) -> None:
        def lost(page: Page) -> None:
            page["data"] = [row for row in page["data"] if not row["starting_at"].startswith(str(LAST))]

        edit(USAGE, lost, both, key=both.simulator.keys["globex"])
        sync(both)
        [(slug, day, usd, tokens)] = self.apart(both)
        assert (slug, day, usd) == ("globex", LAST, 0)
        assert tokens == -sum(truth(both.simulator.organizations["globex"], LAST).tokens.values())

    def test_a_tenant_whose_newer_source_is_closed_keeps_the_reports(self, both: Installation) -> None:
        both.simulator.faults.add(faults.status(400), key=both.simulator.keys["acme"], path=COST, times=None)
        ran = sync(both)
        assert list(ran.failures) == ["acme"]
        assert usd_by_day(both, "acme", "reported") == true_usd(both, "acme", CLOSED)
        assert {row.tenant for row in query(both, "select tenant from stax.source_differences")} == {"globex"}
        told = {one["tenant"]: one["last_error"] for one in json.loads(CliRunner().invoke(status, ["--json"]).output)}
        assert told == {"acme": None, "globex": None}

    def test_days_that_came_from_the_newer_source_are_not_compared_with_themselves(
        self, made: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sync(made)
        monkeypatch.setenv("STAX_SOURCE", "both")
        sync(made, reports=())
        assert query(made, "select * from stax.source_comparison") == []
        made.clock.now += timedelta(minutes=1)
        sync(made)
        assert len(query(made, "select * from stax.source_differences")) == 6

    def apart(self, made: Installation) -> list[tuple[object, ...]]:
        with made.engine.connect() as connection:
            found = run_rule(connection, SOURCES_AGREE, DAYS, made.clock.now, made.settings)
        assert not found.is_severe
        return [(row[0], row[1], row[4], row[5]) for row in found.rows]


def test_the_queries_of_the_documentation_run(both: Installation) -> None:
    queries = re.findall(r'stax sql "([^"]+)"', (CHECKOUT / "docs" / "understand" / "sources.md").read_text())
    sync(both)
    differences, rows = (query(both, text) for text in queries)
    assert len(differences) == 6
    assert rows == []
