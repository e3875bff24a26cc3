"""The canary key appears nowhere: not in an error, its chain, its traceback, a page, a log record or an explanation."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import pickle
import traceback

import pytest

from stax_pipeline.anthropic import Limits, UnexpectedResponse, explain_refusal
from stax_pipeline.anthropic.scrubber import Scrubber
from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.errors import KeyRefused
from stax_pipeline_tests.anthropic.support import (
    CANARY,
    WHOLE,
    Outcome,
    Reply,
    api,
    drip,
    error,
    hang,
    page,
    read_all,
    reply,
    reset,
    session,
    source,
    walk,
)
from stax_pipeline_tests.canary import FORMS, Canary

SEARCHED = Canary(CANARY)
ECHO = f"<html>Your request had x-api-key: {CANARY}</html>"
LIBRARIES = ("httpx", "httpcore", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "asyncio")
BASE64 = [base64.b64encode(b"x" * shift + CANARY.encode()).decode() for shift in range(3)]
WRITTEN = [write(CANARY.encode()).decode("latin-1") for write in FORMS.values()] + BASE64
LIMITS = Limits(read_seconds=0.1, page_seconds=0.15, tries=2, body_bytes=20_000)

FAILURES: dict[str, tuple[Reply, ...]] = {
    "success": (WHOLE,),
    "400": (error(400, "invalid_request_error", f"odd {CANARY}"),),
    "400 in mid-walk": (page(1, token="a"), error(400, "invalid_request_error", f"odd {CANARY}")),
    "401": (error(401, "authentication_error", f"invalid {CANARY}", {"request-id": CANARY}),),
    "403": (error(403, "permission_error", CANARY[:30], code=CANARY),),
    "403 of the edge": (reply(403, ECHO, {"request-id": ""}),),
    "404": (error(404, CANARY, CANARY),),
    "429": (error(429, "rate_limit_error", CANARY, {"retry-after": "99999"}),),
    "spend limit": (error(429, "rate_limit_error", CANARY, code="enforced_spend_limit_reached"),),
    "529": (error(529, "overloaded_error", CANARY),),
    "302": (reply(302, "", {"Location": f"http://127.0.0.1:1/?key={CANARY}"}),),
    "a proxy's page": (reply(200, ECHO),),
    "a proxy's page, cut in the key": (reply(200, "x" * 2030 + CANARY),),
    "JSON with the key": (reply(200, json.dumps({"data": [], "has_more": False, "next_page": None, "k": CANARY})),),
    "a field named like the key": (
        reply(200, json.dumps({"data": 1})[:-1] + f',"{CANARY[:40]}":1,"{CANARY[:40]}":2}}'),
    ),
    "no Date": (reply(200, ECHO, {"Date": ""}),),
    "reset": (reset,),
    "silence": (hang,),
    "drip": (drip(WHOLE, 0.03),),
    "too large": (reply(200, ECHO * 1000),),
    "bad header line": (f"HTTP/1.1 200 OK\r\n{CANARY}\r\n\r\n".encode(),),
    "every form in an error": (error(400, "invalid_request_error", " ".join(WRITTEN)),),
    **{
        f"{name} in an error": (error(400, "invalid_request_error", write(CANARY.encode()[20:40]).decode("latin-1")),)
        for name, write in FORMS.items()
    },
    **{
        f"base64 {shift} in an error": (error(400, "invalid_request_error", text),) for shift, text in enumerate(BASE64)
    },
    "part of the key in a page": (
        reply(200, json.dumps({"data": [], "has_more": False, "next_page": None, "k": CANARY[20:40]})),
    ),
    "a page that escapes the key": (
        reply(
            200,
            f'{{"data":[],"has_more":false,"next_page":null,"k":"{FORMS["backslash u"](CANARY.encode()).decode()}"}}',
        ),
    ),
    "headers that repeat the key": (error(500, "api_error", "no", {"x-echo": CANARY, "Set-Cookie": f"k={CANARY}"}),),
    "a header that injects another": (error(429, "x", "no", {"retry-after": f"1\r\nx-api-key: {CANARY}"}),),
    "bad compression": (reply(200, ECHO, {"Content-Encoding": CANARY}),),
}


def everything_about(error: BaseException | None) -> str:
    """All that a log, an event store or a debugger's repr could show of an exception and its whole chain."""
    shown: list[str] = []
    while error is not None:
        shown += [str(error), repr(error), repr(error.args), repr(vars(error)), *traceback.format_exception(error)]
        assert type(error).__module__.partition(".")[0] not in ("httpx", "httpcore", "h11")
        error = error.__cause__ or error.__context__
    return "\n".join(shown)


