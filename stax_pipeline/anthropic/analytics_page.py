"""A page of the newer source: rows instead of buckets, ordered by time, and no row at all for an empty day.

Belongs here: validation of the envelope and of what names a row, and the rules over the rows of one walk. Stays out:
dollars and tokens (`derive.analytics_rows`), requests (`anthropic.analytics_queries`).

Nothing proves that a walk is whole: a day that is missing and a day without use look the same. What guards is the
shrink guard over settled days, the two queries of usage that must agree, and `data_refreshed_at`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from stax_pipeline.anthropic.envelope import RestatedWhileReading, day_of, envelope_of, next_page, objects
from stax_pipeline.anthropic.fields import text
from stax_pipeline.anthropic.strict_json import excerpt
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import Window

Params = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AnalyticsRow:
    """One row as received. `key` is equal for rows of one day and one group, `digest` for rows equal in everything.

    `key` is None for a row whose actor was asked for and not told: distinct identities that the server cannot name
    read null, each as a row of its own, so such rows are never taken for one another.
    """

    day: date
    key: str | None
    digest: str
    content: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class AnalyticsPage:
    """One page. `next_page` is None on the last one.

    `refreshed_at` is the instant (UTC) up to which the source says its data was refreshed, None when it says nothing.
    """

    rows: list[AnalyticsRow]
    next_page: str | None
    refreshed_at: datetime | None


def dimensions_of(params: Params) -> tuple[str, ...]:
    """The dimensions that a request groups by."""
    return tuple(value for name, value in params if name == "group_by[]")


def parse_analytics_page(body: str, window: Window, dimensions: tuple[str, ...]) -> AnalyticsPage:
    """The page in `body`, every row one whole UTC day inside `window` with a value or null for each dimension.

    Raises ContractBroken naming the row.
    """
    envelope = envelope_of(body)
    rows = []
    for number, entry in enumerate(objects(envelope, "data"), start=1):
        try:
            rows.append(_row(entry, window, dimensions))
        except ContractBroken as fault:
            raise ContractBroken(f"row {number}: {fault}") from None
    return AnalyticsPage(rows, next_page(envelope), _refreshed_at(envelope.get("data_refreshed_at")))


def organizations_on(page: AnalyticsPage) -> set[str]:
    """The organizations of a page grouped by them alone, '' where a row names none. Raises ContractBroken."""
    return {text(row.content["group"], "organization_id") for row in page.rows}


def _row(entry: dict[str, object], window: Window, dimensions: tuple[str, ...]) -> AnalyticsRow:
    day = day_of(entry, window, "row")
    group = entry.get("group")
    if not isinstance(group, dict):
        raise ContractBroken("field group is missing or not an object")
    for name in dimensions:
        if name not in group:
            raise ContractBroken(f"field {name} is missing from group")
    unnamed = "actor" in dimensions and group["actor"] is None
    key = None if unnamed else _digest([day.isoformat(), group])
    return AnalyticsRow(day, key, _digest(entry), entry)


def _refreshed_at(value: object) -> datetime | None:
    """Null and absent mean untold: the SDK's type allows both."""
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
        if instant is not None and instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ContractBroken(f"data_refreshed_at is not an instant: {excerpt(value)}")


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()


class RowCheck:
    """Which rows of one query have come so far. Holds two digests a row, not the rows."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}
        self.repeated = 0

    def fresh(self, rows: Iterable[AnalyticsRow]) -> list[AnalyticsRow]:
        """The rows that did not come before; one that came word for word is counted as repeated.

        Raises RestatedWhileReading when a row's day and group came before with other figures.
        """
        found = []
        for row in rows:
            known = None if row.key is None else self._digests.setdefault(row.key, "")
            if known == row.digest:
                self.repeated += 1
                continue
            if known:
                raise RestatedWhileReading(f"{row.day} was restated while reading: one of its rows came twice, differs")
            if row.key is not None:
                self._digests[row.key] = row.digest
            found.append(row)
        return found
