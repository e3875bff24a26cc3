"""Extractions and coverage: what was fetched, and which of it is current for each tenant, report and usage date."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.warehouse.tables import coverage, extractions, publications


class Extraction(NamedTuple):
    """A row of `extractions`; `error` is None when it counts, `recorded_at` until the database has told it.

    `asked_end` is None unless the source had nothing yet of the last days that were asked for, those from `window_end`.
    """

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
    recorded_at: datetime | None = None
    asked_end: date | None = None

    @property
    def window(self) -> Window:
        """The days that the source answered for."""
        return Window(self.window_start, self.window_end)

    @property
    def asked(self) -> Window:
        """The days that were asked for."""
        return Window(self.window_start, self.asked_end or self.window_end)


_EXTRACTION = [extractions.c[name] for name in Extraction._fields]


def record(connection: sa.Connection, *found: Extraction) -> None:
    """Add extractions; the database says when they were recorded, unless all of them say it."""
    left_out = {"recorded_at"} if any(one.recorded_at is None for one in found) else set()
    values = [{name: value for name, value in one._asdict().items() if name not in left_out} for one in found]
    if values:
        connection.execute(extractions.insert(), values)


def set_error(connection: sa.Connection, extraction_id: UUID, error: str) -> bool:
    """Note why an extraction that arrived whole does not count after all; False where it was published meanwhile.

    The caller holds the tenant's lock.
    """
    published = sa.exists().where(publications.c.extraction_id == extraction_id)
    noted = connection.execute(
        extractions.update().where(extractions.c.extraction_id == extraction_id, ~published).values(error=error[:2000])
    )
    return bool(noted.rowcount)


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


def get_extractions(connection: sa.Connection, ids: Iterable[UUID]) -> dict[UUID, Extraction]:
    """Extractions by id."""
    query = sa.select(*_EXTRACTION).where(extractions.c.extraction_id.in_(set(ids)))
    return {row.extraction_id: Extraction(*row) for row in connection.execute(query)}


def get_extraction(connection: sa.Connection, extraction_id: UUID) -> Extraction:
    """The extraction of that id; coverage names no other."""
    query = sa.select(*_EXTRACTION).where(extractions.c.extraction_id == extraction_id)
    return Extraction(*connection.execute(query).one())


_UNPUBLISHED = """
with held as (
    select c.tenant_id, c.usage_date, x.extracted_at, x.recorded_at
    from stax.coverage c join stax.extractions x using (extraction_id)
    where c.tenant_id = any(:tenants) and c.report = :report and c.usage_date >= :start and c.usage_date < :end
)
select {columns}, array_agg(day::date order by day) as days
from stax.extractions e
cross join lateral generate_series(
    greatest(e.window_start, :start)::timestamp, least(e.window_end, :end)::timestamp - interval '1 day',
    interval '1 day') day
left join held h on h.tenant_id = e.tenant_id and h.usage_date = day::date
where e.tenant_id = any(:tenants) and e.report = :report and e.error is null
  and e.window_start < :end and e.window_end > :start
  and (h.tenant_id is null or (e.extracted_at, e.recorded_at) > (h.extracted_at, h.recorded_at))
