"""What an HTTP answer means: a page, a key refused, a source that is busy, or something strange.

Belongs here: statuses, error envelopes, `retry-after`, the request id, and the removal of the admin key from every text
that the source sent. Stays out: sending (`transport`), trying again (`retry`), the page's content (`domain.envelope`).

The source's texts are shown to people and stored with the run, and a proxy's error page may repeat the request with
its headers. So everything of the source's passes through a `Scrubber` before it enters a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from stax_pipeline.domain.errors import (
    ContractBroken,
    KeyRejected,
    RequestRejected,
    SourceUnavailable,
    TenantStopped,
)
from stax_pipeline.domain.json_strict import loads
from stax_pipeline.resources.admin_api.retry import Kind, Trouble
from stax_pipeline.resources.admin_api.scrubber import Scrubber
from stax_pipeline.resources.admin_api.transport import Answer, NoAnswer

SPEND_LIMIT = "enforced_spend_limit_reached"
RETRYABLE = frozenset({408, 409, 429})  # and every 5xx, 529 included
LONGEST_WAIT = timedelta(days=31).total_seconds()
MESSAGE_CHARACTERS = 200
EXCERPT_CHARACTERS = 2048
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,80}", re.ASCII)
_SECONDS = re.compile(r"\d{1,12}(\.\d{1,6})?", re.ASCII)


class KeyRejection(KeyRejected):
    """401 or 403 from the API itself, told apart by `status`; `error_code` is the source's own word or ''."""

    def __init__(self, message: str, *, status: int, error_code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code


class EdgeRefusal(RequestRejected):
    """403 from the network's edge or a proxy, not from the API: it says nothing about the key."""


class SourceTimedOut(SourceUnavailable):
    """The last try ended at a time-out or at the page's deadline."""


class StrangeAnswer(ContractBroken):
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


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The source's own words in an error envelope, '' where it gave none."""

    error_type: str = ""
    error_code: str = ""
    message: str = ""
    request_id: str = ""


def judge(answer: Answer | NoAnswer, path: str, scrubber: Scrubber, now: datetime) -> Page | Trouble:
    """The page in `answer`, or what is wrong with it."""
    if isinstance(answer, NoAnswer):
        return _no_answer(answer, path)
    if answer.status == 200:
        return _page(answer, path, scrubber)
    if answer.status < 400:
        return _not_a_page(answer, path, scrubber)
    return _refused(answer, path, scrubber, now)


def strange(answer: Answer, path: str, scrubber: Scrubber, reason: str, *, fatal: bool = False) -> Trouble:
    request_id = request_id_of(answer.headers, scrubber)
    shown = f" (request {request_id})" if request_id else ""
    message = scrubber.clean(f"strange answer {answer.status} to GET {path}: {reason}{shown}")
    beginning = answer.body[: 2 * EXCERPT_CHARACTERS].decode("utf-8", "replace")
    text = scrubber.clean(beginning)[:EXCERPT_CHARACTERS]
    error = StrangeAnswer(message, status=answer.status, request_id=request_id, excerpt=text)
    return Trouble(Kind.FATAL if fatal else Kind.STRANGE, error)


def request_id_of(headers: Mapping[str, str], scrubber: Scrubber) -> str:
    return _word(headers.get("request-id"), scrubber)


def server_date_of(headers: Mapping[str, str]) -> datetime | None:
    return _http_date(headers.get("date", ""))


def _no_answer(answer: NoAnswer, path: str) -> Trouble:
    if answer.too_large:
        return Trouble(
            Kind.FATAL,
            StrangeAnswer(f"strange answer to GET {path}: {answer.words}", status=200),
        )
    error = SourceTimedOut if answer.timed_out else SourceUnavailable
    return Trouble(
        Kind.TRANSIENT,
        error(f"Anthropic's Admin API could not be read (GET {path}): {answer.words}"),
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


def _refused(answer: Answer, path: str, scrubber: Scrubber, now: datetime) -> Trouble:
    refusal = _refusal(answer, scrubber)
    status = answer.status
    message = _message(status, path, refusal)
    if status in (401, 403):
        return Trouble(Kind.FATAL, _key_refused(status, refusal, message))
    if status not in RETRYABLE and status < 500:
        error = RequestRejected(
            message,
            status=status,
            error_type=refusal.error_type,
            error_code=refusal.error_code,
        )
        return Trouble(Kind.FATAL, error)
    clock = server_date_of(answer.headers) or now
    if refusal.error_code == SPEND_LIMIT:
        until = _next_month(clock)
        paused = f"{message}; paused by the provider until {until:%Y-%m-%d %H:%M} UTC"
        return Trouble(Kind.FATAL, SourceUnavailable(paused, status=status, retry_at=until))
    fatal = answer.headers.get("x-should-retry", "").strip().lower() == "false"
    asked = asked_wait(answer.headers, clock)
    return Trouble(
        Kind.FATAL if fatal else Kind.TRANSIENT,
        SourceUnavailable(message, status=status),
        asked,
    )


def asked_wait(headers: Mapping[str, str], clock: datetime) -> float | None:
    """The wait in seconds that the source asked for. None when it named none, or nothing usable (0, past, garbage)."""
    seconds = _positive(headers.get("retry-after-ms", ""), 0.001)
    if seconds is None:
        after = headers.get("retry-after", "")
        seconds = _positive(after, 1.0)
        until = _http_date(after) if seconds is None else None
        if until is not None and until > clock:
            seconds = (until - clock).total_seconds()
    return None if seconds is None else min(seconds, LONGEST_WAIT)


def _positive(text: str, unit: float) -> float | None:
    text = text.strip()
    value = float(text) * unit if _SECONDS.fullmatch(text) else 0.0
    return value if value > 0 else None


def _key_refused(status: int, refusal: _Refusal, message: str) -> TenantStopped:
    if status == 403 and not refusal.request_id and refusal.error_type in ("", "forbidden"):
        edge = f"{message}; this came from the network's edge or a proxy, not from the API, and says nothing of the key"
        return EdgeRefusal(edge, status=status, error_type="forbidden", error_code=refusal.error_code)
    return KeyRejection(message, status=status, error_code=refusal.error_code)


def _message(status: int, path: str, refusal: _Refusal) -> str:
    kind = " ".join(word for word in (refusal.error_type, refusal.error_code) if word)
    said = f": {refusal.message}" if refusal.message else ""
    shown = f" (request {refusal.request_id})" if refusal.request_id else ""
    return f"Anthropic answered {status}{' ' if kind else ''}{kind} to GET {path}{said}{shown}"


def _refusal(answer: Answer, scrubber: Scrubber) -> _Refusal:
    request_id = request_id_of(answer.headers, scrubber)
    envelope = _object(_document(answer.body))
    error = _object(envelope.get("error"))
    details = _object(error.get("details"))
    message = error.get("message")
    return _Refusal(
        _word(error.get("type"), scrubber),
        _word(details.get("error_code"), scrubber),
        _printable(scrubber.clean(message[:EXCERPT_CHARACTERS]))[:MESSAGE_CHARACTERS]
        if isinstance(message, str)
        else "",
        request_id or _word(envelope.get("request_id"), scrubber),
    )


def _document(body: bytes) -> object:
    text = _utf8(body)
    try:
        return None if text is None else loads(text)
    except ContractBroken:
        return None


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _word(value: object, scrubber: Scrubber) -> str:
    """A token of the source's (a type, a code, an id), or '' when it is none."""
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        return ""
    return scrubber.clean(value)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _utf8(body: bytes) -> str | None:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _next_month(moment: datetime) -> datetime:
    first = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)
