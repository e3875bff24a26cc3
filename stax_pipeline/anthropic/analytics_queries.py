"""What is asked of the newer source, `/v1/organizations/analytics/{cost,usage}`: queries, and the days it answers for.

Parameter names and limits are those of Anthropic's SDK (2.14.0, `analytics.cost.list` and `analytics.usage.list`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from stax_pipeline.anthropic.queries import ANALYTICS_ROOT, USAGE_DIMENSIONS, workspace_queries
from stax_pipeline.domain.extraction import Query, QueryName, Report, Window, rfc3339

ANALYTICS_BETA = "analytics-usage-cost-2026-08-24"
FIRST_DAY = date(2026, 1, 1)  # "no earlier than 2026-01-01T00:00:00Z"
LOOK_BACK = timedelta(days=364)  # "within the last 365 days", by the hour: the midnight before would be too early
MAX_DAYS = timedelta(days=31)  # "the range may span at most 31 days"
MAX_ROWS = 1000
COST_PATH, USAGE_PATH = f"{ANALYTICS_ROOT}cost", f"{ANALYTICS_ROOT}usage"
ACTOR_DIMENSIONS = ("api_key_id", "actor", "workspace_id", "model", "service_tier")
_FREE_DIMENSIONS = ("cost_type", "token_type")  # they do not count among the five


def answerable(window: Window, server_now: datetime) -> Window:
    """The part of a window that is not too early for this source."""
    return Window(max(window.start, FIRST_DAY, server_now.date() - LOOK_BACK), window.end)


def out_of_reach(window: Window, server_now: datetime) -> str:
    """What is not asked for because it is too early, in words; '' when nothing is."""
    first = answerable(window, server_now).start
    if first <= window.start:
        return ""
    last = min(first, window.end) - timedelta(days=1)
    return (
        f"{window.start} to {last} were not asked for: the analytics source answers from {FIRST_DAY} and for the last "
        "365 days only; `stax tenants set` with `--source reports` reaches further back"
    )


def analytics_cost_queries(window: Window, report: Report = Report.COST) -> Iterator[Query]:
    """Cost by the dimensions in which usage is read. `window.end` must not be later than the last UTC midnight."""
    yield from _split(report, QueryName.ANALYTICS_ORGANIZATIONS, COST_PATH, ("organization_id",), window)
    yield from workspace_queries(report)
    yield from _split(report, QueryName.ANALYTICS_COST, COST_PATH, (*USAGE_DIMENSIONS, *_FREE_DIMENSIONS), window)


def analytics_usage_queries(window: Window) -> Iterator[Query]:
    """The queries `analytics_all`, `analytics_fast` and `analytics_by_key`, each with the reports' counterpart."""
    report = Report.USAGE
    yield from _split(report, QueryName.ANALYTICS_ORGANIZATIONS, USAGE_PATH, ("organization_id",), window)
    yield from workspace_queries(report)
    yield from _split(report, QueryName.ANALYTICS_ALL, USAGE_PATH, USAGE_DIMENSIONS, window)
    yield from _split(report, QueryName.ANALYTICS_FAST, USAGE_PATH, USAGE_DIMENSIONS, window, (("speeds[]", "fast"),))
    yield from _split(report, QueryName.ANALYTICS_BY_KEY, USAGE_PATH, ACTOR_DIMENSIONS, window)


def comparison_queries(window: Window) -> Iterator[Query]:
    """Cost and usage for a comparison with the reports, which needs neither speed nor keys."""
    yield from analytics_cost_queries(window, Report.ANALYTICS)
    yield from _split(Report.ANALYTICS, QueryName.ANALYTICS_ALL, USAGE_PATH, USAGE_DIMENSIONS, window)


def _split(
    report: Report, name: QueryName, path: str, group_by: tuple[str, ...], window: Window,
    filters: tuple[tuple[str, str], ...] = (),
) -> Iterator[Query]:  # fmt: skip
    """One query in parts of at most 31 days each; a page token belongs to its part."""
    start = window.start
    while start < window.end:
        part = Window(start, min(start + MAX_DAYS, window.end))
        params = (
            ("starting_at", rfc3339(part.start)),
            ("ending_at", rfc3339(part.end)),
            ("time_bucket_width", "1d"),
            ("limit", str(MAX_ROWS)),
            ("order_by", "time"),
            ("order", "asc"),
            *(("group_by[]", dimension) for dimension in group_by),
            *filters,
        )
        yield Query(report, name, path, params, part, (ANALYTICS_BETA,))
        start = part.end
