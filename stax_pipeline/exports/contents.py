"""What can be exported, read row by row from one snapshot: FOCUS, spend (also as of a past day), usage.

Stays out: how a file is written (`exports.files`) and the mapping to FOCUS (the view and `exports.mixed_speed`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.derive.join import JoinKey
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.exports.files import Column, Kind, Row
from stax_pipeline.exports.mixed_speed import MIXED, FocusRow, MixedLine, SpeedPart, speed_parts, split_by_speed
from stax_pipeline.installation.settings import Settings
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.history import Archive, spend_as_of, workspace_names_at
from stax_pipeline.pipeline.rules_engine import rules_engine
from stax_pipeline.pricing.prices import PriceBook
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.agreements import read_terms
from stax_pipeline.warehouse.prices import read_book
from stax_pipeline.warehouse.publish import read_days
from stax_pipeline.warehouse.tenants import all_tenants

ROWS_AT_A_TIME = 5000


class Dataset(StrEnum):
    FOCUS = "focus"
    SPEND = "spend"
    USAGE = "usage"


_SPEND = ", ".join(f"s.{c.name}" for c in tables.spend.columns if c.name not in ("usage_date", "tenant_id", "line"))
# Each in parts, one after the other; {tenant} narrows to one tenant.
_QUERIES = {
    Dataset.FOCUS: (
        """select * from stax.focus_cost_and_usage
           where "x_UsageDate" >= :start and "x_UsageDate" < :end {tenant}
           order by "x_UsageDate", "x_Tenant", "x_SpendLine" """,
        """select * from stax.focus_cost_and_usage
           where "x_UsageDate" is null and "x_CostSource" = 'commitment-fee'
             and "BillingPeriodStart" >= cast(:start as timestamp) at time zone 'UTC'
             and "BillingPeriodStart" < cast(:end as timestamp) at time zone 'UTC' {tenant}
           order by "BillingPeriodStart", "x_Tenant", "CommitmentDiscountId" """,
    ),
    Dataset.SPEND: (
        f"""select s.usage_date, t.slug as tenant, s.tenant_id, s.line, w.name as workspace_name, {_SPEND}
            from stax.spend s join stax.tenants t using (tenant_id)
            left join stax.workspaces w using (tenant_id, workspace_id)
            where s.usage_date >= :start and s.usage_date < :end {{tenant}}
            order by s.usage_date, t.slug, s.line""",  # noqa: S608 names come from our own schema
    ),
    Dataset.USAGE: (
        """select * from stax.usage_tokens where usage_date >= :start and usage_date < :end {tenant}
           order by usage_date, tenant, workspace_id, model, service_tier, context_window, inference_geo, speed,
                    token_type""",
    ),
}
_NARROWED = {
    Dataset.FOCUS: 'and "x_TenantId" = :tenant', Dataset.SPEND: "and s.tenant_id = :tenant",
    Dataset.USAGE: "and tenant_id = :tenant",
}  # fmt: skip
_KINDS = {1700: Kind.NUMERIC, 20: Kind.COUNT, 1082: Kind.DAY, 1184: Kind.INSTANT, 16: Kind.FLAG}  # by Postgres type oid
_MIXED_LINES = """
select line, usage_date, workspace_id, model, service_tier, context_window, inference_geo, token_type from stax.spend
where tenant_id = :tenant and usage_date = :day and speed = :mixed
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: a dataset, of one tenant or of all, over whole months or over all days held."""

    dataset: Dataset
    tenant: Tenant | None = None
    window: Window | None = None

    @property
    def queries(self) -> tuple[str, ...]:
        narrowed = _NARROWED[self.dataset] if self.tenant else ""
        return tuple(query.format(tenant=narrowed) for query in _QUERIES[self.dataset])

    @property
    def values(self) -> dict[str, Any]:
        window = self.window or Window(date.min, date.max)
        values: dict[str, Any] = {"start": window.start, "end": window.end}
        return values | ({"tenant": self.tenant.tenant_id} if self.tenant else {})


def columns_of(connection: sa.Connection, wanted: Wanted) -> list[Column]:
    """The dataset's columns and kinds, as the database describes them."""
    empty = connection.execute(sa.text(f"select * from ({wanted.queries[0]}) q limit 0"), wanted.values)  # noqa: S608
    described: Any = empty.cursor
    return [Column(name, _KINDS.get(oid, Kind.TEXT)) for name, oid, *_ in described.description]


def rows_of(connection: sa.Connection, wanted: Wanted) -> Iterator[Row]:
    """The rows in order of day, a few thousand in memory at a time. Raises WrongUse when there are none."""
    found = (row for query in wanted.queries for row in _stream(connection, query, wanted.values))
    rows = _split(connection, wanted, found) if wanted.dataset is Dataset.FOCUS else found
    return _some(connection, wanted, rows)


def rows_as_of(
    connection: sa.Connection, lake: Lake, wanted: Wanted, instant: datetime, settings: Settings
) -> Iterator[Row]:
    """Spend as it stood at `instant` (UTC), in the columns of spend; ids and times of what is stored now are NULL."""
    names = [column.name for column in columns_of(connection, wanted)]
    found = _as_of(connection, lake, wanted, instant, settings, names)
    first = next(found, None)
    if first is None:
        raise WrongUse(f"Nothing was shown by {instant:%Y-%m-%d %H:%M} UTC: {_first_build(connection, wanted.tenant)}.")
    return chain((first,), found)


