"""Extractions and coverage: what was fetched, and which of it is current for each tenant, report and usage date."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.resources.warehouse.tables import coverage, extractions


class Extraction(NamedTuple):
    """A row of `extractions`; `error` is None when it counts."""

    extraction_id: UUID
    tenant_id: UUID
    report: str
    window_start: date
    window_end: date
    extracted_at: datetime
    pages: int
    rows: int
    sha256: str
    raw_uri: str | None
    run_id: str
    error: str | None

    @property
    def window(self) -> Window:
        return Window(self.window_start, self.window_end)


_EXTRACTION = [extractions.c[name] for name in Extraction._fields]


def record(connection: sa.Connection, extraction: Extraction) -> None:
    connection.execute(extractions.insert().values(**extraction._asdict()))


def set_error(connection: sa.Connection, extraction_id: UUID, error: str) -> None:
    """Note why an extraction that arrived whole does not count after all."""
    connection.execute(
        extractions.update().where(extractions.c.extraction_id == extraction_id).values(error=error[:2000])
    )


def newest(connection: sa.Connection, tenant_id: UUID, report: Report, window: Window) -> list[Extraction]:
    """Extractions that count and touch the window, newest first."""
    query = (
        sa.select(*_EXTRACTION)
        .where(
            extractions.c.tenant_id == tenant_id,
            extractions.c.report == report,
            extractions.c.error.is_(None),
            extractions.c.window_start < window.end,
            extractions.c.window_end > window.start,
        )
        .order_by(extractions.c.extracted_at.desc(), extractions.c.recorded_at.desc())
    )
    return [Extraction(*row) for row in connection.execute(query)]


def get_extraction(connection: sa.Connection, extraction_id: UUID) -> Extraction:
    """The extraction of that id; coverage names no other."""
    query = sa.select(*_EXTRACTION).where(extractions.c.extraction_id == extraction_id)
    return Extraction(*connection.execute(query).one())


def newest_by_day(
    connection: sa.Connection, tenant_id: UUID, report: Report, window: Window
) -> list[tuple[Extraction, list[date]]]:
    """The extractions that are newest for some day of the window, each with those days."""
    chosen: list[tuple[Extraction, list[date]]] = []
    open_days = set(window.days)
    for extraction in newest(connection, tenant_id, report, window):
        if days := sorted(day for day in open_days if day in extraction.window):
            chosen.append((extraction, days))
            open_days.difference_update(days)
        if not open_days:
            break
    return chosen


def last_by_tenant(connection: sa.Connection) -> list[Extraction]:
    """The last extraction of every tenant and report, whether it counts or not."""
    query = (
        sa.select(*_EXTRACTION)
        .distinct(extractions.c.tenant_id, extractions.c.report)
        .order_by(extractions.c.tenant_id, extractions.c.report, extractions.c.recorded_at.desc())
    )
    return [Extraction(*row) for row in connection.execute(query)]


class Covered(NamedTuple):
    """A row of `coverage`."""

    tenant_id: UUID
    report: str
    usage_date: date
    extraction_id: UUID
    extracted_at: datetime
    data_through: datetime
    old_enough_to_settle: bool
    state: str
    rows: int


def covered(connection: sa.Connection, tenant_id: UUID, report: Report, window: Window) -> dict[date, Covered]:
    """What is current, by usage date."""
    query = sa.select(*(coverage.c[name] for name in Covered._fields)).where(
        coverage.c.tenant_id == tenant_id,
        coverage.c.report == report,
        coverage.c.usage_date >= window.start,
        coverage.c.usage_date < window.end,
    )
    return {row.usage_date: Covered(*row) for row in connection.execute(query)}
