"""Two sources beside each other: nothing is lost, equal sides do not differ, Priority stands apart."""

from __future__ import annotations

import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.derive.source_comparison import Side, compare, set_aside_alone
from stax_pipeline.domain.money import sum_usd
from stax_pipeline_tests.derive.builders import INPUT, OPUS, cost, cost_lines_, usage, usage_lines_

LISTED = json.dumps({"list_amount": "1000", "requests": None})
listed_lines = cost_lines_.map(lambda line: line._replace(extras=LISTED))
sides = st.builds(Side, st.lists(listed_lines, max_size=5), st.lists(usage_lines_, max_size=5),
                  st.lists(listed_lines, max_size=3))  # fmt: skip


def test_what_both_say_alike_makes_no_difference() -> None:
    reports = Side([cost("4", description="Input Tokens")], [usage(7)])
    newer = Side([cost("4", extras=LISTED)], [usage(7, speed="")])
    [row] = compare(reports, newer)
    assert (row.reports_usd, row.analytics_usd, row.reports_quantity, row.analytics_quantity) == (4, 4, 7, 7)
    assert (row.analytics_list_usd, row.analytics_set_aside_usd) == (Decimal(10), 0)


def test_names_of_one_thing_are_one_row() -> None:
    reports = Side([cost(model="claude-opus-4-5-20251101", inference_geo="not_available")], [])
    newer = Side([cost(model="claude-opus-4-5", inference_geo="global", extras=LISTED)], [])
    [row] = compare(reports, newer)
    assert row.reports_usd == row.analytics_usd


def test_what_one_side_lacks_is_zero_there() -> None:
    [left] = compare(Side([cost("4")], []), Side([], []))
    [right] = compare(Side([], []), Side([], [usage(3)]))
    assert (left.analytics_usd, left.analytics_quantity) == (0, 0)
    assert (right.reports_usd, right.reports_quantity, right.analytics_quantity) == (0, 0, 3)


def test_searches_meet_by_workspace_and_hours_have_no_quantity() -> None:
    searched = cost("1", token_type="", cost_type="web_search", model="", extras=LISTED)
    ran = cost("2", token_type="", cost_type="code_execution", model="", extras=LISTED)
    newer = Side([searched._replace(model=OPUS, service_tier="priority"), ran], [usage(0, web_search_requests=3)])
    code, web = compare(Side([searched, ran], [usage(0, web_search_requests=3)]), newer)
    assert (web.reports_usd, web.analytics_usd, web.reports_quantity, web.analytics_quantity) == (1, 1, 3, 3)
    assert (code.cost_type, code.reports_quantity, code.analytics_quantity) == ("code_execution", None, None)


def test_set_aside_dollars_have_a_column_of_their_own() -> None:
    priority = cost("9", service_tier="priority", extras=LISTED)
    [row] = compare(
        Side([], [usage(5, service_tier="priority")]), Side([], [usage(5, service_tier="priority")], [priority])
    )
    assert (row.reports_usd, row.analytics_usd, row.analytics_set_aside_usd, row.analytics_quantity) == (0, 0, 9, 5)
    [alone] = set_aside_alone([priority])
    assert (alone.reports_usd, alone.analytics_usd, alone.analytics_set_aside_usd) == (None, None, 9)
    assert (alone.token_type, alone.reports_quantity, alone.analytics_quantity) == (INPUT, None, None)


@given(sides, sides)
def test_every_dollar_and_token_is_in_exactly_one_row(reports: Side, newer: Side) -> None:
    rows = compare(reports, newer)
    assert len({row[:8] for row in rows}) == len(rows)
    assert sum_usd(row.reports_usd or Decimal(0) for row in rows) == sum_usd(x.amount_usd for x in reports.costs)
    assert sum_usd(row.analytics_usd or Decimal(0) for row in rows) == sum_usd(x.amount_usd for x in newer.costs)
    assert sum_usd(row.analytics_set_aside_usd for row in rows) == sum_usd(x.amount_usd for x in newer.set_aside)
    assert sum_usd(row.analytics_list_usd for row in rows) == 10 * (len(newer.costs) + len(newer.set_aside))
    for side, name in ((reports, "reports_quantity"), (newer, "analytics_quantity")):
        assert sum(getattr(row, name) or 0 for row in rows) == sum(sum(line.counts) for line in side.usage)


@given(sides)
def test_a_side_does_not_differ_from_itself(side: Side) -> None:
    for row in compare(side, side):
        assert (row.reports_usd, row.reports_quantity) == (row.analytics_usd, row.analytics_quantity)
