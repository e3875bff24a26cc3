"""What is asked of the reports and of the lists: paths, parameters, groupings.

The three queries of the usage report and the reason for each are in `docs/understand/concepts.md`; parameter names and
limits are those of Anthropic's reference for `cost_report` and `usage_report/messages`. The newer source's are in
`analytics_queries`.
"""

from __future__ import annotations

from collections.abc import Iterator

from stax_pipeline.domain.extraction import Query, QueryName, Report, Window, rfc3339

ROOT = "/v1/organizations"


ME_PATH = f"{ROOT}/me"


COST_PATH, USAGE_PATH = f"{ROOT}/cost_report", f"{ROOT}/usage_report/messages"


ANALYTICS_ROOT = f"{ROOT}/analytics/"


API_VERSION = "2023-06-01"


FAST_MODE_BETA = "fast-mode-2026-02-01"


MAX_BUCKETS = 31  # the source's largest page of one-day buckets


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
    return Query(Report.COST, QueryName.COST, COST_PATH, params, window)


def usage_queries(window: Window) -> tuple[Query, Query, Query]:
    """The queries `all`, `fast` and `by_key`: five `group_by[]` at most, so speed is a filter of its own walk."""
    every = _windowed(window, USAGE_DIMENSIONS)
    fast = (*every, ("speeds[]", "fast"))
    by_key = _windowed(window, BY_KEY_DIMENSIONS)
    return (
        Query(Report.USAGE, QueryName.ALL, USAGE_PATH, every, window),
        Query(Report.USAGE, QueryName.FAST, USAGE_PATH, fast, window, (FAST_MODE_BETA,)),
        Query(Report.USAGE, QueryName.BY_KEY, USAGE_PATH, by_key, window),
    )


def workspace_queries(report: Report = Report.ORGANIZATION) -> Iterator[Query]:
    """Workspaces with and without the default one: nothing else tells which of them it is."""
    path = f"{ROOT}/workspaces"
    named = (("limit", "1000"), ("include_archived", "true"))
    yield Query(report, QueryName.NAMED_WORKSPACES, path, named)
    yield Query(report, QueryName.WORKSPACES, path, (*named, ("include_default", "true")))


def organization_queries() -> Iterator[Query]:
    """Workspaces, API keys and members, in full pages."""
    everything = (("limit", "1000"),)
    yield from workspace_queries()
    yield Query(Report.ORGANIZATION, QueryName.API_KEYS, f"{ROOT}/api_keys", everything)
    yield Query(Report.ORGANIZATION, QueryName.MEMBERS, f"{ROOT}/users", everything)
