"""Prove that the normalised tables hold what the raw pages say, by adding the pages up in the plainest way there is.

Deliberately not the product's parser: a bug there must not prove itself. Pages that are current have passed it, so that
here only the few fields that are added up have a type.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa

from stax_pipeline.domain.extraction import QueryName, RawPage, Report, Window
from stax_pipeline.domain.money import EXACT, sum_usd
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.raw import read_raw
from stax_pipeline.lake.store import Lake
from stax_pipeline.warehouse.extractions import Extraction, get_extractions

Sums = dict[date, Decimal]
_COST = frozenset({QueryName.COST, QueryName.ANALYTICS_COST})
_USAGE = frozenset({QueryName.ALL, QueryName.ANALYTICS_ALL})
_TENANTS_AT_ONCE = 500
_OF_TENANTS = " where tenant_id = any(cast(:tenants as uuid[])) and usage_date >= :start and usage_date < :end"


class _CostRow(msgspec.Struct, gc=False):
    amount: str
    cost_type: str | None
    service_tier: str | None


class _UsageRow(msgspec.Struct, gc=False):
    uncached_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    cache_creation: dict[str, Any]


Row = TypeVar("Row", _CostRow, _UsageRow)


class _Day(msgspec.Struct, Generic[Row]):
    starting_at: str
    results: list[Row]


class _Page(msgspec.Struct, Generic[Row]):
    data: list[_Day[Row]]


@dataclass(frozen=True, slots=True)
class _Figure(Generic[Row]):
    """What is added up: `of` one row, told whether it is the newer source's."""

    queries: frozenset[QueryName]
    row: type[Row]
    page: msgspec.json.Decoder[_Page[Row]]
    of: Callable[[Row, bool], Decimal]


class Gap(NamedTuple):
    """A tenant's day whose table does not hold what its extraction says."""

    tenant: str
    usage_date: date
    pages: Decimal
    table: Decimal


def cost_gaps(connection: sa.Connection, lake: Lake, tenants: Sequence[Tenant], window: Window) -> list[Gap]:
    """Days on which `cost_lines` differ from the raw pages, in USD."""
    sql = "select tenant_id, usage_date, sum(amount_usd) from stax.cost_lines"
    return _gaps(connection, lake, tenants, window, Report.COST, _DOLLARS, sql)


def set_aside_gaps(connection: sa.Connection, lake: Lake, tenants: Sequence[Tenant], window: Window) -> list[Gap]:
    """Days on which what was kept apart from `cost_lines` differs from the raw pages, in USD.

    With `cost_gaps` this proves the whole: pages = cost lines + set aside.
    """
    sql = (
        "select tenant_id, usage_date, sum(analytics_set_aside_usd) from stax.source_comparison"
        " join (select tenant_id, usage_date, extraction_id as analytics_extraction_id from stax.coverage"
        " where report = 'cost_report') as current using (tenant_id, usage_date, analytics_extraction_id)"
    )
    return _gaps(connection, lake, tenants, window, Report.COST, _DOLLARS_APART, sql)


def usage_gaps(connection: sa.Connection, lake: Lake, tenants: Sequence[Tenant], window: Window) -> list[Gap]:
    """Days on which `usage_lines` differ from the raw pages, in tokens of all types."""
    sql = (
        "select tenant_id, usage_date, sum(uncached_input_tokens + cache_read_input_tokens"
        " + cache_creation_5m_input_tokens + cache_creation_1h_input_tokens + output_tokens) from stax.usage_lines"
    )
    return _gaps(connection, lake, tenants, window, Report.USAGE, _TOKENS, sql)


def _gaps(
    connection: sa.Connection, lake: Lake, tenants: Sequence[Tenant], window: Window, report: Report,
    figure: _Figure[Row], sql: str,
) -> list[Gap]:  # fmt: skip
    gaps: list[Gap] = []
    waiting = iter(tenants)
    while some := list(islice(waiting, _TENANTS_AT_ONCE)):
        values = {"tenants": [tenant.tenant_id for tenant in some], "start": window.start, "end": window.end}
        tables = _held(connection, sql, values)
        current = _current(connection, report, values)
        for tenant in some:
            held, sent = tables[tenant.tenant_id], _sent(lake, current[tenant.tenant_id], figure)
            for day in sorted(held.keys() | sent.keys()):
                pages, table = sent.get(day, Decimal(0)), held.get(day, Decimal(0))
                if pages != table:
                    gaps.append(Gap(tenant.slug, day, pages, table))
    return gaps


