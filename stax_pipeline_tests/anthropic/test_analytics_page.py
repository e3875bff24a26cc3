"""A page of the newer source: what is none, and which rows count."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from stax_pipeline.anthropic.analytics_page import RowCheck, parse_analytics_page
from stax_pipeline.anthropic.analytics_queries import ACTOR_DIMENSIONS
from stax_pipeline.anthropic.envelope import RestatedWhileReading
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline_tests.anthropic.analytics_builders import WINDOW, body, cost, row, usage
from stax_pipeline_tests.derive.builders import DAY


class TestPage:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (body(row()), "row 1: field group is missing"),
            (body(row(group={}, cost={})), "row 1: field model is missing from group"),
            (body(cost(), cost(day=date(2026, 11, 8))), "row 2: a row of 2026-11-08 lies outside the window"),
            (body(row() | {"ending_at": "2026-11-03T00:00:00Z"}), "not one day wide"),
            (body(row() | {"starting_at": "2026-11-01T01:00:00Z"}), "not a UTC midnight"),
            (body(row() | {"starting_at": "2026-11-01T00:00:00+02:00"}), "not a UTC midnight"),
            (body(has_more=True), "without a next_page"),
            (body(next_page="x"), "has_more is false"),
            (body(has_more="no"), "has_more is text"),
            (body(data={}), "data is an object"),
            (body(data=[[]]), "data holds a list"),
            (body(data_refreshed_at="soon"), "data_refreshed_at is not an instant"),
            (body(data_refreshed_at="2026-11-08T00:00:00"), "data_refreshed_at is not an instant"),
            (body(data_refreshed_at=1), "data_refreshed_at is not an instant"),
            ('{"type": "error", "error": {"type": "api_error"}}', "an error envelope"),
            ("[]", "not an object"),
        ],
    )
    def test_what_is_no_page(self, text: str, words: str) -> None:
        with pytest.raises(ContractBroken, match=words):
            parse_analytics_page(text, WINDOW, ("model",))

    def test_what_is_one(self) -> None:
        found = parse_analytics_page(
            body(cost(), has_more=True, next_page="x", data_refreshed_at="2026-11-08T02:00:00+02:00"),
            WINDOW,
            ("model",),
        )
        assert (found.next_page, found.refreshed_at) == ("x", datetime(2026, 11, 8, tzinfo=UTC))
        assert [each.day for each in found.rows] == [DAY]

    def test_a_row_counts_once_a_changed_one_is_a_restatement_and_figures_do_not_name_it(self) -> None:
        rows = parse_analytics_page(body(cost(), cost(model="other")), WINDOW, ("model",)).rows
        check = RowCheck()
        assert (len(check.fresh(rows)), check.repeated) == (2, 0)
        assert (check.fresh(rows), check.repeated) == ([], 2)
        with pytest.raises(RestatedWhileReading, match="2026-11-01 was restated"):
            check.fresh(parse_analytics_page(body(cost("1")), WINDOW, ("model",)).rows)

    def test_rows_of_actors_that_cannot_be_named_are_never_taken_for_one_another(self) -> None:
        rows = parse_analytics_page(body(usage(1), usage(2), usage(2)), WINDOW, ACTOR_DIMENSIONS).rows
        assert len(RowCheck().fresh(rows)) == 3
