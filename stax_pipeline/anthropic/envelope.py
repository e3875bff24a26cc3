"""The envelope round the rows: what every page must say about itself, and what a whole walk must add up to.

Belongs here: validation of `data`, buckets, `has_more`, `next_page` and `last_id`, and the rules over the pages of one
walk. Stays out: the fields of a row (the normalisers), the network and retries (`anthropic`).

"It parsed" is not "it is whole": an answer cut at a JSON boundary parses cleanly. So every field must be there and the
buckets must cover the window; a missing one is a broken contract, never a day without spend.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import sha256
from typing import Protocol

from stax_pipeline.anthropic.strict_json import excerpt, loads
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.time import may_be_late

_MIDNIGHT = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt]00:00:00(?:\.0+)?(?:[Zz]|\+00:00)", re.ASCII)
_SHOWN_DAYS = 3
_OF_PAGE = frozenset({"data", "has_more", "next_page"})
_OF_BUCKET = frozenset({"starting_at", "ending_at", "results"})


class RestatedWhileReading(ContractBroken):
    """One day came twice in a walk with different rows: the source changed while we read. Read the window again."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One UTC day of a report. `results` are the rows as received, decimals exact."""

    day: date
    results: list[dict[str, object]] = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.results)

    def later_digest(self) -> Callable[[], str]:
        """The digest of the rows, made at once: whoever keeps it keeps no row."""
        made = digest(self.results)
        return lambda: made


@dataclass(frozen=True, slots=True)
class Envelope:
    """One page of a report. `next_page` is a token exactly when `has_more` is true.

    `new_fields` are those of the page and its buckets that no documentation lists.
    """

    buckets: list[Bucket]
    has_more: bool
    next_page: str | None
    new_fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a list endpoint. `last_id` is the cursor for the next page, None on an empty page."""

    items: list[dict[str, object]] = field(repr=False)
    has_more: bool
    last_id: str | None


def parse_report_page(body: str, window: Window) -> Envelope:
    """The page in `body`, every bucket one whole UTC day inside `window`. Raises ContractBroken."""
    envelope = envelope_of(body)
    entries = objects(envelope, "data")
    buckets = [_bucket(entry, window) for entry in entries]
    token = next_page(envelope)
    new = (envelope.keys() - _OF_PAGE).union(*(entry.keys() - _OF_BUCKET for entry in entries))
    return Envelope(buckets, token is not None, token, frozenset(new))


def parse_list_page(body: str) -> ListPage:
    """The page of a list endpoint (workspaces, API keys, members) in `body`. Raises ContractBroken."""
    envelope = envelope_of(body)
    items = objects(envelope, "data")
    for item in items:
        if not isinstance(item.get("id"), str) or not item["id"]:
            raise ContractBroken(f"an entry of data has no id: {excerpt(item.get('id'))}")
    has_more = _flag(envelope, "has_more")
    last_id = _text_or_null(envelope, "last_id")
    if has_more and not last_id:
        raise ContractBroken("inconsistent paging: has_more is true without a last_id")
    return ListPage(items, has_more, last_id or None)


class DayOfRows(Protocol):
    """One UTC day of a report, however its rows were read."""

    @property
    def day(self) -> date: ...

    def later_digest(self) -> Callable[[], str]: ...


class PageOfDays(Protocol):
    @property
    def buckets(self) -> Sequence[DayOfRows]: ...


@dataclass(frozen=True, slots=True)
class WalkStep:
    """What one page added to its walk: days seen for the first time, and days repeated word for word."""

    new: list[date]
    repeated: list[date]


class WalkCheck:
    """What the pages of one report walk have brought so far. Holds what each day's rows are told again by."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._digests: dict[date, Callable[[], str]] = {}

    def add(self, page: PageOfDays) -> WalkStep:
        """What this page added. Raises RestatedWhileReading when a day came before with other rows."""
        new: list[date] = []
        repeated: list[date] = []
        for bucket in page.buckets:
            known = self._digests.get(bucket.day)
            if known is None:
                self._digests[bucket.day] = bucket.later_digest()
                new.append(bucket.day)
            elif known() == bucket.later_digest()():
                repeated.append(bucket.day)
            else:
                raise RestatedWhileReading(f"{bucket.day} was restated while reading: it came twice and differs")
        return WalkStep(new, repeated)

    def finish(self, today: date) -> None:
        """Every day of the window before `today` (UTC, by the server's clock) must have had a bucket.

        The last of them need not be there yet: an answer may end early, but has no hole.
        """
        over = [day for day in self._window.days if day < today]
        while over and over[-1] not in self._digests and may_be_late(over[-1], today):
            over.pop()
        missing = [day for day in over if day not in self._digests]
        if missing:
            shown = ", ".join(day.isoformat() for day in missing[:_SHOWN_DAYS])
            rest = f" and {len(missing) - _SHOWN_DAYS} more" if len(missing) > _SHOWN_DAYS else ""
            raise ContractBroken(f"no bucket for {shown}{rest}; an empty day must have an empty bucket")