def _held(connection: sa.Connection, sql: str, values: dict[str, object]) -> dict[UUID, Sums]:
    """What a table holds, by tenant and day."""
    found: dict[UUID, Sums] = defaultdict(dict)
    for tenant_id, day, figure in connection.execute(sa.text(sql + _OF_TENANTS + " group by 1, 2"), values):
        found[tenant_id][day] = figure
    return found


def _current(
    connection: sa.Connection, report: Report, values: dict[str, object]
) -> dict[UUID, dict[UUID, tuple[Extraction, set[date]]]]:
    """By tenant and extraction, the days for which it is current."""
    sql = "select tenant_id, extraction_id, usage_date from stax.coverage" + _OF_TENANTS + " and report = :report"
    rows = connection.execute(sa.text(sql), values | {"report": report}).all()
    extractions = get_extractions(connection, (row.extraction_id for row in rows))
    found: dict[UUID, dict[UUID, tuple[Extraction, set[date]]]] = defaultdict(dict)
    for tenant_id, extraction_id, day in rows:
        found[tenant_id].setdefault(extraction_id, (extractions[extraction_id], set()))[1].add(day)
    return found


def _sent(lake: Lake, current: dict[UUID, tuple[Extraction, set[date]]], figure: _Figure[Row]) -> Sums:
    """The sums by day on the raw pages of a tenant's extractions that are current."""
    sums: Sums = {}
    for extraction, days in current.values():
        pages = read_raw(lake, extraction.raw_uri or "", extraction.sha256)[1]
        found = _add_up(pages, figure)
        sums.update({day: found.get(day, Decimal(0)) for day in days})
    return sums


def _add_up(pages: Iterable[RawPage], figure: _Figure[Row]) -> Sums:
    sums: Sums = {}
    rows_seen: set[str] = set()
    for page in pages:
        if page.query not in figure.queries:
            continue
        if page.query.is_analytics:
            for day, row in _rows_of_the_newer_source(page, figure.row, rows_seen):
                sums[day] = EXACT.add(sums.get(day, Decimal(0)), figure.of(row, True))
        else:  # one entry is a whole day; a repeated one says the same again
            for entry in figure.page.decode(page.body).data:
                day = date.fromisoformat(entry.starting_at[:10])
                sums[day] = sum_usd(figure.of(row, False) for row in entry.results)
    return sums


def _rows_of_the_newer_source(page: RawPage, kind: type[Row], seen: set[str]) -> Iterator[tuple[date, Row]]:
    """One entry is one row; one that came before says the same again."""
    for entry in json.loads(page.body)["data"]:
        text = json.dumps(entry, sort_keys=True)
        if text not in seen:
            seen.add(text)
            fields = {**entry["group"], **entry.get("cost", {}), **entry.get("usage", {})}
            yield date.fromisoformat(entry["starting_at"][:10]), msgspec.convert(fields, kind)


def _dollars(row: _CostRow, is_newer: bool) -> Decimal:
    return Decimal(0) if is_newer and _is_apart(row) else _usd(row)


def _dollars_apart(row: _CostRow, is_newer: bool) -> Decimal:
    return _usd(row) if is_newer and _is_apart(row) else Decimal(0)


def _usd(row: _CostRow) -> Decimal:
    """To 18 decimals, half-even: all that a table can hold of a row, and no more than that may be missing."""
    return EXACT.divide(Decimal(row.amount), Decimal(100)).quantize(Decimal("1e-18"), ROUND_HALF_EVEN, EXACT)


def _is_apart(row: _CostRow) -> bool:
    return row.cost_type == "tokens" and row.service_tier not in (None, "", "standard", "batch")


def _tokens(row: _UsageRow, _: bool) -> Decimal:
    writes = sum(count for count in row.cache_creation.values() if isinstance(count, int))
    return Decimal(row.uncached_input_tokens + row.cache_read_input_tokens + row.output_tokens + writes)


_COST_PAGE, _USAGE_PAGE = msgspec.json.Decoder(_Page[_CostRow]), msgspec.json.Decoder(_Page[_UsageRow])
_DOLLARS = _Figure(_COST, _CostRow, _COST_PAGE, _dollars)
_DOLLARS_APART = _Figure(frozenset({QueryName.ANALYTICS_COST}), _CostRow, _COST_PAGE, _dollars_apart)
_TOKENS = _Figure(_USAGE, _UsageRow, _USAGE_PAGE, _tokens)
