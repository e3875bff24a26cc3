"""What the headers of an answer say: the source's clock, its request id, and how long it wants to be left alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from stax_pipeline.anthropic.scrubber import Scrubber

LONGEST_WAIT = timedelta(days=31).total_seconds()
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,80}", re.ASCII)
_SECONDS = re.compile(r"\d{1,12}(\.\d{1,6})?", re.ASCII)


def request_id_of(headers: Mapping[str, str], scrubber: Scrubber) -> str:
    return word(headers.get("request-id"), scrubber)


def server_date_of(headers: Mapping[str, str]) -> datetime | None:
    return _http_date(headers.get("date", ""))


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


def word(value: object, scrubber: Scrubber) -> str:
    """A token of the source's (a type, a code, an id), or '' when it is none."""
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        return ""
    return scrubber.clean(value)


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
