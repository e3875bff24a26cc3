"""Prove that the normalised tables hold what the raw pages say, by adding the pages up in the plainest way there is.

Deliberately not the product's parser: a bug there must not prove itself.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa

from stax_pipeline.domain.extraction import QueryName, RawPage, Report, Window
from stax_pipeline.domain.money import EXACT, sum_usd
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.raw import read_raw
from stax_pipeline.lake.store import Lake
from stax_pipeline.warehouse.extractions import Extraction, covered, get_extraction

Sums = dict[date, Decimal]
Figure = Callable[[dict[str, Any], bool], Decimal]  # of one row, and whether it is the newer source's
_COST = frozenset({QueryName.COST, QueryName.ANALYTICS_COST})
_USAGE = frozenset({QueryName.ALL, QueryName.ANALYTICS_ALL})


class Gap(NamedTuple):
    """A tenant's day whose table does not hold what its extraction says."""

    tenant: str
    usage_date: date
    pages: Decimal
    table: Decimal


def cost_gaps(connection: sa.Connection, lake: Lake, tenants: Sequence[Tenant], window: Window) -> list[Gap]:
    """Days on which `cost_lines` differ from the raw pages, in USD."""
    sql = "select usage_date, sum(amount_usd) from stax.cost_lines"
    return _gaps(connection, lake, tenants, window, Report.COST, _COST, sql, _dollars)


def set_aside_gaps(connection: sa.Connection, lake: Lake, tenants: Sequence[Tenant], window: Window) -> list[Gap]:
    """Days on which what was kept apart from `cost_lines` differs from the raw pages, in USD.

    With `cost_gaps` this proves the whole: pages = cost lines + set aside.
    """
    sql = (
        "select usage_date, sum(analytics_set_aside_usd) from stax.source_comparison"
        " join (select tenant_id, usage_date, extraction_id as analytics_extraction_id from stax.coverage"
        " where report = 'cost_report') as current using (tenant_id, usage_date, analytics_extraction_id)"
    )
    return _gaps(connection, lake, tenants, window, Report.COST, _COST, sql, _dollars_apart)


def usage_gaps(connection: sa.Connection, lake: Lake, tenants: Sequence[Tenant], window: Window) -> list[Gap]:
    """Days on which `usage_lines` differ from the raw pages, in tokens of all types."""
    sql = (
        "select usage_date, sum(uncached_input_tokens + cache_read_input_tokens + cache_creation_5m_input_tokens"
        " + cache_creation_1h_input_tokens + output_tokens) from stax.usage_lines"
    )
    return _gaps(connection, lake, tenants, window, Report.USAGE, _USAGE, sql, _tokens)


def _gaps(
    connection: sa.Connection, lake: Lake, tenants: Sequence[Tenant], window: Window, report: Report,
    queries: frozenset[QueryName], sql: str, figure: Figure,
) -> list[Gap]:  # fmt: skip
    where = " where tenant_id = :tenant and usage_date >= :start and usage_date < :end group by usage_date"
    gaps: list[Gap] = []
    for tenant in tenants:
        values = {"tenant": tenant.tenant_id, "start": window.start, "end": window.end}
        held: Sums = {row[0]: row[1] for row in connection.execute(sa.text(sql + where), values)}
        sent = _sent(connection, lake, tenant, report, queries, window, figure)
        for day in sorted(held.keys() | sent.keys()):
            pages, table = sent.get(day, Decimal(0)), held.get(day, Decimal(0))
            if pages != table:
                gaps.append(Gap(tenant.slug, day, pages, table))
    return gaps


def _sent(
    connection: sa.Connection, lake: Lake, tenant: Tenant, report: Report, queries: frozenset[QueryName],
    window: Window, figure: Figure,
) -> Sums:  # fmt: skip
    """The sums by day on the raw pages of the extractions that are current."""
    current = covered(connection, tenant.tenant_id, report, window)
    by_extraction: dict[Any, set[date]] = defaultdict(set)
    for day, row in current.items():
        by_extraction[row.extraction_id].add(day)
    sums: Sums = {}
    for extraction_id, days in by_extraction.items():
        found = _add_up(_pages(lake, get_extraction(connection, extraction_id)), queries, figure)
        sums.update({day: found.get(day, Decimal(0)) for day in days})
    return sums


def _pages(lake: Lake, extraction: Extraction) -> Iterable[RawPage]:
    return read_raw(lake, extraction.raw_uri or "", extraction.sha256)[1]


def _add_up(pages: Iterable[RawPage], queries: frozenset[QueryName], figure: Figure) -> Sums:
    sums: Sums = {}
    rows_seen: set[str] = set()
    for page in pages:
        if page.query not in queries:
            continue
        for entry in json.loads(page.body)["data"]:
            day = date.fromisoformat(entry["starting_at"][:10])
            if not page.query.is_analytics:  # one entry is a whole day; a repeated one says the same again
                sums[day] = sum_usd(figure(row, False) for row in entry["results"])
                continue
            text = json.dumps(entry, sort_keys=True)
            if text not in rows_seen:  # one entry is one row
                rows_seen.add(text)
                row = {**entry["group"], **entry.get("cost", {}), **entry.get("usage", {})}
                sums[day] = EXACT.add(sums.get(day, Decimal(0)), figure(row, True))
    return sums


def _dollars(row: dict[str, Any], is_newer: bool) -> Decimal:
    return Decimal(0) if is_newer and _is_apart(row) else _usd(row)


def _dollars_apart(row: dict[str, Any], is_newer: bool) -> Decimal:
    return _usd(row) if is_newer and _is_apart(row) else Decimal(0)


def _usd(row: dict[str, Any]) -> Decimal:
    """To 18 decimals, half-even: all that a table can hold of a row, and no more than that may be missing."""
    return EXACT.divide(Decimal(row["amount"]), Decimal(100)).quantize(Decimal("1e-18"), ROUND_HALF_EVEN, EXACT)


def _is_apart(row: dict[str, Any]) -> bool:
    return row["cost_type"] == "tokens" and row["service_tier"] not in (None, "", "standard", "batch")


def _tokens(row: dict[str, Any], _: bool) -> Decimal:
    return Decimal(
        row["uncached_input_tokens"]
        + row["cache_read_input_tokens"]
        + sum(count for count in row["cache_creation"].values() if isinstance(count, int))
        + row["output_tokens"]
    )
