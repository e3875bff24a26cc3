"""What a status of 400 and above means: a key refused, one scope missing, a request refused, a source that is busy.

Only 401, and 403 where every key of the product must be let in (the organization itself and the two reports), reject a
key. Whatever else is refused fails the one list or source that was asked. Stays out: answers that are pages, or should
have been (`responses`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stax_pipeline.anthropic.headers import asked_wait, request_id_of, server_date_of, word
from stax_pipeline.anthropic.queries import ANALYTICS_ROOT, COST_PATH, ME_PATH, USAGE_PATH
from stax_pipeline.anthropic.retry import Kind, Trouble
from stax_pipeline.anthropic.scrubber import Scrubber
from stax_pipeline.anthropic.strict_json import loads
from stax_pipeline.anthropic.transport import Answer
from stax_pipeline.domain.errors import ContractBroken, KeyRejected, RequestRejected, SourceUnavailable, TenantStopped
from stax_pipeline.domain.next_step import LACKS_SCOPE, NO_NEWER_SOURCE

RETRYABLE = frozenset({408, 409, 429})  # and every 5xx, 529 included
MONTHLY_LIMIT = "enforced_spend_limit_reached"
OTHER_LIMITS = frozenset({"contract_spend_limit_reached", "linked_organization_spend_limit_reached"})
NOT_FOR_THIS_TYPE = "organization_type_not_supported"
NOT_OFFERED = frozenset({NOT_FOR_THIS_TYPE, "organization_not_enrolled_in_beta", "organization_not_eligible"})
KEY_PATHS = frozenset({ME_PATH, COST_PATH, USAGE_PATH})
MESSAGE_CHARACTERS, READ_CHARACTERS = 200, 2048
_NEEDED = re.compile(r"Needed: \[([a-z0-9_:., -]{1,100})\]", re.ASCII)


class KeyRejection(KeyRejected):
    """401 or 403 from the API itself, told apart by `status`; `error_code` is the source's own word or ''."""

    def __init__(self, message: str, *, status: int, error_code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code


class EdgeRefusal(RequestRejected):
    """403 from the network's edge or a proxy, not from the API: it says nothing about the key."""


class ScopeMissing(RequestRejected):
    """403 from one endpoint that the reports do not need: the key is good, and lacks the scope for this one."""


class LimitReached(SourceUnavailable):
    """429 that no patience ends: a spend limit of the organization is reached; `error_code` names it."""

    def __init__(self, message: str, *, error_code: str, retry_at: datetime | None = None) -> None:
        super().__init__(message, status=429, retry_at=retry_at)
        self.error_code = error_code


class NoOrganization(RequestRejected):
    """There is no organization behind the key that could have an Admin API: an individual account."""


class NoNewerSource(RequestRejected):
    """400: Anthropic does not offer its newer source to this organization."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The status, and the source's own words in an error envelope, '' where it gave none."""

    status: int
    path: str
    error_type: str = ""
    error_code: str = ""
    message: str = ""
    request_id: str = ""

    def __str__(self) -> str:
        kind = " ".join(each for each in (self.error_type, self.error_code) if each)
        said = f": {self.message}" if self.message else ""
        shown = f" (request {self.request_id})" if self.request_id else ""
        return f"Anthropic answered {self.status}{' ' if kind else ''}{kind} to GET {self.path}{said}{shown}"


def refused(answer: Answer, path: str, scrubber: Scrubber, now: datetime) -> Trouble:
    """Why the request was refused, and whether another try may help."""
    refusal = _read(answer, path, scrubber)
    if answer.status not in RETRYABLE and answer.status < 500:
        return Trouble(Kind.FATAL, _final(refusal))
    clock = server_date_of(answer.headers) or now
    if refusal.error_code == MONTHLY_LIMIT:
        until = _next_month(clock)
        paused = f"{refusal}; paused by the provider until {until:%Y-%m-%d %H:%M} UTC"
        return Trouble(Kind.FATAL, LimitReached(paused, error_code=refusal.error_code, retry_at=until))
    if refusal.error_code in OTHER_LIMITS:
        paused = f"{refusal}; paused by the provider until that limit is raised"
        return Trouble(Kind.FATAL, LimitReached(paused, error_code=refusal.error_code))
    error = SourceUnavailable(str(refusal), status=answer.status)
    is_final = answer.headers.get("x-should-retry", "").strip().lower() == "false"
    return Trouble(Kind.FATAL if is_final else Kind.TRANSIENT, error, asked_wait(answer.headers, clock))


def _final(refusal: _Refusal) -> TenantStopped:
    if refusal.status == 401:
        return KeyRejection(str(refusal), status=401, error_code=refusal.error_code)
    if refusal.status == 403:
        return _forbidden(refusal)
    is_newer = refusal.path.startswith(ANALYTICS_ROOT)
    if refusal.status == 400 and is_newer and (refusal.error_code in NOT_OFFERED or "HIPAA" in refusal.message):
        return _rejected(NoNewerSource, refusal, f"this organization {NO_NEWER_SOURCE}")
    if (refusal.status, refusal.path) == (404, ME_PATH) or (
        refusal.path in KEY_PATHS and refusal.error_code == NOT_FOR_THIS_TYPE
    ):
        return _rejected(NoOrganization, refusal, "individual accounts have no Admin API; set up an organization")
    return _rejected(RequestRejected, refusal)


def _forbidden(refusal: _Refusal) -> TenantStopped:
    if not refusal.request_id and refusal.error_type in ("", "forbidden"):
        where = "this came from the network's edge or a proxy, not from the API, and says nothing of the key"
        return EdgeRefusal(f"{refusal}; {where}", status=403, error_type="forbidden", error_code=refusal.error_code)
    if refusal.path in KEY_PATHS:
        return KeyRejection(str(refusal), status=403, error_code=refusal.error_code)
    needed = _NEEDED.search(refusal.message)
    scope = needed[1] if needed else "that this endpoint needs"
    return _rejected(ScopeMissing, refusal, f"the key is valid but {LACKS_SCOPE} {scope}")


def _rejected(kind: type[RequestRejected], refusal: _Refusal, meaning: str = "") -> RequestRejected:
    message = f"{refusal}; {meaning}" if meaning else str(refusal)
    return kind(message, status=refusal.status, error_type=refusal.error_type, error_code=refusal.error_code)


def _read(answer: Answer, path: str, scrubber: Scrubber) -> _Refusal:
    request_id = request_id_of(answer.headers, scrubber)
    envelope = _object(_document(answer.body))
    error = _object(envelope.get("error"))
    message = error.get("message")
    shown = _printable(scrubber.clean(message[:READ_CHARACTERS])) if isinstance(message, str) else ""
    return _Refusal(
        answer.status,
        path,
        word(error.get("type"), scrubber),
        word(_object(error.get("details")).get("error_code"), scrubber),
        shown[:MESSAGE_CHARACTERS],
        request_id or word(envelope.get("request_id"), scrubber),
    )


def _document(body: bytes) -> object:
    try:
        return loads(body.decode("utf-8"))
    except (UnicodeDecodeError, ContractBroken):
        return None


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _next_month(moment: datetime) -> datetime:
    first = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)
