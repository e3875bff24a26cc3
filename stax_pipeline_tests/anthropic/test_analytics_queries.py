"""What is asked of the newer source, in how many parts, and how far back it is asked at all."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.anthropic.analytics_page import dimensions_of
from stax_pipeline.anthropic.analytics_queries import (
    analytics_cost_queries,
    analytics_usage_queries,
    answerable,
    comparison_queries,
    out_of_reach,
)
from stax_pipeline.anthropic.queries import USAGE_DIMENSIONS
from stax_pipeline.domain.extraction import QueryName, Report, Window
from stax_pipeline_tests.anthropic.analytics_builders import NEXT, NOW, WINDOW
from stax_pipeline_tests.derive.builders import DAY


class TestQueries:
    def test_cost_groups_by_five_and_the_two_that_do_not_count(self) -> None:
        *_, query = analytics_cost_queries(Window(DAY, NEXT))
        assert query.params == (
            ("starting_at", "2026-11-01T00:00:00Z"), ("ending_at", "2026-11-02T00:00:00Z"),
            ("time_bucket_width", "1d"), ("limit", "1000"), ("order_by", "time"), ("order", "asc"),
            *(("group_by[]", name) for name in (*USAGE_DIMENSIONS, "cost_type", "token_type")),
        )  # fmt: skip
        assert query.betas == ("analytics-usage-cost-2026-08-24",)
        assert dimensions_of(query.params)[-2:] == ("cost_type", "token_type")

    def test_every_extraction_learns_which_workspace_is_the_default_one(self) -> None:
        both = {QueryName.ANALYTICS_ORGANIZATIONS, QueryName.WORKSPACES, QueryName.NAMED_WORKSPACES}
        expected = {
            Report.COST: {*both, QueryName.ANALYTICS_COST},
            Report.USAGE: {*both, QueryName.ANALYTICS_ALL, QueryName.ANALYTICS_FAST, QueryName.ANALYTICS_BY_KEY},
            Report.ANALYTICS: {*both, QueryName.ANALYTICS_COST, QueryName.ANALYTICS_ALL},
        }
        for queries in (analytics_cost_queries, analytics_usage_queries, comparison_queries):
            found = list(queries(WINDOW))
            [report] = {query.report for query in found}
            assert {query.name for query in found} == expected[report]

    @given(st.integers(1, 200))
    def test_a_window_is_covered_once_by_queries_of_31_days_at_most(self, days: int) -> None:
        window = Window(DAY, DAY + timedelta(days=days))
        asked = [q for q in analytics_cost_queries(window) if q.name is QueryName.ANALYTICS_COST]
        parts = [q.window for q in asked if q.window]
        assert all(0 < len(part.days) <= 31 for part in parts)
        assert (parts[0].start, parts[-1].end) == (window.start, window.end)
        assert all(left.end == right.start for left, right in pairwise(parts))

    def test_no_query_groups_by_more_than_five(self) -> None:
        for query in analytics_usage_queries(WINDOW):
            assert len(dimensions_of(query.params)) <= 5


class TestReach:
    def test_nothing_before_2026(self) -> None:
        now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        asked = Window(date(2025, 12, 20), date(2026, 1, 5))
        assert answerable(asked, now) == Window(date(2026, 1, 1), date(2026, 1, 5))
        assert out_of_reach(asked, now).startswith("2025-12-20 to 2025-12-31 were not asked for")

    def test_nothing_older_than_365_days_to_the_hour(self) -> None:
        now = datetime(2027, 3, 1, 12, tzinfo=UTC)
        found = answerable(Window(date(2026, 1, 1), date(2027, 3, 2)), now)
        assert datetime.combine(found.start, datetime.min.time(), UTC) >= now - timedelta(days=365)
        assert found.start == date(2026, 3, 2)

    def test_a_window_that_is_all_too_early_is_empty_and_said_whole(self) -> None:
        asked = Window(date(2025, 11, 1), date(2025, 11, 3))
        assert not answerable(asked, NOW)
        assert out_of_reach(asked, NOW).startswith("2025-11-01 to 2025-11-02 were not asked for")

    def test_a_window_in_reach_is_left_as_it_is(self) -> None:
        assert (answerable(WINDOW, NOW), out_of_reach(WINDOW, NOW)) == (WINDOW, "")
