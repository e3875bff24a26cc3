"""The source of a benchmark sends the same bytes to all who ask the same, under a clock that goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.source import Recorded, serving


def test_an_answer_is_made_once_per_key_and_address_and_dated_when_it_is_sent() -> None:
    made: Counter[str] = Counter()

    async def answer(request: Request) -> JSONResponse:
        made["answers"] += 1
        headers = {"date": "Thu, 01 Jan 1970 00:00:00 GMT", "request-id": "one"}
        return JSONResponse({"number": made["answers"]}, headers=headers)

    async def asked() -> list[httpx.Response]:
        transport = httpx.ASGITransport(Recorded(Starlette(routes=[Route("/{path:path}", answer)])))
        async with httpx.AsyncClient(transport=transport, base_url="http://source") as client:
            requests = (("/a?x=1", "one"), ("/a?x=1", "one"), ("/a?x=2", "one"), ("/a?x=1", "two"))
            return [await client.get(path, headers={"x-api-key": key}) for path, key in requests]

    answers = asyncio.run(asked())
    assert [answer.json()["number"] for answer in answers] == [1, 1, 2, 3]
    for answer in answers:
        assert answer.headers["request-id"] == "one"
        assert abs(datetime.now(UTC) - parsedate_to_datetime(answer.headers["date"])).total_seconds() < 60


def test_the_source_runs_in_a_process_of_its_own_and_ends_with_its_block() -> None:
    with serving(2, small=True) as source:
        assert len(source.keys) == 2
        headers = {"x-api-key": next(iter(source.keys.values())), "anthropic-version": "2023-06-01"}
        assert httpx.get(f"{source.url}/v1/organizations/me", headers=headers).status_code == 200
    try:
        httpx.get(source.url)
    except httpx.ConnectError:
        return
    raise AssertionError("it still answers")
