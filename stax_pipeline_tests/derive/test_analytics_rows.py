"""Rows of the newer source become the lines of the reports; what the reports never have is set aside."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from stax_pipeline.derive.normalise import PageReader
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import QueryName, RawPage
from stax_pipeline_tests.anthropic.analytics_builders import DEFAULT, SPACE, WINDOW, Row, cost, page, spaces, usage
from stax_pipeline_tests.derive.builders import DAY, cost_row, raw_page, report_body, usage_row
from stax_pipeline_tests.derive.reading import read_costs, read_usage


def reader_of(*pages: RawPage) -> PageReader:
    reader = PageReader(WINDOW)
    for each in pages:
        reader.add(each)
    return reader


def days_apart(*pages: RawPage) -> set[date]:
    reader = reader_of(*pages)
    return reader.days_apart(reader.normalised())


class TestCost:
    def test_a_row_is_the_cost_line_that_the_report_would_give(self) -> None:
        report = read_costs([raw_page(QueryName.COST, report_body((DAY, [cost_row(description=None)])))], WINDOW).lines
        [line] = read_costs([*spaces(), page(QueryName.ANALYTICS_COST, cost())], WINDOW).lines
        assert [line._replace(extras="{}")] == report
        assert json.loads(line.extras) == {"list_amount": "150", "requests": None}

    def test_the_default_workspace_is_told_by_its_pages_wherever_they_stand(self) -> None:
        pages = [page(QueryName.ANALYTICS_COST, cost(workspace_id=DEFAULT), cost("1", workspace_id=SPACE)), *spaces()]
        for order in (pages, pages[::-1]):
            assert {line.workspace_id for line in read_costs(order, WINDOW).lines} == {"default", SPACE}

    @pytest.mark.parametrize(
        "known", [[], spaces(every=(SPACE,)), spaces(every=(SPACE, "a", "b")), spaces(named=(SPACE, DEFAULT))]
    )
    def test_a_default_workspace_that_cannot_be_told_is_a_fault(self, known: list[RawPage]) -> None:
        with pytest.raises(ContractBroken, match="the default workspace cannot be told"):
            read_costs([*known, page(QueryName.ANALYTICS_COST, cost())], WINDOW)

    def test_without_a_workspace_there_is_nothing_to_tell(self) -> None:
        [line] = read_costs([page(QueryName.ANALYTICS_COST, cost(workspace_id=None))], WINDOW).lines
        assert line.workspace_id == ""

    def test_unknown_geography_of_tokens_is_named_as_in_the_report_and_of_the_rest_stays_empty(self) -> None:
        rows = [cost(inference_geo=None), cost(inference_geo=None, cost_type="code_execution", token_type=None)]
        found = read_costs([*spaces(), page(QueryName.ANALYTICS_COST, *rows)], WINDOW).lines
        assert {line.cost_type: line.inference_geo for line in found} == {
            "tokens": "not_available",
            "code_execution": "",
        }

    @pytest.mark.parametrize("tier", ["priority", "priority_on_demand", "flex", "flex_discount", "turbo"])
    def test_tokens_of_a_tier_the_report_never_has_are_set_aside(self, tier: str) -> None:
        rows = [cost("100"), cost("900", service_tier=tier), cost("7", service_tier=tier, cost_type="web_search",
                token_type=None)]  # fmt: skip
        found = read_costs([*spaces(), page(QueryName.ANALYTICS_COST, *rows)], WINDOW)
        assert sorted(line.amount_usd for line in found.lines) == [Decimal("0.07"), Decimal(1)]
        assert [(line.service_tier, line.amount_usd) for line in found.set_aside] == [(tier, Decimal(9))]

    def test_the_cost_report_sets_nothing_aside(self) -> None:
        pages = [raw_page(QueryName.COST, report_body((DAY, [cost_row(service_tier="priority")])))]
        assert (len(read_costs(pages, WINDOW).lines), read_costs(pages, WINDOW).set_aside) == (1, [])

    def test_equal_lines_on_two_pages_are_numbered_through(self) -> None:
        pages = [
            page(QueryName.ANALYTICS_COST, cost("1", inference_geo=None)),
            page(QueryName.ANALYTICS_COST, cost("2", inference_geo="not_available"), number=2),
        ]
        found = read_costs([*spaces(), *pages], WINDOW).lines
        assert [(line.occurrence, line.amount_usd) for line in found] == [(1, Decimal("0.01")), (2, Decimal("0.02"))]

    @pytest.mark.parametrize("changes", [{"amount": "NaN"}, {"amount": "1_0"}, {"list_amount": "1e400"}])
    def test_amounts_have_one_strict_grammar(self, changes: dict[str, str]) -> None:
        with pytest.raises(ContractBroken, match="amount .* is not a decimal string in cents"):
            read_costs([*spaces(), page(QueryName.ANALYTICS_COST, cost(**changes))], WINDOW)


class TestUsage:
    def test_the_queries_give_the_lines_of_the_reports(self) -> None:
        user = {
            "type": "user_actor",
            "user_id": "user_1",
            "email_address": "a@b.example",
            "name": "A",
            "deleted": False,
        }
        newer = read_usage(
            [
                *spaces(),
                page(QueryName.ANALYTICS_ALL, usage(10, searches=2)),
                page(QueryName.ANALYTICS_FAST, usage(4)),
                page(QueryName.ANALYTICS_BY_KEY, usage(10, actor=user, searches=2)),
            ],
            WINDOW,
        )
        older = read_usage(
            [
                raw_page(QueryName.ALL, report_body((DAY, [usage_row(10, searches=2)]))),
                raw_page(QueryName.FAST, report_body((DAY, [usage_row(4)]))),
                raw_page(QueryName.BY_KEY, report_body((DAY, [usage_row(10, account_id="user_1", searches=2)]))),
            ],
            WINDOW,
        )
        assert newer.lines == older.lines
        assert newer.by_key == older.by_key

    @pytest.mark.parametrize(
        "actor",
        [None, {"type": "api_actor", "api_key_id": "apikey_1"}, {"type": "service_account_actor",
         "service_account_id": "svac_1"}, {"type": "federated_actor"}],
    )  # fmt: skip
    def test_only_a_user_is_an_account(self, actor: Row | None) -> None:
        [line] = read_usage([*spaces(), page(QueryName.ANALYTICS_BY_KEY, usage(actor=actor))], WINDOW).by_key
        assert (line.api_key_id, line.account_id) == ("apikey_1", "")

    def test_actors_of_one_key_add_up(self) -> None:
        rows = [usage(1, actor={"type": "api_actor", "api_key_id": "apikey_1"}), usage(2), usage(2)]
        [line] = read_usage([*spaces(), page(QueryName.ANALYTICS_BY_KEY, *rows)], WINDOW).by_key
        assert line.uncached_input_tokens == 5

    def test_without_a_fast_query_speed_is_not_told_and_without_keys_nothing_disagrees(self) -> None:
        found = read_usage([*spaces(), page(QueryName.ANALYTICS_ALL, usage(10))], WINDOW)
        assert [line.speed for line in found.lines] == [""]
        assert found.by_key == []

    def test_queries_that_disagree_are_found(self) -> None:
        pages = [page(QueryName.ANALYTICS_ALL, usage(10)), page(QueryName.ANALYTICS_BY_KEY, usage(9))]
        assert days_apart(*spaces(), *pages) == {DAY}
        assert days_apart(*spaces(), pages[0]) == set()
        assert days_apart(*spaces(), pages[0], page(QueryName.ANALYTICS_BY_KEY, usage(10))) == set()

    def test_spans_of_code_execution_are_no_usage_line(self) -> None:
        idle = usage(0, model=None, service_tier=None, context_window=None)
        assert read_usage([*spaces(), page(QueryName.ANALYTICS_ALL, idle)], WINDOW).lines == []

    def test_a_token_in_no_token_type_is_never_lost(self) -> None:
        short = usage(10)
        short["usage"]["total_tokens"] = 11
        with pytest.raises(ContractBroken, match="total_tokens is 11, its token types add up to 10"):
            read_usage([*spaces(), page(QueryName.ANALYTICS_ALL, short)], WINDOW)

    def test_the_earliest_refresh_counts(self) -> None:
        moments = ["2026-11-08T09:00:00Z", None, "2026-11-08T08:00:00Z"]
        pages = [
            page(QueryName.ANALYTICS_ALL, usage(day=DAY + timedelta(days=n)), number=n + 1, data_refreshed_at=moment)
            for n, moment in enumerate(moments)
        ]
        assert reader_of(*spaces(), *pages).refreshed_at == datetime(2026, 11, 8, 8, tzinfo=UTC)
