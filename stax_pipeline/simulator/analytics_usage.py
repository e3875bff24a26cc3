"""`GET /v1/organizations/analytics/usage`: tokens grouped into rows.

Token counts come from `usage`; what may be asked and how rows are paged is in `analytics`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, datetime
from functools import lru_cache
from operator import add

from stax_pipeline.simulator.analytics import (
    DIMENSIONS,
    Days,
    Query,
    Row,
    Span,
    Who,
    ask,
    days_of,
    family,
    group_key,
    rows_page,
    shown_group,
    who,
)
from stax_pipeline.simulator.organization import Organization
from stax_pipeline.simulator.usage import HourlyRow, UsageRow, hours_between, usage_between

PATH = "/v1/organizations/analytics/usage"
_TOKENS_PER_REQUEST = 20_000
_MILLI_HOURS_PER_SPAN = 25
_NO_TOKENS = (0, 0, 0, 0, 0, 0)


def analytics_usage(
    organization: Organization, items: tuple[tuple[str, str], ...], now: datetime, betas: Collection[str]
) -> bytes:
    """One page of usage as JSON. The open day is part of it, with what is visible at `now`."""
    orders = ("total_tokens", "requests", "output_tokens", "uncached_input_tokens", "time")
    asked = ask(organization, PATH, items, now, betas, (), orders)
    rows = [row for span in asked.spans for row in _rows(organization, span, asked.query, days_of(span, now))]
    return rows_page(asked, rows)


@lru_cache(maxsize=512)
def _rows(organization: Organization, span: Span, query: Query, days: Days) -> tuple[Row, ...]:
    """The span's rows, most tokens first. Code execution is there without a token: its requests are spans."""
    key_of = group_key(query.group_by)
    sums: dict[tuple[str | None, ...], tuple[int, ...]] = {}
    groups: dict[tuple[str | None, ...], Who] = {}
    for day, first, last in days:
        for member, used in ((each, row) for each in family(organization) for row in _used(each, day, first, last)):
            one = who(member, used, in_family=bool(organization.children))
            if query.takes(one):
                key = key_of(one)
                groups[key] = one
                counts = _counted(used)
                sums[key] = tuple(map(add, sums[key], counts)) if key in sums else counts
    rows = [
        Row(span, {**_ranks(counts), "time": span.start}, [_shown(organization, groups[key], query, counts)])
        for key, counts in sums.items()
    ]
    return tuple(sorted(rows, key=lambda row: row.ranks["total_tokens"], reverse=True))


def _used(organization: Organization, day: date, first: int, last: int) -> Iterator[UsageRow | HourlyRow]:
    yield from usage_between(organization, day, first, last)
    for row in hours_between(organization, day, first, last):
        if row.cost_type == "code_execution":
            yield row


def _counted(row: UsageRow | HourlyRow) -> tuple[int, ...]:
    """The five token types, web searches, requests."""
    if isinstance(row, HourlyRow):
        return (*_NO_TOKENS, row.milli_hours // _MILLI_HOURS_PER_SPAN + 1)
    return (*row.counts, sum(row.counts[:5]) // _TOKENS_PER_REQUEST + 1)


def _ranks(counts: tuple[int, ...]) -> dict[str, int]:
    return {
        "total_tokens": sum(counts[:5]),
        "requests": counts[6],
        "output_tokens": counts[4],
        "uncached_input_tokens": counts[0],
    }


def _shown(organization: Organization, one: Who, query: Query, counts: tuple[int, ...]) -> dict[str, object]:
    uncached, write_5m, write_1h, read, output, searches, requests = counts
    return {
        "group": shown_group(organization, one, query, DIMENSIONS),
        "usage": {
            "uncached_input_tokens": uncached,
            "cache_creation": {"ephemeral_5m_input_tokens": write_5m, "ephemeral_1h_input_tokens": write_1h},
            "cache_read_input_tokens": read,
            "output_tokens": output,
            "total_tokens": sum(counts[:5]),
            "server_tool_use": {"web_search_requests": searches},
            "requests": requests,
        },
    }