def _as_of(
    connection: sa.Connection, lake: Lake, wanted: Wanted, instant: datetime, settings: Settings, names: list[str]
) -> Iterator[Row]:
    with rules_engine(lake) as rules:
        archive = Archive(connection, lake, settings.settle, rules)
        yield from _lines_as_of(archive, wanted, instant, names)


def _lines_as_of(archive: Archive, wanted: Wanted, instant: datetime, names: list[str]) -> Iterator[Row]:
    connection = archive.connection
    tenants = [wanted.tenant] if wanted.tenant else all_tenants(connection)
    names_then = {tenant.tenant_id: workspace_names_at(archive, tenant, instant) for tenant in tenants}
    for part in _months(connection, wanted):
        for tenant in tenants:
            workspaces = names_then[tenant.tenant_id]
            number: Counter[date] = Counter()
            for line in spend_as_of(archive, tenant, part, instant):
                number[line.usage_date] += 1
                known = line._asdict() | {
                    "tenant": tenant.slug,
                    "tenant_id": tenant.tenant_id,
                    "line": number[line.usage_date],
                    "workspace_name": workspaces.get(line.workspace_id),
                }
                yield [known.get(name) for name in names]


def _stream(connection: sa.Connection, query: str, values: dict[str, Any]) -> Iterator[Row]:
    options = {"stream_results": True, "yield_per": ROWS_AT_A_TIME}
    yield from connection.execute(sa.text(query), values, execution_options=options)


def _some(connection: sa.Connection, wanted: Wanted, rows: Iterator[Row]) -> Iterator[Row]:
    first = next(rows, None)
    if first is None:
        raise WrongUse(_nothing(connection, wanted))
    yield first
    yield from rows


def _nothing(connection: sa.Connection, wanted: Wanted) -> str:
    held = _days_held(connection, wanted.tenant)
    of = f" of tenant {wanted.tenant.slug}" if wanted.tenant else ""
    within = f" in {wanted.window.start:%Y-%m}" if wanted.window else ""
    days = f"Days held: {held.start} to {held.days[-1]} (UTC)." if held else "No day is held; `stax sync` fetches some."
    return f"There is no {wanted.dataset}{of}{within}. {days}"


def _days_held(connection: sa.Connection, tenant: Tenant | None) -> Window | None:
    of = "where tenant_id = :tenant" if tenant else ""
    query = f"select min(usage_date), max(usage_date) + 1 from stax.coverage {of}"  # noqa: S608
    first, end = connection.execute(sa.text(query), {"tenant": tenant.tenant_id} if tenant else {}).one()
    return Window(first, end) if first else None


def _first_build(connection: sa.Connection, tenant: Tenant | None) -> str:
    of = "where tenant_id = :tenant" if tenant else ""
    query = f"select min(built_at) from stax.spend_builds {of}"  # noqa: S608
    first = connection.execute(sa.text(query), {"tenant": tenant.tenant_id} if tenant else {}).scalar()
    return (
        f"the first figures are of {first.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if first else "there are no figures yet"
    )


def _months(connection: sa.Connection, wanted: Wanted) -> Iterator[Window]:
    """The days asked for that are held, a calendar month at a time."""
    held = _days_held(connection, wanted.tenant)
    if held is None:
        return
    asked = wanted.window or held
    start, last = max(asked.start, held.start), min(asked.end, held.end)
    while start < last:
        end = min((start.replace(day=1) + timedelta(days=32)).replace(day=1), last)
        yield Window(start, end)
        start = end


def _split(connection: sa.Connection, wanted: Wanted, rows: Iterator[Row]) -> Iterator[Row]:
    """Rows without one price are split by speed; the days that have any are read once more, one at a time."""
    names = [column.name for column in columns_of(connection, wanted)]
    book = read_book(connection)
    day: tuple[UUID, date] | None = None
    lines: dict[int, MixedLine] = {}
    parts: dict[JoinKey, list[SpeedPart]] = {}
    for found in rows:
        row: FocusRow = dict(zip(names, found, strict=True))
        if row["PricingQuantity"] is None or row["SkuPriceId"] is not None:
            yield found
            continue
        if day != (row["x_TenantId"], row["x_UsageDate"]):
            day = row["x_TenantId"], row["x_UsageDate"]
            lines, parts = _mixed_lines(connection, *day), _parts(connection, book, *day)
        line = lines.get(row["x_SpendLine"])
        if line is None:
            yield found
            continue
        for part in split_by_speed(row, line, parts.get(line.key, [])):
            yield [part[name] for name in names]


def _mixed_lines(connection: sa.Connection, tenant_id: UUID, day: date) -> dict[int, MixedLine]:
    found = connection.execute(sa.text(_MIXED_LINES), {"tenant": tenant_id, "day": day, "mixed": MIXED})
    return {
        row.line: MixedLine(UsageLine(*row[1:7], MIXED, 0, 0, 0, 0, 0, 0, "{}"), row.token_type)  # type: ignore[call-arg]
        for row in found
    }


def _parts(connection: sa.Connection, book: PriceBook, tenant_id: UUID, day: date) -> dict[JoinKey, list[SpeedPart]]:
    used = read_days(connection, tables.usage_lines, UsageLine._fields, tenant_id, day, day + timedelta(days=1))
    return speed_parts((UsageLine(*row) for row in used), read_terms(connection, tenant_id, book))
