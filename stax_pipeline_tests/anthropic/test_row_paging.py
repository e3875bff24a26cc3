"""A walk by rows is guarded like a walk by buckets: it ends, it does not go in circles, no row counts twice."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import Any

import pytest

from stax_pipeline.anthropic import PageTokenExpired, RestatedWhileReading
from stax_pipeline.anthropic import paging as paging_module
from stax_pipeline.anthropic.analytics_queries import analytics_cost_queries
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import Window
from stax_pipeline_tests.anthropic.support import Reply, error, reply, session, source

*_, QUERY = analytics_cost_queries(Window(date(2026, 11, 1), date(2026, 11, 4)))
GROUP = dict.fromkeys(
    ("workspace_id", "model", "service_tier", "context_window", "inference_geo", "cost_type", "token_type")
)


def row(model: str = "a", amount: str = "1", day: int = 1) -> dict[str, Any]:
    return {
        "starting_at": f"2026-11-{day:02}T00:00:00Z",
        "ending_at": f"2026-11-{day + 1:02}T00:00:00Z",
        "group": {**GROUP, "model": model},
        "cost": {"amount": amount, "list_amount": amount, "currency": "USD", "requests": None},
    }


def page(*rows: dict[str, Any], token: str | None = None) -> bytes:
    return reply(200, json.dumps({"data": rows, "has_more": token is not None, "next_page": token}))


def walk(*replies: Reply) -> tuple[list[int], list[str], list[str]]:
    """Rows by page, notices, and the requests' heads."""

    async def run() -> tuple[list[int], list[str], list[str]]:
        async with source(*replies) as where, session(where) as opened:
            rows = [each.rows async for each in opened.walk(QUERY)]
            return rows, opened.notices, where.requests

    return asyncio.run(run())


def test_it_follows_its_tokens_and_sends_its_beta_header() -> None:
    rows, notices, requests = walk(page(row("a"), row("b"), token="x"), page(token="y"), page(row("c")))
    assert (rows, notices) == ([2, 0, 1], [])
    assert ["page=" in request for request in requests] == [False, True, True]
    assert all("anthropic-beta: analytics-usage-cost-2026-08-24" in request for request in requests)


def test_no_row_at_all_is_an_answer() -> None:
    assert walk(page())[0] == [0]


def test_a_row_that_came_twice_is_a_notice() -> None:
    _, notices, _ = walk(page(row("a"), token="x"), page(row("a"), row("b")))
    assert notices == ["1 row came twice, word for word; each counts once"]


def test_a_row_that_came_twice_and_differs_is_a_restatement() -> None:
    with pytest.raises(RestatedWhileReading):
        walk(page(row("a"), token="x"), page(row("a", "2")))


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        ((page(row("a"), token="x"), page(row("b"), token="x")), "repeats an earlier page's cursor"),
        ((page(row("a"), token="x"), page(row("a"), token="y")), "brings nothing new"),
        (tuple(page(token=str(number)) for number in range(20)), "more than 10 empty pages in a row"),
        ((page(row(day=4)),), "outside the window"),
        ((page({**row(), "group": {}}),), "field workspace_id is missing from group"),
    ],
)
def test_a_walk_that_cannot_end_well_is_stopped(replies: tuple[Reply, ...], words: str) -> None:
    with pytest.raises(ContractBroken, match=words):
        walk(*replies)


def test_pages_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging_module, "MAX_ROW_PAGES", 3)
    with pytest.raises(ContractBroken, match="more than 3 pages"):
        walk(*(page(row(str(number)), token=str(number)) for number in range(5)))


def test_an_expired_token_is_told_apart() -> None:
    with pytest.raises(PageTokenExpired):
        walk(page(row(), token="x"), error(400, "invalid_request_error"))
