"""What is asked of the source and what comes back: windows, readings, queries, raw pages.

The three readings of the usage report and the reason for each are in `docs/concepts.md`; parameter names and limits
are those of Anthropic's reference for `cost_report` and `usage_report/messages`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

ROOT = "/v1/organizations"
ME_PATH = f"{ROOT}/me"
COST_PATH, USAGE_PATH = f"{ROOT}/cost_report", f"{ROOT}/usage_report/messages"
ANALYTICS_ROOT = f"{ROOT}/analytics/"
API_VERSION = "2023-06-01"
FAST_MODE_BETA = "fast-mode-2026-02-01"
MAX_BUCKETS = 31  # the source's largest page of one-day buckets


class Report(StrEnum):
    """What an extraction is of. Cost and usage keep their names whichever source answers: their readings tell which.

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


class Reading(StrEnum):
    """One walk of a report with one grouping and filter."""

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
    """One reading's request without its page token: what a token is bound to.

    `params` keep their order and may repeat a name (`group_by[]`); `betas` go into `anthropic-beta`.
    `window` is None for the list endpoints, which have no usage date.
    """

    report: Report
    reading: Reading
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

    reading: Reading
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


def _windowed(window: Window, group_by: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return (
        ("starting_at", rfc3339(window.start)),
        ("ending_at", rfc3339(window.end)),
        ("bucket_width", "1d"),
        ("limit", str(MAX_BUCKETS)),
        *(("group_by[]", name) for name in group_by),
    )


USAGE_DIMENSIONS = (
    "workspace_id",
    "model",
    "service_tier",
    "context_window",
    "inference_geo",
)
BY_KEY_DIMENSIONS = (
    "api_key_id",
    "account_id",
    "workspace_id",
    "model",
    "service_tier",
)


def cost_query(window: Window) -> Query:
    """The cost report over complete days. `window.end` must not be later than the last UTC midnight."""
    params = _windowed(window, ("workspace_id", "description"))
    return Query(Report.COST, Reading.COST, COST_PATH, params, window)


def usage_queries(window: Window) -> tuple[Query, Query, Query]:
    """The readings `all`, `fast` and `by_key`: five `group_by[]` at most, so speed is a filter of its own walk."""
    every = _windowed(window, USAGE_DIMENSIONS)
    fast = (*every, ("speeds[]", "fast"))
    by_key = _windowed(window, BY_KEY_DIMENSIONS)
    return (
        Query(Report.USAGE, Reading.ALL, USAGE_PATH, every, window),
        Query(Report.USAGE, Reading.FAST, USAGE_PATH, fast, window, (FAST_MODE_BETA,)),
        Query(Report.USAGE, Reading.BY_KEY, USAGE_PATH, by_key, window),
    )


def workspace_queries(report: Report = Report.ORGANIZATION) -> Iterator[Query]:
    """Workspaces with and without the default one: nothing else tells which of them it is."""
    path = f"{ROOT}/workspaces"
    named = (("limit", "1000"), ("include_archived", "true"))
    yield Query(report, Reading.NAMED_WORKSPACES, path, named)
    yield Query(report, Reading.WORKSPACES, path, (*named, ("include_default", "true")))


def organization_queries() -> Iterator[Query]:
    """Workspaces, API keys and members, in full pages."""
    everything = (("limit", "1000"),)
    yield from workspace_queries()
    yield Query(Report.ORGANIZATION, Reading.API_KEYS, f"{ROOT}/api_keys", everything)
    yield Query(Report.ORGANIZATION, Reading.MEMBERS, f"{ROOT}/users", everything)
