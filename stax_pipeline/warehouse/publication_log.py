"""The publication log: publications of extractions and builds of spend, written with the rows they are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.warehouse.copy import copy_in
from stax_pipeline.warehouse.tables import publications, spend_builds


class Publication(NamedTuple):
    """An extraction became current for these days at `published_at` (UTC)."""

    published_at: datetime
    extraction_id: UUID
    days: list[date]


class Build(NamedTuple):
    """What spend of a day was built from; `priced_at` is the instant whose prices, rates and commitments were used."""

    usage_date: date
    built_at: datetime
    price_book_version: str
    priced_at: datetime
    cost_extraction_id: UUID | None
    usage_extraction_id: UUID | None
    uses: str  # JSON, sorted: what was priced
    cost_digest: str
    usage_digest: str
    key_digest: str
    settled: bool
    rules_version: str

    @property
    def made_of(self) -> tuple[object, ...]:
        """All that spend of the day follows from: where it is equal, so is every figure."""
        return (
            self.price_book_version, self.cost_digest, self.usage_digest, self.key_digest, self.settled,
            self.rules_version,
        )  # fmt: skip


def now(connection: sa.Connection) -> datetime:
    """The database's clock (UTC)."""
    moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment


def add_publications(
    connection: sa.Connection, report: Report, found: Iterable[tuple[UUID, Publication]]
) -> None:  # fmt: skip
    """Log publications of several tenants, each given by its id."""
    rows = (
        (tenant_id, report, day, one.published_at, one.extraction_id) for tenant_id, one in found for day in one.days
    )
    copy_in(connection, publications, [c.name for c in publications.columns], rows)


def published(connection: sa.Connection, tenant_id: UUID, report: Report, window: Window) -> list[Publication]:
    """Publications of the window's days, oldest first."""
    table = publications
    query = (
        sa.select(table.c.published_at, table.c.extraction_id, table.c.usage_date)
        .where(
            table.c.tenant_id == tenant_id, table.c.report == report,
            table.c.usage_date >= window.start, table.c.usage_date < window.end,
        )
        .order_by(table.c.published_at, table.c.usage_date)
    )  # fmt: skip
    days: dict[tuple[datetime, UUID], list[date]] = defaultdict(list)
    for moment, extraction_id, day in connection.execute(query):
        days[moment, extraction_id].append(day)
    return [Publication(*key, found) for key, found in days.items()]


def add_builds(connection: sa.Connection, builds: Iterable[tuple[UUID, Build]]) -> int:
    """Log builds of several tenants, each given by its id."""
    rows = ((tenant_id, *build) for tenant_id, build in builds)
    return copy_in(connection, spend_builds, ["tenant_id", *Build._fields], rows)


def last_builds(
    connection: sa.Connection, tenant_ids: Collection[UUID], window: Window
) -> dict[tuple[UUID, date], Build]:  # fmt: skip
    """The last build of each tenant's day."""
    table = spend_builds
    query = (
        sa.select(table.c.tenant_id, *(table.c[name] for name in Build._fields))
        .distinct(table.c.tenant_id, table.c.usage_date)
        .where(
            table.c.tenant_id == sa.func.any(list(tenant_ids)),
            table.c.usage_date >= window.start, table.c.usage_date < window.end,
        )
        .order_by(table.c.tenant_id, table.c.usage_date, table.c.built_at.desc())
    )  # fmt: skip
    return {(row.tenant_id, row.usage_date): Build(*row[1:]) for row in connection.execute(query)}


def builds_of(
    connection: sa.Connection, tenant_id: UUID, window: Window, until: datetime | None = None
) -> dict[date, list[Build]]:
    """Builds of each of the window's days, oldest first; those by `until` (UTC) if given."""
    table = spend_builds
    query = (
        sa.select(*(table.c[name] for name in Build._fields))
        .where(
            table.c.tenant_id == tenant_id, table.c.usage_date >= window.start, table.c.usage_date < window.end,
            sa.true() if until is None else table.c.built_at <= until,
        )
        .order_by(table.c.usage_date, table.c.built_at)
    )  # fmt: skip
    found: dict[date, list[Build]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.usage_date].append(Build(*row))
    return found
