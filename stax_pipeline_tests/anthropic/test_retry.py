"""When a page is tried again, and when not: the decision, the source's wishes, and the bounds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.anthropic import KeyRejection, SourceTimedOut
from stax_pipeline.anthropic.headers import asked_wait
from stax_pipeline.anthropic.retry import CAP_SECONDS, GiveUp, Kind, Trouble, Wait, decide
from stax_pipeline.domain.errors import KeyRejected, RequestRejected, SourceUnavailable
from stax_pipeline_tests.anthropic.support import NOW, WHOLE, Clock, error, reply, reset, walk

BUSY = SourceUnavailable("busy")


@given(st.integers(1, 5), st.floats(0, 1, exclude_max=True), st.floats(0, 300))
def test_own_pause_is_jittered_capped_and_within_the_budget(tries: int, draw: float, left: float) -> None:
    decision = decide(Trouble(Kind.TRANSIENT, BUSY), tries=tries, strange=0, max_tries=6, left=left, draw=draw)
    if isinstance(decision, Wait):
        assert 0 <= decision.seconds <= min(CAP_SECONDS, 0.5 * 2 ** (tries - 1))
        assert decision.seconds < left
    else:
        assert left <= CAP_SECONDS


@given(st.floats(0.001, 1e6), st.floats(0, 300))
def test_an_asked_wait_is_obeyed_exactly_or_handed_back(asked: float, left: float) -> None:
    decision = decide(Trouble(Kind.TRANSIENT, BUSY, asked), tries=1, strange=0, max_tries=6, left=left, draw=0.5)
    assert decision == (Wait(asked) if asked < left else GiveUp(asked))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:09 GMT"}, 9.0),
        ({"retry-after": "Sun, 22 Nov 2026 11:59:00 GMT"}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "\uff19"}, None),
        ({"retry-after": "999999999999"}, 31 * 86400.0),
        ({}, None),
    ],
)
def test_what_the_source_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(headers, NOW) == seconds


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_passing_fault_is_invisible_but_counted(status: int) -> None:
    outcome = walk(error(status, "some_error"), WHOLE)
    assert (len(outcome.pages), outcome.error, outcome.retries) == (1, None, 1)
    assert outcome.clock.slept == [0.25]


def test_a_fault_for_ever_ends_with_the_request_id() -> None:
    outcome = walk(error(529, "overloaded_error"))
    assert isinstance(outcome.error, SourceUnavailable)
    assert (outcome.error.status, outcome.error.retry_at) == (529, None)
    assert "after 6 tries" in str(outcome.error)
    assert "req_1" in str(outcome.error)
    assert len(outcome.requests) == 6
    assert outcome.clock.slept == [0.25, 0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("value", "slept"),
    [("7", 7.0), ("Sun, 22 Nov 2026 12:00:20 GMT", 20.0), ("0", 0.25), ("-1", 0.25), ("garbage", 0.25)],
)
def test_retry_after_beats_our_own_pause(value: str, slept: float) -> None:
    outcome = walk(error(429, "rate_limit_error", headers={"retry-after": value}), WHOLE)
    assert (outcome.error, outcome.clock.slept) == (None, [slept])


def test_retry_after_as_a_date_is_read_by_the_servers_clock() -> None:
    ahead = Clock(NOW + timedelta(days=2))
    after = {"retry-after": "Sun, 22 Nov 2026 12:00:20 GMT"}
    assert walk(error(429, "rate_limit_error", headers=after), WHOLE, clock=ahead).clock.slept == [20.0]


def test_a_wait_longer_than_the_budget_is_handed_back_at_once() -> None:
    outcome = walk(error(429, "rate_limit_error", headers={"retry-after": "99999"}))
    assert isinstance(outcome.error, SourceUnavailable)
    assert outcome.error.retry_at == NOW + timedelta(seconds=99999)
    assert (len(outcome.requests), outcome.clock.slept) == (1, [])


def test_waits_add_up_to_the_budget_at_most() -> None:
    outcome = walk(error(503, "api_error", headers={"retry-after": "120"}))
    assert isinstance(outcome.error, SourceUnavailable)
    assert outcome.clock.slept == [120.0, 120.0]
    assert outcome.error.retry_at == NOW + timedelta(seconds=360)


@pytest.mark.parametrize("jump", [timedelta(days=2), timedelta(days=-2)])
def test_a_clock_that_is_set_meanwhile_neither_ends_the_tries_nor_prolongs_them(jump: timedelta) -> None:
    outcome = walk(error(503, "api_error", headers={"retry-after": "120"}), clock=Clock(jumps=jump))
    assert isinstance(outcome.error, SourceUnavailable)
    assert outcome.clock.slept == [120.0, 120.0]


def test_x_should_retry_false_is_obeyed() -> None:
    outcome = walk(error(500, "api_error", headers={"x-should-retry": "false"}), WHOLE)
    assert isinstance(outcome.error, SourceUnavailable)
    assert len(outcome.requests) == 1


@pytest.mark.parametrize(
    ("date", "until"),
    [
        ("Sun, 22 Nov 2026 12:00:00 GMT", datetime(2026, 12, 1, tzinfo=UTC)),
        ("Thu, 31 Dec 2026 23:59:59 GMT", datetime(2027, 1, 1, tzinfo=UTC)),
        ("Sun, 31 Jan 2027 00:00:00 GMT", datetime(2027, 2, 1, tzinfo=UTC)),
    ],
)
def test_an_enforced_spend_limit_waits_for_the_next_month(date: str, until: datetime) -> None:
    refused = error(429, "rate_limit_error", headers={"Date": date}, code="enforced_spend_limit_reached")
    outcome = walk(refused, WHOLE)
    assert isinstance(outcome.error, SourceUnavailable)
    assert outcome.error.retry_at == until
    assert f"paused by the provider until {until:%Y-%m-01} 00:00 UTC" in str(outcome.error)
    assert len(outcome.requests) == 1


@pytest.mark.parametrize("code", ["contract_spend_limit_reached", "linked_organization_spend_limit_reached"])
def test_a_limit_of_the_contract_stops_once(code: str) -> None:
    outcome = walk(error(429, "rate_limit_error", code=code, headers={"retry-after": "1"}), WHOLE)
    assert isinstance(outcome.error, SourceUnavailable)
    assert outcome.error.retry_at is None
    assert f"{code} to GET" in str(outcome.error)
    assert "paused by the provider until that limit is raised" in str(outcome.error)
    assert (len(outcome.requests), outcome.clock.slept) == (1, [])


@pytest.mark.parametrize(("status", "code"), [(429, "ramp_limit_exceeded"), (503, "authorization_check_unavailable")])
def test_what_asks_for_patience_is_tried_again_after_it(status: int, code: str) -> None:
    outcome = walk(error(status, "some_error", code=code, headers={"retry-after": "7"}), WHOLE)
    assert (outcome.error, outcome.clock.slept) == (None, [7.0])


@pytest.mark.parametrize("code", ["linked_organization_billing_unavailable", "linked_organization_spend_limit_reached"])
def test_a_bill_that_is_unpaid_does_not_condemn_the_key(code: str) -> None:
    outcome = walk(error(402, "billing_error", code=code), WHOLE)
    assert isinstance(outcome.error, RequestRejected)
    assert (outcome.error.error_code, len(outcome.requests)) == (code, 1)


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_key_is_never_tried_again(status: int) -> None:
    outcome = walk(error(status, "authentication_error", "invalid x-api-key"), WHOLE)
    assert isinstance(outcome.error, KeyRejection)
    assert isinstance(outcome.error, KeyRejected)
    assert outcome.error.status == status
    assert "invalid x-api-key" in str(outcome.error)
    assert len(outcome.requests) == 1


def test_a_403_of_the_edge_does_not_condemn_the_key() -> None:
    body = '{"error": {"type": "forbidden", "message": "Request not allowed"}}'
    outcome = walk(reply(403, body, {"request-id": ""}))
    assert not isinstance(outcome.error, KeyRejected)
    assert isinstance(outcome.error, RequestRejected)
    assert (outcome.error.status, outcome.error.error_type) == (403, "forbidden")


@pytest.mark.parametrize("status", [400, 402, 404, 413, 422])
def test_other_refusals_are_final_and_keep_the_sources_words(status: int) -> None:
    outcome = walk(error(status, "some_error", code="some_code"), WHOLE)
    assert isinstance(outcome.error, RequestRejected)
    assert (outcome.error.status, outcome.error.error_type) == (status, "some_error")
    assert outcome.error.error_code == "some_code"
    assert len(outcome.requests) == 1


def test_a_reset_connection_is_tried_again_and_then_named() -> None:
    assert walk(reset, reset, WHOLE).retries == 2
    outcome = walk(reset)
    assert isinstance(outcome.error, SourceUnavailable)
    assert not isinstance(outcome.error, SourceTimedOut)
    assert (outcome.error.status, len(outcome.requests)) == (None, 6)
    asked = r"Admin API at 127\.0\.0\.1:\d+ did not answer to GET /v1/organizations/cost_report: "
    assert re.search(asked, str(outcome.error))
