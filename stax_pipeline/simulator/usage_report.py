"""`GET /v1/organizations/usage_report/messages`: usage filtered, grouped and shaped as documented.

Token counts come from `usage`; whether a request may use the beta is decided in `app`'s headers and passed in.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from operator import add, attrgetter

from stax_pipeline.simulator.organization import Organization
from stax_pipeline.simulator.paging import Request, floor, report_page
from stax_pipeline.simulator.parameters import Parameters, bad_request
from stax_pipeline.simulator.usage import minutes_visible, usage_between

PATH = "/v1/organizations/usage_report/messages"
FAST_MODE_BETA = "fast-mode-2026-02-01"
DIMENSIONS = (
    "account_id",
    "api_key_id",
    "context_window",
    "inference_geo",
    "model",
    "service_account_id",
    "service_tier",
    "speed",
    "workspace_id",
)
_TIERS = (
    "standard",
    "batch",
    "priority",
    "priority_on_demand",
    "flex",
    "flex_discount",
)
_ID_FILTERS = {
    "account_ids[]": "account_id",
    "api_key_ids[]": "api_key_id",
    "models[]": "model",
    "service_account_ids[]": "service_account_id",
    "workspace_ids[]": "workspace_id",
}
_CHOICE_FILTERS: dict[str, tuple[str, Collection[str]]] = {
    "service_tiers[]": ("service_tier", _TIERS),
    "context_window[]": ("context_window", ("0-200k", "200k-1M")),
    "inference_geos[]": ("inference_geo", ("global", "us", "not_available")),
    "speeds[]": ("speed", ("standard", "fast")),
}
SCALARS = frozenset({"starting_at", "ending_at", "bucket_width", "limit", "page"})
LISTS = frozenset({"group_by[]", *_ID_FILTERS, *_CHOICE_FILTERS})
_WIDTHS = {
    "1d": (timedelta(days=1), 7, 31),
    "1h": (timedelta(hours=1), 24, 168),
    "1m": (timedelta(minutes=1), 60, 1440),
}
_MOST_GROUPS = 5

_Filters = tuple[tuple[str, frozenset[str | None]], ...]


@dataclass(frozen=True, slots=True)
class _Query:
    """What one query makes of the rows of a bucket."""

    group_by: tuple[str, ...]
    filters: _Filters
    with_speed: bool


def usage_report(
    organization: Organization,
    items: tuple[tuple[str, str], ...],
    now: datetime,
    betas: Collection[str],
) -> bytes:
    """One page of the report as JSON. The open bucket is included, with what is visible at `now`."""
    parameters = Parameters(items, SCALARS, LISTS)
    query = _query(organization, parameters, betas)
    width, default, maximum = _WIDTHS[parameters.choice("bucket_width", _WIDTHS, "1d")]
    limit = parameters.limit(default, maximum)
    request = Request(organization.id, PATH, parameters, now)

    def results(first: datetime, last: datetime) -> bytes:
        day = first.date()
        midnight = datetime.combine(day, time.min, tzinfo=UTC)
        visible = minutes_visible(day, now)
        begin, end = ((edge - midnight) // timedelta(minutes=1) for edge in (first, last))
        return _results(organization, day, min(begin, visible), min(end, visible), query)

    return report_page(request, width, limit, floor(now, width) + width, results)


def _query(organization: Organization, parameters: Parameters, betas: Collection[str]) -> _Query:
    group_by = tuple(sorted(set(parameters.choices("group_by[]", DIMENSIONS))))
    if len(group_by) > _MOST_GROUPS:
        raise bad_request("Cannot specify more than 5 group_by[] dimensions.")
    with_speed = FAST_MODE_BETA in betas
    if not with_speed and ("speed" in group_by or parameters.many("speeds[]")):
        raise bad_request(f"speed requires the anthropic-beta header {FAST_MODE_BETA}")
    default_id = organization.default_workspace.id
    filters: list[tuple[str, frozenset[str | None]]] = []
    for name, dimension in _ID_FILTERS.items():
        wanted = {None if value == default_id else value for value in parameters.many(name)}
        if wanted:
            filters.append((dimension, frozenset(wanted)))
    for name, (dimension, allowed) in _CHOICE_FILTERS.items():
        if values := parameters.choices(name, allowed):
            filters.append((dimension, frozenset(values)))
    return _Query(group_by, tuple(filters), with_speed)


@lru_cache(maxsize=2048)
def _results(organization: Organization, day: date, first: int, last: int, query: _Query) -> bytes:
    if first >= last:
        return b"[]"
    dimensions = [attrgetter(dimension) for dimension in query.group_by]
    wanted = [(attrgetter(dimension), values) for dimension, values in query.filters]
    sums: dict[tuple[str | None, ...], tuple[int, ...]] = {}
    for row in usage_between(organization, day, first, last):
        if all(value_of(row) in values for value_of, values in wanted):
            key = tuple(value_of(row) for value_of in dimensions)
            sums[key] = tuple(map(add, sums[key], row.counts)) if key in sums else row.counts
    rows = [_shape(dict(zip(query.group_by, key, strict=True)), counts, query) for key, counts in sums.items()]
    return json.dumps(rows, separators=(",", ":")).encode()


def _shape(group: dict[str, str | None], counts: tuple[int, ...], query: _Query) -> dict[str, object]:
    uncached, write_5m, write_1h, read, output, searches = counts
    row: dict[str, object] = {
        "uncached_input_tokens": uncached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": write_5m,
            "ephemeral_1h_input_tokens": write_1h,
        },
        "cache_read_input_tokens": read,
        "output_tokens": output,
        "server_tool_use": {"web_search_requests": searches},
    }
    for dimension in DIMENSIONS:
        if dimension != "speed" or query.with_speed:
            row[dimension] = group.get(dimension)
    return row