def assert_clean(text: str) -> None:
    assert SEARCHED.in_text("shown", text) == []


def shown_by(outcome: Outcome) -> str:
    pages = "".join(repr(each) + each.body + repr(each.request_headers) for each in outcome.pages)
    said = explain_refusal(outcome.error) if outcome.error else ""
    return pages + everything_about(outcome.error) + said + repr(outcome.notices)


@pytest.mark.parametrize("name", FAILURES)
def test_the_key_is_nowhere(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for library in LIBRARIES:  # by name: a level of its own outlives the one set on its parent
        caplog.set_level(logging.DEBUG, logger=library)
    outcome = walk(*FAILURES[name], limits=LIMITS)
    assert CANARY in outcome.requests[0]
    assert (outcome.error is None) == (name == "success")
    assert_clean(shown_by(outcome))
    assert_clean(caplog.text + "".join(repr(vars(record)) for record in caplog.records))


@pytest.mark.parametrize("name", sorted(set(FAILURES) - {"success"}))
def test_an_error_has_no_other_error_behind_it(name: str) -> None:
    raised = walk(*FAILURES[name], limits=LIMITS).error
    assert raised is not None
    assert (raised.__cause__, raised.__context__) == (None, None)


def test_an_error_from_inside_a_handler_brings_no_library_error_along() -> None:
    raised = walk(reset, limits=LIMITS).error
    assert raised is not None
    with pytest.raises(RuntimeError) as caught:
        try:
            raise raised
        except Exception as first:
            raise RuntimeError("the run failed") from first
    assert_clean(everything_about(caught.value))


def test_a_run_deadline_from_outside_shows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def run() -> None:
        async with source(hang) as where, session(where) as opened, asyncio.timeout(0.1):
            await read_all(opened)

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(run())
    assert_clean("".join(traceback.format_exception(caught.value)) + caplog.text)


@pytest.mark.parametrize("odd", ["\n", "\r\nx: y", " ", "\u200b", "”", "\x00", "é"])
def test_a_key_with_an_odd_character_reaches_no_http_object(odd: str) -> None:
    async def run() -> None:
        async with source(WHOLE) as where, api(where) as opened:
            try:
                opened.session(AdminKey(CANARY + odd))
            finally:
                assert where.requests == []

    with pytest.raises(KeyRefused) as caught:
        asyncio.run(run())
    assert_clean(everything_about(caught.value))


def test_no_object_shows_the_key_and_none_can_be_pickled() -> None:
    async def run() -> None:
        async with source(WHOLE) as where, api(where) as opened:
            held = opened.session(AdminKey(CANARY))
            await read_all(held)
            assert_clean(repr(opened) + repr(vars(opened)) + repr(held) + repr(vars(held)) + repr(vars(held._scrubber)))
            connections = [opened._transport._free.get_nowait() for _ in range(opened._transport._free.qsize())]
            assert len(connections) == 8
            for each in connections:
                pool = each._pool
                assert_clean(repr(vars(each)) + repr(vars(pool)) + "".join(repr(vars(c)) for c in pool.connections))
            with pytest.raises(TypeError):
                pickle.dumps(held)

    asyncio.run(run())


def test_the_quarantined_excerpt_keeps_the_rest_of_the_body() -> None:
    raised = walk(reply(200, ECHO)).error
    assert isinstance(raised, UnexpectedResponse)
    assert raised.excerpt == "<html>Your request had x-api-key: [key]</html>"


def test_a_short_key_of_a_test_does_not_blank_out_every_text() -> None:
    scrubber = Scrubber(AdminKey("k"))
    assert scrubber.clean("a key") == "a key"
    assert not scrubber.holds_key("a key")
