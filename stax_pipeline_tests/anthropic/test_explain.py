"""Each cause of a failed connect has its own words, and all of them say that nothing was stored."""

from __future__ import annotations

import asyncio

import pytest

from stax_pipeline.anthropic import Limits, explain_refusal
from stax_pipeline.domain.errors import KeyRejected
from stax_pipeline_tests.anthropic.support import Reply, error, hang, reply, reset, session, source, walk

QUICK = Limits(read_seconds=0.1, page_seconds=0.15, tries=2)
CAUSES: dict[str, tuple[Reply, str]] = {
    "400, our fault": (error(400, "invalid_request_error", "anthropic-version: header is required"), "our fault"),
    "400": (error(400, "invalid_request_error", code="some_code"), "the request itself (400)"),
    "400, individual account": (
        error(400, "invalid_request_error", code="organization_type_not_supported"),
        "Individual accounts have no Admin API; set up an organization",
    ),
    "401": (error(401, "authentication_error", "invalid x-api-key"), "select Admin key"),
    "403": (error(403, "permission_error", code="api_key_scope_missing"), "does not let it read"),
    "403 of the edge": (reply(403, "blocked", {"request-id": ""}), "This says nothing about the key"),
    "404": (error(404, "not_found_error"), "refused the request (404)"),
    "429": (error(429, "rate_limit_error"), "limiting requests at the moment (429)"),
    "429, a limit of the contract": (
        error(429, "rate_limit_error", code="contract_spend_limit_reached"),
        "limit of this organization is reached (contract_spend_limit_reached): Anthropic pauses its requests until it "
        "is raised",
    ),
    "429, a limit of the month": (
        error(429, "rate_limit_error", code="enforced_spend_limit_reached"),
        "limit of this organization is reached (enforced_spend_limit_reached): Anthropic pauses its requests until "
        "2026-12-01 00:00 UTC",
    ),
    "500": (error(500, "api_error"), "fault or is overloaded (500)"),
    "529": (error(529, "overloaded_error"), "fault or is overloaded (529)"),
    "time-out": (hang, "did not answer in time"),
    "unreachable": (reset, "cannot be reached"),
    "strange body": (reply(200, "<html></html>"), "not as the Admin API does"),
    "redirect": (reply(302), "not as the Admin API does"),
}


def explanation(name: str) -> str:
    raised = walk(CAUSES[name][0], limits=QUICK).error
    assert raised is not None
    return explain_refusal(raised)


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_is_told_in_plain_words(name: str) -> None:
    said = explanation(name)
    assert CAUSES[name][1] in said
    assert "The key was not stored." in said


def test_the_causes_are_told_apart() -> None:
    told = {explanation(name).partition("\n")[0] for name in CAUSES}
    assert len(told) == len(CAUSES) - 1  # a redirect is a strange answer


def test_an_individual_account_is_told_by_the_404_on_its_organization() -> None:
    async def ask() -> Exception | None:
        async with source(error(404, "not_found_error")) as where, session(where) as opened:
            try:
                await opened.whoami()
            except Exception as caught:
                return caught
        return None

    raised = asyncio.run(ask())
    assert raised is not None
    assert "Individual accounts have no Admin API; set up an organization" in explain_refusal(raised)


def test_a_named_wait_is_passed_on() -> None:
    raised = walk(error(429, "rate_limit_error", headers={"retry-after": "86400"})).error
    assert raised is not None
    assert "Try again after 2026-11-23 12:00 UTC." in explain_refusal(raised)


def test_errors_of_others_are_explained_without_their_text() -> None:
    assert "select Admin key" in explain_refusal(KeyRejected("rejected since Monday"))
    assert explain_refusal(ValueError("sk-ant-admin01-x")) == (
        "The key could not be checked (ValueError). The key was not stored."
    )
