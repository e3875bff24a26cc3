"""What an HTTP answer means: a page, a refusal, no answer at all, or something strange.

Belongs here: what makes a page, and the removal of the admin key from every text that the source sent. Stays out: what
a refusal means (`refusals`), sending (`transport`), trying again (`retry`), the page's content (`anthropic.envelope`).

The source's texts are shown to people and stored with the run, and a proxy's error page may repeat the request with
its headers. So everything of the source's passes through a `Scrubber` before it enters a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stax_pipeline.anthropic.headers import request_id_of, server_date_of
from stax_pipeline.anthropic.refusals import refused
from stax_pipeline.anthropic.retry import Kind, Trouble
from stax_pipeline.anthropic.scrubber import Scrubber
from stax_pipeline.anthropic.transport import Answer, NoAnswer
from stax_pipeline.domain.errors import ContractBroken, SourceUnavailable

EXCERPT_CHARACTERS = 2048


class SourceTimedOut(SourceUnavailable):
    """The last try ended at a time-out or at the page's deadline."""


class UnexpectedResponse(ContractBroken):
    """An answer that is no page. `excerpt` is the beginning of its body without the key, for the quarantine."""

    def __init__(self, message: str, *, status: int, request_id: str = "", excerpt: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id
        self.excerpt = excerpt


@dataclass(frozen=True, slots=True)
class Page:
    """The text of a good answer with what its headers say."""

    answer: Answer
    text: str
    server_date: datetime
    request_id: str


def judge(answer: Answer | NoAnswer, path: str, scrubber: Scrubber, now: datetime) -> Page | Trouble:
    """The page in `answer`, or what is wrong with it."""
    if isinstance(answer, NoAnswer):
        return _no_answer(answer, path)
    if answer.status == 200:
        return _page(answer, path, scrubber)
    if answer.status < 400:
        return _not_a_page(answer, path, scrubber)
    return refused(answer, path, scrubber, now)


def strange(answer: Answer, path: str, scrubber: Scrubber, reason: str, *, fatal: bool = False) -> Trouble:
    request_id = request_id_of(answer.headers, scrubber)
    shown = f" (request {request_id})" if request_id else ""
    message = scrubber.clean(f"strange answer {answer.status} to GET {path}: {reason}{shown}")
    beginning = answer.body[: 2 * EXCERPT_CHARACTERS].decode("utf-8", "replace")
    text = scrubber.clean(beginning)[:EXCERPT_CHARACTERS]
    error = UnexpectedResponse(message, status=answer.status, request_id=request_id, excerpt=text)
    return Trouble(Kind.FATAL if fatal else Kind.STRANGE, error)


def _no_answer(answer: NoAnswer, path: str) -> Trouble:
    if answer.too_large:
        return Trouble(
            Kind.FATAL,
            UnexpectedResponse(f"strange answer to GET {path}: {answer.words}", status=200),
        )
    error = SourceTimedOut if answer.timed_out else SourceUnavailable
    return Trouble(
        Kind.TRANSIENT,
        error(f"Anthropic's Admin API at {answer.host} did not answer to GET {path}: {answer.words}"),
    )


def _page(answer: Answer, path: str, scrubber: Scrubber) -> Page | Trouble:
    server_date = server_date_of(answer.headers)
    if server_date is None:
        return strange(answer, path, scrubber, "the Date header is missing or unreadable")
    text = _utf8(answer.body)
    if text is None:
        return strange(answer, path, scrubber, "the body is not UTF-8 text")
    if not text.strip():
        return strange(answer, path, scrubber, "the body is empty")
    if scrubber.holds_key(text):
        return strange(answer, path, scrubber, "the body repeats the admin key", fatal=True)
    return Page(answer, text, server_date, request_id_of(answer.headers, scrubber))


def _not_a_page(answer: Answer, path: str, scrubber: Scrubber) -> Trouble:
    if answer.status >= 300:
        return strange(
            answer,
            path,
            scrubber,
            "a redirect, which is never followed with a key",
            fatal=True,
        )
    return strange(answer, path, scrubber, "a success without a page")


def _utf8(body: bytes) -> str | None:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return None
