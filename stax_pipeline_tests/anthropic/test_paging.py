"""Walks: what a page brings along, where a walk ends, and the ways in which a source may never end it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime
from hashlib import sha256

import pytest

from stax_pipeline.anthropic import PageTokenExpired, RestatedWhileReading, WhoAmI
from stax_pipeline.anthropic import paging as paging_module
from stax_pipeline.anthropic.queries import cost_query, usage_queries
from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.errors import ContractBroken, KeyRejected, RequestRejected
from stax_pipeline.domain.extraction import Query, QueryName, Report, Window
from stax_pipeline_tests.anthropic.readings import each_reading
from stax_pipeline_tests.anthropic.support import (
    CANARY,
    NOW,
    QUERY,
    WHOLE,
    WINDOW,
    Reply,
    api,
    bucket,
    error,
    page,
    page_body,
    read_all,
    reply,
    session,
    source,
    walk,
)

__all__ = ["each_reading"]
pytestmark = pytest.mark.usefixtures("each_reading")
LIST = Query(Report.ORGANIZATION, QueryName.WORKSPACES, "/v1/organizations/workspaces", (("limit", "1000"),))


def empty(token: str | None) -> bytes:
    return reply(200, page_body([], token))


def test_a_walk_follows_its_tokens_and_keeps_what_it_needs() -> None:
    outcome = walk(page(1, token="a"), empty("b"), page(2, 3))
    assert outcome.error is None
    assert [each.page_number for each in outcome.pages] == [1, 2, 3]
    assert [each.params[-1] for each in outcome.pages[1:]] == [("page", "a"), ("page", "b")]
    first = outcome.pages[0]
    assert first.params == QUERY.params
    assert (first.query, first.path, first.status, first.request_id) == (QueryName.COST, QUERY.path, 200, "req_1")
    assert (first.server_date, first.sent_at, first.received_at) == (NOW, NOW, NOW)
    assert [each.rows for each in outcome.pages] == [1, 0, 2]
    assert first.sha256 == sha256(first.body.encode()).hexdigest()
    assert CANARY not in repr(vars(type(first))) + str(first.request_headers)
    assert "x-api-key" not in first.request_headers


def test_a_torn_page_is_asked_for_again_and_no_other() -> None:
    outcome = walk(page(1, token="a"), page(2, 3)[:-9], page(2, 3))
    assert (outcome.error, len(outcome.pages), outcome.retries) == (None, 2, 1)
    first, torn, again = (head.splitlines()[0] for head in outcome.requests)
    assert torn == again != first
    assert "page=a" in again


def test_the_fast_query_sends_its_beta_header() -> None:
    async def run() -> str:
        async with source(WHOLE) as where, session(where) as opened:
            page_read = await opened.first_page(usage_queries(WINDOW)[1])
            assert page_read.request_headers["anthropic-beta"] == "fast-mode-2026-02-01"
            return where.requests[0]

    assert "anthropic-beta: fast-mode-2026-02-01" in asyncio.run(run())


def test_an_empty_window_makes_no_request() -> None:
    async def run() -> None:
        async with source(WHOLE) as where, session(where) as opened:
            query = cost_query(Window(date(2026, 11, 1), date(2026, 11, 1)))
            assert [each async for each in opened.walk(query)] == []
            assert where.requests == []

    asyncio.run(run())


def test_a_repeated_day_word_for_word_is_a_notice() -> None:
    outcome = walk(page(1, 2, token="a"), page(2, 3))
    assert outcome.error is None
    assert outcome.notices == ["the bucket of 2026-11-02 came twice, word for word; it counts once"]


def test_a_repeated_day_that_differs_is_a_restatement() -> None:
    outcome = walk(page(1, 2, token="a"), page(2, 3, amount="2"))
    assert isinstance(outcome.error, RestatedWhileReading)


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ((page(1, token="a"), page(2, token="a")), "repeats an earlier page's cursor"),
        ((page(1, token="a"), page(2, token="b"), page(3, token="a")), "repeats an earlier page's cursor"),
        ((page(1, token="a"), page(1, token="b")), "brings nothing new"),
        (tuple(empty(str(number)) for number in range(20)), "more than 10 empty pages in a row"),
        ((page(1, 3),), "no bucket for 2026-11-02"),
        ((empty(None),), "no bucket for"),
        ((page(1, 2, 3, 4),), "outside the window"),
        ((reply(200, json.dumps({"data": [], "has_more": True, "next_page": None})),), "inconsistent paging"),
    ],
)
def test_a_walk_that_cannot_end_well_is_stopped(replies: tuple[Reply, ...], reason: str) -> None:
    outcome = walk(*replies)
    assert isinstance(outcome.error, ContractBroken)
    assert reason in str(outcome.error)


def test_ten_empty_pages_in_a_row_are_borne_and_no_more() -> None:
    between = [empty(str(number)) for number in range(11)]
    assert walk(page(1, token="a"), *between[:10], page(2, 3)).error is None
    assert len(walk(page(1, token="a"), *between, page(2, 3)).requests) == 12


def test_the_page_that_broke_the_walk_is_handed_over() -> None:
    assert [each.rows for each in walk(page(1, token="a"), page(1, token="b")).pages] == [1, 1]


def test_pages_are_capped_by_the_window() -> None:
    tokens = [f"t{number}" for number in range(40)]
    nine_empty = [empty(token) for token in tokens[:9]]
    replies = [*nine_empty, page(1, token="x"), *(empty(token) for token in tokens[9:18]), page(2, token="y")]
    outcome = walk(*replies)
    assert "more than 14 pages" in str(outcome.error)
    assert len(outcome.requests) == 14


def test_a_source_that_sends_single_days_is_walked_to_the_end() -> None:
    outcome = walk(page(1, token="a"), page(2, token="b"), page(3))
    assert (len(outcome.pages), outcome.error) == (3, None)


@pytest.mark.parametrize("status", [400, 410])
def test_an_expired_token_is_told_apart_from_a_bad_request(status: int) -> None:
    outcome = walk(page(1, token="a"), error(status, "invalid_request_error", "invalid page"))
    assert isinstance(outcome.error, PageTokenExpired)
    assert outcome.error.__context__ is None
    assert isinstance(walk(error(400, "invalid_request_error")).error, RequestRejected)


def test_a_key_revoked_in_mid_walk_stops_it() -> None:
    outcome = walk(page(1, token="a"), error(401, "authentication_error"))
    assert isinstance(outcome.error, KeyRejected)
    assert len(outcome.requests) == 2


def test_a_list_is_walked_by_its_last_id() -> None:
    def listed(*ids: str, more: bool) -> bytes:
        entries = [{"id": each} for each in ids]
        return reply(200, json.dumps({"data": entries, "has_more": more, "last_id": ids[-1] if ids else None}))

    async def ids(*replies: Reply) -> list[str]:
        async with source(*replies) as where, session(where) as opened:
            read = [each async for each in opened.walk(LIST)]
        assert [each.rows for each in read] == [len(json.loads(each.body)["data"]) for each in read]
        return [dict(each.params).get("after_id", "") for each in read]

    assert asyncio.run(ids(listed("a", "b", more=True), listed("c", more=False))) == ["", "b"]
    assert asyncio.run(ids(listed(more=False))) == [""]
    with pytest.raises(ContractBroken, match=r"brings nothing new|cursor"):
        asyncio.run(ids(listed("a", "b", more=True)))


def test_list_pages_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging_module, "MAX_LIST_PAGES", 2)
    pager = paging_module.ListPager()
    body = '{{"data": [{{"id": "{0}"}}], "has_more": true, "last_id": "{0}"}}'
    pager.accept(pager.parse(body.format("a")))
    with pytest.raises(ContractBroken, match="more than 2 pages"):
        pager.accept(pager.parse(body.format("b")))


def test_the_open_day_is_judged_by_the_servers_clock() -> None:
    headers = {"Date": "Tue, 03 Nov 2026 00:00:10 GMT"}
    two_days = reply(200, page_body([bucket(date(2026, 11, 1)), bucket(date(2026, 11, 2))]), headers)
    assert walk(two_days).error is None


def test_a_walk_over_midnight_is_judged_by_its_earliest_page() -> None:
    body = page_body([bucket(date(2026, 11, 1)), bucket(date(2026, 11, 2))], "a")
    before = reply(200, body, {"Date": "Tue, 03 Nov 2026 23:59:59 GMT"})
    after = reply(200, page_body([]), {"Date": "Wed, 04 Nov 2026 00:00:01 GMT"})
    assert walk(before, after).error is None


def test_whoami_names_the_organization_and_the_servers_time() -> None:
    async def run(body: str) -> WhoAmI:
        async with source(reply(200, body)) as where, session(where) as opened:
            return await opened.whoami()

    found = asyncio.run(run('{"id": "org-1", "type": "organization", "name": "Acme"}'))
    assert found == WhoAmI("org-1", "Acme", datetime(2026, 11, 22, 12, tzinfo=UTC))
    for strange in ("[]", '{"name": "Acme"}', '{"id": "", "name": "Acme"}', '{"id": "org-1"}'):
        with pytest.raises(ContractBroken):
            asyncio.run(run(strange))


def test_first_page_reads_one_page_only() -> None:
    async def run() -> None:
        async with source(page(1, token="a")) as where, session(where) as opened:
            assert (await opened.first_page(QUERY)).page_number == 1
            assert len(where.requests) == 1

    asyncio.run(run())


def test_an_organisation_has_one_request_in_flight() -> None:
    async def run() -> int:
        async with source(WHOLE, pause=0.02) as where, session(where) as opened:
            await asyncio.gather(*(read_all(opened) for _ in range(4)))
            return where.most_busy

    assert asyncio.run(run()) == 1


def test_tenants_run_side_by_side_up_to_the_limit() -> None:
    async def run() -> int:
        async with source(WHOLE, pause=0.05) as where, api(where) as opened:
            sessions = [opened.session(AdminKey(f"{CANARY}{number}")) for number in range(20)]
            await asyncio.gather(*(read_all(each) for each in sessions))
            return where.most_busy

    assert 2 <= asyncio.run(run()) <= 8
