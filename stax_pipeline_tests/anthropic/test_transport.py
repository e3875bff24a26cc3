"""Torn, slow, huge and foreign answers: none of them becomes a page, none of them holds a worker."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import time
import tracemalloc
import zlib
from dataclasses import replace

import httpx
import pytest

from stax_pipeline.anthropic import Limits, SourceTimedOut, UnexpectedResponse, admin_api
from stax_pipeline.anthropic.transport import _words
from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.errors import ContractBroken, SourceUnavailable, WrongUse
from stax_pipeline_tests.anthropic.support import (
    CANARY,
    QUERY,
    WHOLE,
    Clock,
    Reply,
    bucket,
    drip,
    hang,
    page_body,
    read_all,
    reply,
    session,
    source,
    walk,
)

DAYS = page_body([bucket(day) for day in QUERY.window.days]) if QUERY.window else ""
QUICK = Limits(connect_seconds=0.2, read_seconds=0.1, page_seconds=0.15, tries=2)
GZIP = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    "torn",
    [
        reply(200, DAYS[:40], {"Content-Length": str(len(DAYS))}),
        reply(200, "20\r\n" + DAYS[:10], {"Transfer-Encoding": "chunked", "Content-Length": ""}),
        reply(200, DAYS[:40]),
        reply(200, DAYS[:40], length=False),
        reply(200, gzip.compress(DAYS.encode())[:-12], GZIP),
        reply(200, DAYS, GZIP),
        reply(200, DAYS, {"Content-Encoding": "br"}),
        b"HTTP/1.1 200 OK\r\nContent-",
        b"",
    ],
)
def test_a_torn_answer_is_read_again_and_never_lands(torn: bytes) -> None:
    outcome = walk(torn, WHOLE)
    assert (outcome.error, outcome.retries) == (None, 1)
    assert walk(torn).pages == []


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (reply(200, "<html>Sign in</html>"), "not valid JSON"),
        (reply(200, ""), "the body is empty"),
        (reply(204), "a success without a page"),
        (reply(200, '{"type": "error", "error": {"type": "overloaded_error"}}'), "error envelope"),
        (reply(200, '{"data": [], "has_more": false}'), "next_page is missing"),
        (reply(200, b'{"data": "\xff"}'), "not UTF-8"),
        (reply(200, DAYS, {"Date": ""}), "Date header is missing"),
        (reply(200, DAYS, {"Date": "yesterday"}), "Date header is missing or unreadable"),
    ],
)
def test_a_strange_answer_is_tried_once_more_and_kept_for_the_quarantine(odd: bytes, reason: str) -> None:
    outcome = walk(odd)
    assert isinstance(outcome.error, UnexpectedResponse)
    assert isinstance(outcome.error, ContractBroken)
    assert reason in str(outcome.error)
    assert outcome.error.excerpt[:5] == odd.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")[:5]
    assert len(outcome.requests) == 2
    assert walk(odd, WHOLE).error is None


def test_a_redirect_is_refused_and_the_key_goes_nowhere_else() -> None:
    async def run() -> None:
        async with source(WHOLE) as elsewhere, source(reply(307, "", {"Location": elsewhere.url})) as where:
            async with session(where) as opened:
                with pytest.raises(UnexpectedResponse, match="redirect"):
                    await read_all(opened)
            assert (len(where.requests), elsewhere.requests) == (1, [])

    asyncio.run(run())


@pytest.mark.parametrize(
    ("slow", "limits", "words"),
    [
        (hang, replace(QUICK, page_seconds=60), "no answer in time"),
        (hang, replace(QUICK, read_seconds=60), "the page was not complete before its deadline"),
        (drip(WHOLE, 0.03), QUICK, "the page was not complete before its deadline"),
    ],
)
def test_a_silent_or_dripping_source_meets_the_deadline(slow: Reply, limits: Limits, words: str) -> None:
    started = time.monotonic()
    outcome = walk(slow, limits=limits)
    assert isinstance(outcome.error, SourceTimedOut)
    assert f"{words} after 2 tries" in str(outcome.error)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("slow", [hang, drip(WHOLE, 0.03)])
def test_a_silent_or_dripping_source_gives_its_slot_back(slow: Reply) -> None:
    async def run() -> None:
        async with source(slow, slow, WHOLE) as where, admin_api(where.url, concurrency=1, limits=QUICK) as opened:
            async with asyncio.timeout(5):
                with pytest.raises(SourceTimedOut):
                    await read_all(opened.session(AdminKey(CANARY)))
                assert len(await read_all(opened.session(AdminKey(f"{CANARY}2")))) == 1

    asyncio.run(run())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://nobody.invalid"])
def test_nothing_listening_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_host(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)

    async def run() -> None:
        clock = Clock()
        async with admin_api(url, now=clock.now, sleep=clock.sleep) as api:
            with pytest.raises(SourceUnavailable, match="no connection"):
                await read_all(api.session(AdminKey(CANARY)))
        assert len(clock.slept) == 5

    asyncio.run(run())


@pytest.mark.parametrize(
    "huge", [reply(200, "x" * 5000), reply(200, gzip.compress(b" " * 10_000_000), GZIP), reply(500, "x" * 5000)]
)
def test_a_body_over_the_cap_ends_at_once(huge: bytes) -> None:
    outcome = walk(huge, limits=Limits(body_bytes=4000))
    assert isinstance(outcome.error, UnexpectedResponse)
    assert "larger than 4000 bytes" in str(outcome.error)
    assert len(outcome.requests) == 1


def test_a_body_compressed_against_our_wish_is_read_under_the_cap() -> None:
    outcome = walk(reply(200, gzip.compress(DAYS.encode()), GZIP))
    assert [page.body for page in outcome.pages] == [DAYS]


def test_the_request_says_who_we_are_and_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-api03-from-the-environment")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    head = walk(WHOLE).requests[0]
    lines = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
    assert lines["anthropic-version"] == "2023-06-01"
    assert lines["user-agent"].startswith("stax-pipeline/")
    assert "(+https://" in lines["user-agent"]
    assert lines["accept-encoding"] == "identity"
    assert lines["x-api-key"] == CANARY.lower()
    assert "environment" not in head
    assert head.startswith("GET /v1/organizations/cost_report?starting_at=2026-11-01T00%3A00%3A00Z&")
    assert head.splitlines()[0].endswith("HTTP/1.1")


@pytest.mark.parametrize(
    "url",
    ["http://api.example.com", "ftp://127.0.0.1", "api.example.com", "https://", "https://a@b", "https://a?k=1", ""],
)
def test_a_base_url_that_would_send_the_key_in_clear_is_refused(url: str) -> None:
    async def run() -> None:
        async with admin_api(url):
            pass

    with pytest.raises(WrongUse):
        asyncio.run(run())


def test_http_libraries_stay_silent_when_everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    walk(WHOLE)
    assert {record.name.partition(".")[0] for record in caplog.records} <= {"stax", "asyncio"}
    ours = [record.getMessage() for record in caplog.records if record.name == "stax.anthropic"]
    assert ours == ["GET /v1/organizations/cost_report: 200, request req_1, 0 ms"]


def test_a_compressed_body_without_its_end_is_not_whole_though_it_parses() -> None:
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    no_trailer = packer.compress(DAYS.encode()) + packer.flush(zlib.Z_SYNC_FLUSH)
    outcome = walk(reply(200, no_trailer, GZIP), WHOLE)
    assert (outcome.error, outcome.retries) == (None, 1)


def test_a_bomb_is_never_unpacked_beyond_the_cap() -> None:
    bomb = reply(200, gzip.compress(b" " * 50_000_000), GZIP)
    tracemalloc.start()
    try:
        outcome = walk(bomb, limits=Limits(body_bytes=100_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "larger than 100000 bytes" in str(outcome.error)
    assert peak < 10_000_000


def test_waiting_for_other_tenants_is_no_time_out() -> None:
    async def run() -> None:
        impatient = Limits(connect_seconds=0.05)
        async with source(WHOLE, pause=0.04) as where, admin_api(where.url, concurrency=1, limits=impatient) as opened:
            sessions = [opened.session(AdminKey(f"{CANARY}{number}")) for number in range(5)]
            await asyncio.gather(*(read_all(each) for each in sessions))
            assert (where.most_busy, [each.retries for each in sessions]) == (1, [0] * 5)

    asyncio.run(run())


@pytest.mark.parametrize(
    "raised",
    [
        httpx.LocalProtocolError(f"Illegal header value {CANARY}"),
        httpx.ConnectError(CANARY),
        httpx.ReadTimeout(CANARY),
        httpx.DecodingError(CANARY),
        UnicodeEncodeError("ascii", CANARY, 0, 1, "no"),
        OSError(CANARY),
    ],
)
def test_a_librarys_own_text_is_never_repeated(raised: Exception) -> None:
    assert CANARY[:12] not in _words(raised)