group by e.extraction_id
order by e.recorded_at, e.extracted_at
"""


def unpublished(
    connection: sa.Connection, tenant_ids: Collection[UUID], report: Report, window: Window
) -> dict[UUID, list[tuple[Extraction, list[date]]]]:
    """By tenant, extractions that count, as they were recorded, each with the days of the window it is newer for."""
    columns = ", ".join(f"e.{name}" for name in Extraction._fields)
    values = {
        "tenants": list(tenant_ids), "report": report, "start": window.start, "end": window.end
    }  # fmt: skip
    found: dict[UUID, list[tuple[Extraction, list[date]]]] = defaultdict(list)
    for row in connection.execute(sa.text(_UNPUBLISHED.format(columns=columns)), values):
        found[row.tenant_id].append((Extraction(*row[:-1]), row.days))
    return dict(found)


def ended_early(
    connection: sa.Connection, tenant_ids: Collection[UUID], report: Report, window: Window
) -> dict[UUID, list[Extraction]]:
    """By tenant, extractions that count and asked for days of the window of which the source had nothing yet, as
    they were recorded.
    """
    query = (
        sa.select(*_EXTRACTION)
        .where(
            extractions.c.tenant_id == sa.func.any(list(tenant_ids)),
            extractions.c.report == report,
            extractions.c.error.is_(None),
            extractions.c.window_end < window.end,
            extractions.c.asked_end > window.start,
        )
        .order_by(extractions.c.recorded_at, extractions.c.extracted_at)
    )
    found: dict[UUID, list[Extraction]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.tenant_id].append(Extraction(*row))
    return dict(found)


_SNAPSHOTS_DUE = """
with held as (
    select tenant_id, last_seen_at, case when is_default then 1 else 2 end as entries from stax.workspaces
    union all select tenant_id, last_seen_at, 1 from stax.api_keys
    union all select tenant_id, last_seen_at, 1 from stax.members
), dated as (
    select *, max(last_seen_at) over (partition by tenant_id) as newest from held where tenant_id = any(:tenants)
), seen as (
    select tenant_id, newest, sum(entries) as entries from dated where last_seen_at = newest group by tenant_id, newest
), counted as (
    select {columns}, newest, entries, count(*) over (partition by e.tenant_id, e.extracted_at) as alike
    from stax.extractions e left join seen using (tenant_id)
    where tenant_id = any(:tenants) and report = :report and error is null
      and (newest is null or extracted_at >= newest)
)
select {columns} from counted e where newest is null or extracted_at > newest or alike > 1 or rows <> entries
order by recorded_at, extracted_at
"""


def snapshots_due(connection: sa.Connection, tenant_ids: Collection[UUID]) -> list[Extraction]:
    """Lists of names that count and are not older than the names that are held, as they were recorded.

    The one that those were made of is not among them where all its entries are there: the two lists of workspaces have
    each but the default one twice.
    """
    query = sa.text(_SNAPSHOTS_DUE.format(columns=", ".join(f"e.{name}" for name in Extraction._fields)))
    values = {"tenants": list(tenant_ids), "report": Report.ORGANIZATION}
    return [Extraction(*row) for row in connection.execute(query, values)]


def in_order(
    connection: sa.Connection, tenant_id: UUID, report: Report, window: Window, until: datetime | None = None
) -> list[Extraction]:
    """Extractions that count and touch the window, as they were recorded; those recorded by `until` (UTC) if given."""
    found = newest(connection, tenant_id, report, window)
    return sorted(
        (e for e in found if e.recorded_at and (until is None or e.recorded_at <= until)),
        key=lambda e: (e.recorded_at, e.extracted_at),
    )


def newest_by_day(
    connection: sa.Connection, tenant_id: UUID, report: Report, window: Window, until: datetime | None = None
) -> list[tuple[Extraction, list[date]]]:
    """The extractions that are newest for some day of the window, each with those days, as of `until` (UTC)."""
    current: dict[date, Extraction] = {}
    for extraction in in_order(connection, tenant_id, report, window, until):
        current.update((day, extraction) for day in renewed(extraction, window, current))
    days: dict[Extraction, list[date]] = defaultdict(list)
    for day, extraction in sorted(current.items()):
        days[extraction].append(day)
    return list(days.items())


def renewed(
    extraction: Extraction, window: Window, current: Mapping[date, Extraction] | Mapping[date, Covered]
) -> list[date]:
    """Days of the window for which an extraction recorded after the `current` ones becomes the current one."""
    return [
        day
        for day in window.days
        if day in extraction.window and (day not in current or current[day].extracted_at <= extraction.extracted_at)
    ]


def raw_uris(connection: sa.Connection, tenant_id: UUID) -> set[str]:
    """The raw objects that some extraction of the tenant names."""
    query = sa.select(extractions.c.raw_uri).where(
        extractions.c.tenant_id == tenant_id, extractions.c.raw_uri.is_not(None)
    )
    return set(connection.execute(query).scalars())


def reach(connection: sa.Connection) -> Window | None:
    """From the first to the last usage date that any extraction asked for; None without extractions."""
    query = sa.select(sa.func.min(extractions.c.window_start), sa.func.max(extractions.c.window_end)).where(
        extractions.c.report != Report.ORGANIZATION
    )
    first, last = connection.execute(query).one()
    return None if first is None else Window(first, last)


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
    by_key: bool = True
    metered: bool = False
    digest: str = ""
    key_digest: str = ""


class Current(NamedTuple):
    """What is current of a tenant's day, and when its extraction was recorded (UTC)."""

    covered: Covered
    recorded_at: datetime

    def is_older_than(self, extraction: Extraction) -> bool:
        """Whether the extraction would replace it: by the source's moment, then by when it was recorded."""
        recorded_at = extraction.recorded_at or extraction.extracted_at
        return (extraction.extracted_at, recorded_at) > (self.covered.extracted_at, self.recorded_at)


Slot = tuple[UUID, date]


def current(
    connection: sa.Connection, tenant_ids: Collection[UUID], report: Report, window: Window
) -> dict[Slot, Current]:
    """What is current, by tenant and usage date."""
    query = (
        sa.select(*(coverage.c[name] for name in Covered._fields), extractions.c.recorded_at)
        .join(extractions, extractions.c.extraction_id == coverage.c.extraction_id)
        .where(
            coverage.c.tenant_id == sa.func.any(list(tenant_ids)), coverage.c.report == report,
            coverage.c.usage_date >= window.start, coverage.c.usage_date < window.end,
        )
    )  # fmt: skip
    rows = (Current(Covered(*row[:-1]), row.recorded_at) for row in connection.execute(query))
    return {(row.covered.tenant_id, row.covered.usage_date): row for row in rows}


def covered(connection: sa.Connection, tenant_id: UUID, report: Report, window: Window) -> dict[date, Covered]:
    """What is current of one tenant, by usage date."""
    found = current(connection, [tenant_id], report, window)
    return {day: row.covered for (_, day), row in found.items()}