def envelope_of(body: str) -> dict[str, object]:
    """The object that is the answer. Raises ContractBroken."""
    document = loads(body)
    if not isinstance(document, dict):
        raise ContractBroken(f"the answer is {_kind(document)}, not an object")
    if document.get("type") == "error" or "error" in document:
        raise ContractBroken(f"an error envelope in a successful answer: {excerpt(_error_type(document))}")
    return document


def _error_type(document: dict[str, object]) -> str:
    error = document.get("error")
    return str(error.get("type", "")) if isinstance(error, dict) else ""


def next_page(envelope: dict[str, object]) -> str | None:
    """The next page's token, None on the last page. Raises ContractBroken where it contradicts `has_more`."""
    has_more = _flag(envelope, "has_more")
    token = _text_or_null(envelope, "next_page")
    if has_more and not token:
        raise ContractBroken("inconsistent paging: has_more is true without a next_page token")
    if token and not has_more:
        raise ContractBroken("inconsistent paging: a next_page token although has_more is false")
    return token or None


def _bucket(entry: dict[str, object], window: Window) -> Bucket:
    return Bucket(day_of(entry, window, "bucket"), objects(entry, "results"))


def day_of(entry: dict[str, object], window: Window, what: str) -> date:
    """The one whole UTC day that `entry` is about, inside `window`. Raises ContractBroken."""
    starts, ends = _midnight(entry, "starting_at"), _midnight(entry, "ending_at")
    if ends - starts != timedelta(days=1):
        raise ContractBroken(f"a {what} from {starts} to {ends} is not one day wide")
    if starts not in window:
        raise ContractBroken(f"a {what} of {starts} lies outside the window {window.start} to {window.end}")
    return starts


def _midnight(entry: dict[str, object], name: str) -> date:
    value = _field(entry, name)
    match = _MIDNIGHT.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        try:
            return date.fromisoformat(match[1])
        except ValueError:
            pass
    raise ContractBroken(f"{name} is not a UTC midnight: {excerpt(value)}")


def objects(envelope: dict[str, object], name: str) -> list[dict[str, object]]:
    """The list of objects under `name`. Raises ContractBroken."""
    value = _field(envelope, name)
    if not isinstance(value, list):
        raise ContractBroken(f"{name} is {_kind(value)}, not a list")
    for entry in value:
        if not isinstance(entry, dict):
            raise ContractBroken(f"{name} holds {_kind(entry)} where an object belongs")
    return value


def _flag(envelope: dict[str, object], name: str) -> bool:
    value = _field(envelope, name)
    if not isinstance(value, bool):
        raise ContractBroken(f"{name} is {_kind(value)}, not true or false")
    return value


def _text_or_null(envelope: dict[str, object], name: str) -> str | None:
    value = _field(envelope, name)
    if value is not None and not isinstance(value, str):
        raise ContractBroken(f"{name} is {_kind(value)}, not text or null")
    return value


def _field(container: dict[str, object], name: str) -> object:
    if name not in container:
        raise ContractBroken(f"{name} is missing")
    return container[name]


def _kind(value: object) -> str:
    if value is None:
        return "null"
    kinds = {bool: "a boolean", str: "text", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number")


def digest(rows: list[dict[str, object]]) -> str:
    """Equal for equal rows in any order: the order of rows in a bucket is not documented."""
    lines = sorted(json.dumps(row, sort_keys=True, default=repr) for row in rows)
    return sha256("\n".join(lines).encode()).hexdigest()
