"""What is asked of the source and what comes back: windows, queries, raw pages.

The three queries of the usage report and the reason for each are in `docs/understand/concepts.md`; parameter names
and limits are those of Anthropic's reference for `cost_report` and `usage_report/messages`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum


class Report(StrEnum):
    """What an extraction is of. Cost and usage keep their names whichever source answers: their queries tell which.

    `analytics` is the newer source read beside the reports, for comparison alone.
    """

    COST = "cost_report"
    USAGE = "usage_report"
    ORGANIZATION = "organization"
    ANALYTICS = "analytics"


class DataSource(StrEnum):
    """Where dollars and tokens come from (`STAX_SOURCE`). With `both` the reports count and the other is compared."""

    REPORTS = "reports"
    ANALYTICS = "analytics"
    BOTH = "both"


class QueryName(StrEnum):
    """Which query of a report: one walk with one grouping and filter."""

    COST = "cost"
    ALL = "all"
    FAST = "fast"
    BY_KEY = "by_key"
    WORKSPACES = "workspaces"
    NAMED_WORKSPACES = "named_workspaces"
    API_KEYS = "api_keys"
    MEMBERS = "members"
    ANALYTICS_ORGANIZATIONS = "analytics_organizations"
    ANALYTICS_COST = "analytics_cost"
    ANALYTICS_ALL = "analytics_all"
    ANALYTICS_FAST = "analytics_fast"
    ANALYTICS_BY_KEY = "analytics_by_key"

    @property
    def is_analytics(self) -> bool:
        return self.value.startswith("analytics_")


@dataclass(frozen=True, slots=True)
class Window:
    """Whole UTC days, `start` included, `end` excluded."""

    start: date
    end: date

    def __contains__(self, day: date) -> bool:
        return self.start <= day < self.end

    def __bool__(self) -> bool:
        return self.start < self.end

    @property
    def days(self) -> list[date]:
        return [self.start + timedelta(days=n) for n in range((self.end - self.start).days)]

    def __str__(self) -> str:
        return f"{self.start.isoformat()}_{self.end.isoformat()}"


def midnight(day: date) -> datetime:
    """The instant (UTC) at which `day` begins."""
    return datetime.combine(day, time.min, tzinfo=UTC)


def rfc3339(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Query:
    """One walk of a report with one grouping and filter, as a request without a page token: what a token is bound to.

    `params` keep their order and may repeat a name (`group_by[]`); `betas` go into `anthropic-beta`.
    `window` is None for the list endpoints, which have no usage date.
    """

    report: Report
    name: QueryName
    path: str
    params: tuple[tuple[str, str], ...]
    window: Window | None = None
    betas: tuple[str, ...] = ()

    def over(self, part: Window) -> Query:
        """The same query over a part of its window."""
        bounds = {"starting_at": rfc3339(part.start), "ending_at": rfc3339(part.end)}
        params = tuple((name, bounds.get(name, value)) for name, value in self.params)
        return replace(self, params=params, window=part)


@dataclass(frozen=True, slots=True)
class RawPage:
    """One API response as received, with the request that made it. Never holds the admin key.

    `body` is the response text, verbatim; `sha256` is the hex digest of its UTF-8 bytes.
    `rows` counts the report rows, or list entries, on it.
    `server_date` is the response's `Date` header; all instants are UTC.
    """

    query: QueryName
    page_number: int
    path: str
    params: tuple[tuple[str, str], ...]
    request_headers: dict[str, str] = field(repr=False)
    status: int
    request_id: str
    server_date: datetime
    sent_at: datetime
    received_at: datetime
    rows: int
    sha256: str
    body: str = field(repr=False)


def window_of(params: tuple[tuple[str, str], ...]) -> Window | None:
    """The days that a request asked for; None for a list."""
    bounds = dict(params)
    if "starting_at" not in bounds or "ending_at" not in bounds:
        return None
    return Window(date.fromisoformat(bounds["starting_at"][:10]), date.fromisoformat(bounds["ending_at"][:10]))
