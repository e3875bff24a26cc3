"""From raw pages back to lines: pages sorted into their queries, a bucket that came twice counted once."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

from stax_pipeline.derive.normalise import PageReader
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import QueryName, Window
from stax_pipeline_tests.anthropic.readings import each_reading
from stax_pipeline_tests.derive.builders import DAY, cost_row, raw_page, report_body, usage_row
from stax_pipeline_tests.derive.reading import read_costs, read_usage

__all__ = ["each_reading"]
pytestmark = pytest.mark.usefixtures("each_reading")
NEXT = date(2026, 11, 2)
WINDOW = Window(DAY, date(2026, 11, 8))


def test_cost_pages_become_cost_lines() -> None:
    pages = [
        raw_page(QueryName.COST, report_body((DAY, [cost_row(amount="100")]))),
        raw_page(QueryName.COST, report_body((NEXT, [cost_row(amount="200", service_tier="turbo")])), 2),
    ]
    found = read_costs(pages, WINDOW).lines
    assert [(line.usage_date, line.amount_usd) for line in found] == [(DAY, Decimal(1)), (NEXT, Decimal(2))]


def test_unknown_values_are_counted() -> None:
    reader = PageReader(WINDOW)
    reader.add(raw_page(QueryName.COST, report_body((DAY, [cost_row(service_tier="turbo")]))))
    assert reader.unknown == {"value service_tier=turbo": 1}


def test_new_fields_of_page_bucket_and_row_are_counted_once_not_per_query() -> None:
    body = json.loads(report_body((DAY, [usage_row(1, tomorrow=1)])))
    body["of_the_page"] = body["data"][0]["of_the_bucket"] = 1
    reader = PageReader(WINDOW)
    for query in (QueryName.ALL, QueryName.FAST, QueryName.BY_KEY):
        reader.add(raw_page(query, json.dumps(body)))
    assert reader.unknown == {"field of_the_page": 1, "field of_the_bucket": 1, "field tomorrow": 1}


def test_a_bucket_that_came_twice_counts_once() -> None:
    pages = [raw_page(QueryName.COST, report_body((DAY, [cost_row()]), (NEXT, []))) for _ in range(2)]
    assert len(read_costs(pages, WINDOW).lines) == 1


def test_equal_rows_inside_one_bucket_both_count() -> None:
    lines = read_costs([raw_page(QueryName.COST, report_body((DAY, [cost_row(), cost_row()])))], WINDOW).lines
    assert [(line.occurrence, line.amount_usd) for line in lines] == [(1, Decimal("1.2345")), (2, Decimal("1.2345"))]


def test_page_order_does_not_matter() -> None:
    pages = [
        raw_page(QueryName.COST, report_body((DAY, [cost_row()]))),
        raw_page(QueryName.COST, report_body((NEXT, [cost_row()])), 2),
    ]
    assert read_costs(pages[::-1], WINDOW).lines == read_costs(pages, WINDOW).lines


def test_the_three_usage_queries_are_joined() -> None:
    pages = [
        raw_page(QueryName.ALL, report_body((DAY, [usage_row(10)]))),
        raw_page(QueryName.FAST, report_body((DAY, [usage_row(4)]))),
        raw_page(QueryName.BY_KEY, report_body((DAY, [usage_row(10)]))),
    ]
    found = read_usage(pages, WINDOW)
    assert [(line.speed, line.uncached_input_tokens) for line in found.lines] == [("fast", 4), ("standard", 6)]
    assert [(line.api_key_id, line.uncached_input_tokens) for line in found.by_key] == [("apikey_1", 10)]
    assert read_usage(pages[::-1], WINDOW).lines == found.lines


def test_an_empty_fast_query_is_not_a_refused_one() -> None:
    every = raw_page(QueryName.ALL, report_body((DAY, [usage_row(10)])))
    empty = raw_page(QueryName.FAST, report_body((DAY, [])))
    known, refused = read_usage([every, empty], WINDOW), read_usage([every], WINDOW)
    assert (known.lines[0].speed, refused.lines[0].speed) == ("standard", "")


def test_queries_are_kept_apart() -> None:
    pages = [raw_page(query, report_body((DAY, [usage_row(3)]))) for query in (QueryName.ALL, QueryName.BY_KEY)]
    found = read_usage([*pages, *pages], WINDOW)
    assert [line.uncached_input_tokens for line in (*found.lines, *found.by_key)] == [3, 3]


def test_a_bad_page_is_named() -> None:
    pages = [
        raw_page(QueryName.COST, report_body((DAY, []))),
        raw_page(QueryName.COST, '{"data": [], "has_more": false}', 2),
    ]
    with pytest.raises(ContractBroken, match="query cost, page 2: next_page is missing"):
        read_costs(pages, WINDOW)


def test_a_day_outside_the_window_is_a_fault() -> None:
    with pytest.raises(ContractBroken, match="outside the window"):
        read_costs([raw_page(QueryName.COST, report_body((date(2026, 11, 8), [])))], WINDOW)


@pytest.mark.parametrize("amount", ["NaN", "1E400", "1_0"])
def test_an_amount_is_checked_from_the_text_itself(amount: str) -> None:
    body = report_body((DAY, [cost_row(amount=amount)]))
    with pytest.raises(ContractBroken, match="bucket 2026-11-01, row 1"):
        read_costs([raw_page(QueryName.COST, body)], WINDOW)


def test_a_json_number_for_an_amount_is_refused_never_guessed() -> None:
    body = report_body((DAY, [cost_row(amount=123.45)]))
    with pytest.raises(ContractBroken, match="not a decimal string"):
        read_costs([raw_page(QueryName.COST, body)], WINDOW)
