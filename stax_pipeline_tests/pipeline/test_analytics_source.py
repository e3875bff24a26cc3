"""The newer source alone, end to end: the same figures as the reports, its reach and its age."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline_tests.conftest import NOON, Installation
from stax_pipeline_tests.pipeline.analytics_support import CLOSED, COST, USAGE, edit, figures, gaps, holds, reading
from stax_pipeline_tests.pipeline.support import (
    TODAY,
    content,
    query,
    small_organizations,
    sync,
    true_usd,
    usd_by_day,
)


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


class TestAnalyticsAlone:
    def test_everything_people_read_is_the_same_as_from_the_reports(
        self, made: Installation, by_reports: dict[str, Any]
    ) -> None:
        ran = sync(made)
        assert (ran.failures, ran.findings) == ({}, [])
        found = figures(made)
        for name, expected in by_reports.items():
            assert found[name] == expected, name
        for slug in ("acme", "globex"):
            assert usd_by_day(made, slug, "reported") == true_usd(made, slug, CLOSED)
        assert "/v1/organizations/cost_report" not in {r.path for r in made.simulator.requests}

    def test_it_holds_every_rule_and_ties_to_its_pages(self, made: Installation) -> None:
        sync(made)
        assert (holds(made), gaps(made)) == ([], [])
        assert query(made, "select * from stax.source_comparison") == []

    def test_cost_lines_carry_list_amounts_and_the_default_workspace_has_its_usual_name(
        self, made: Installation
    ) -> None:
        sync(made)
        [row] = query(made, "select bool_and(extras ? 'list_amount' and extras ? 'requests') as told, "
                            "array_agg(distinct workspace_id) as spaces from stax.cost_lines")  # fmt: skip
        assert row.told
        default = made.simulator.organizations["acme"].default_workspace.id
        assert "default" in row.spaces
        assert default not in row.spaces

    def test_syncing_again_changes_nothing(self, made: Installation) -> None:
        sync(made)
        before = content(made)
        sync(made)
        assert content(made) == before

    def test_the_sources_can_be_switched_back_and_forth(
        self, made: Installation, by_reports: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sync(made)
        monkeypatch.setenv("STAX_SOURCE", "reports")
        sync(made)
        assert gaps(made) == []
        assert figures(made) == by_reports
        assert query(made, "select 1 from stax.cost_lines where extras ? 'list_amount'") == []

    def test_windows_are_split_into_31_days_a_call(self, made: Installation) -> None:
        window = Window(TODAY - timedelta(days=70), TODAY + timedelta(days=1))
        assert sync(made, window, "globex").failures == {}
        asked = [dict(r.params) for r in made.simulator.requests if r.path == COST]
        spans = {
            (datetime.fromisoformat(p["ending_at"]) - datetime.fromisoformat(p["starting_at"])).days for p in asked
        }
        assert spans == {31, 8}
        [row] = query(made, "select count(distinct usage_date) as n from stax.coverage where report = 'cost_report'")
        assert row.n == 70
        [extraction] = query(made, "select raw_uri from stax.extractions where report = 'cost_report'")
        assert extraction.raw_uri

    def test_days_out_of_reach_are_said_and_the_rest_is_fetched(self, stax_home: Path) -> None:
        window = Window(date(2025, 12, 30), date(2026, 1, 3))
        with reading(stax_home, "analytics", now=datetime(2026, 11, 22, 12, tzinfo=UTC)) as made:
            ran = sync(made, window, "globex")
            assert ran.failures == {}
            assert any("2025-12-30 to 2025-12-31 were not asked for" in words for words in ran.findings)
            covered = query(made, "select distinct usage_date from stax.coverage order by 1")
            assert [row.usage_date for row in covered] == [date(2026, 1, 1), date(2026, 1, 2)]

    def test_a_window_wholly_out_of_reach_makes_no_request_and_no_extraction(self, made: Installation) -> None:
        ran = sync(made, Window(date(2025, 11, 1), date(2025, 11, 5)), "globex", reports=(Report.COST, Report.USAGE))
        assert ran.failures == {}
        assert any("2025-11-01 to 2025-11-04 were not asked for" in words for words in ran.findings)
        assert query(made, "select * from stax.extractions") == []
        assert not [r for r in made.simulator.requests if "analytics" in r.path]


class TestWhenItsDataIsOld:
    def test_data_through_never_passes_what_the_source_says_of_itself(self, made: Installation) -> None:
        edit(USAGE, lambda page: page.update(data_refreshed_at="2026-11-22T09:30:00Z"), made, times=None)
        sync(made)
        [row] = query(made, "select max(data_through) as through from stax.coverage where report = 'usage_report'")
        assert row.through == datetime(2026, 11, 22, 9, 25, tzinfo=UTC)

    def test_a_day_it_has_not_reached_is_open(self, made: Installation) -> None:
        edit(COST, lambda page: page.update(data_refreshed_at="2026-11-21T20:00:00Z"), made, times=None)
        sync(made)
        rows = query(
            made, "select distinct usage_date, state from stax.coverage where report = 'cost_report' order by 1"
        )
        assert [row.state for row in rows] == ["complete", "complete", "open"]

    def test_an_answer_that_says_nothing_is_as_old_as_its_date(self, made: Installation) -> None:
        edit(USAGE, lambda page: page.update(data_refreshed_at=None), made, times=None)
        sync(made)
        [row] = query(made, "select max(data_through) as through from stax.coverage where report = 'usage_report'")
        assert row.through == NOON - timedelta(minutes=5)


def test_a_discount_is_in_the_amount_and_the_list_amount_is_before_it(stax_home: Path) -> None:
    organization = replace(small_organizations()[0], discount=Decimal("0.2"))
    with reading(stax_home, "analytics", organization) as made:
        sync(made)
        for row in query(made, "select amount_usd, (extras ->> 'list_amount')::numeric as cents from stax.cost_lines"):
            assert row.amount_usd == row.cents * Decimal("0.008")
