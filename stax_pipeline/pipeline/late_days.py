"""Days that are over and that the source has not reported yet: marked in `coverage`, and asked for again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.domain.time import State, day_end
from stax_pipeline.pipeline.history import not_reported
from stax_pipeline.warehouse.extractions import Covered, Extraction, covered, ended_early
from stax_pipeline.warehouse.publish import cover

FIRST_AFTER, THEN_EVERY = timedelta(hours=1), timedelta(hours=3)

_ASKED = """
select t.slug, c.usage_date, count(*) as times, max(x.recorded_at) as last
from stax.coverage c
join stax.tenants t using (tenant_id)
join stax.extractions x
  on x.tenant_id = c.tenant_id and x.report = c.report and x.window_start <= c.usage_date
 and coalesce(x.asked_end, x.window_end) > c.usage_date
 and x.extracted_at >= ((c.usage_date + 1)::timestamp at time zone 'UTC')
where c.state = 'not reported yet' and t.status = 'connected'
group by t.slug, c.report, c.usage_date
order by t.slug, c.usage_date
"""

_NOT_CLOSED = """
select t.slug
from stax.tenants t
where t.status = 'connected' and 2 * (cast(:end as date) - cast(:start as date)) > (
    select count(*) from stax.coverage c
    where c.tenant_id = t.tenant_id and c.report in ('cost_report', 'usage_report')
      and c.usage_date >= :start and c.usage_date < :end and c.extracted_at >= :closes)
order by t.slug
"""


def mark_not_reported(connection: sa.Connection, tenant: Tenant, report: Report, window: Window) -> None:
    """Say of the window's days which the source has not reported yet. The caller holds the tenant's lock."""
    if early := ended_early(connection, tenant.tenant_id, report, window):
        late = late_days(covered(connection, tenant.tenant_id, report, window), early, window)
        cover(connection, tenant.tenant_id, report, [row.usage_date for row in late], late)


def late_days(current: Mapping[date, Covered], early: Iterable[Extraction], window: Window) -> list[Covered]:
    """Rows of `coverage` for days that are over and that `early` extractions asked for in vain.

    A day that was read while it ran keeps what is known of it; one that was whole before stays as it is.
    """
    found: dict[date, Covered] = {}
    for extraction in early:
        for day in Window(extraction.window_end, extraction.asked.end).days:
            known = found.get(day) or current.get(day)
            if day not in window or day_end(day) > extraction.extracted_at:
                continue
            if known is None:
                found[day] = not_reported(extraction, day)
            elif known.state in (State.OPEN, State.PROVISIONAL) and known.extracted_at < extraction.extracted_at:
                found[day] = known._replace(state=State.NOT_REPORTED)
    return list(found.values())


class AskAgain(NamedTuple):
    """Tenants with days that are due to be asked for again, and the days from the first to the last."""

    slugs: list[str]
    window: Window


def due_again(connection: sa.Connection, now: datetime) -> AskAgain | None:
    """What to ask for again at `now` (UTC): an hour after a day was first missing, then every three hours."""
    due = [
        row
        for row in connection.execute(sa.text(_ASKED))
        if row.last + (FIRST_AFTER if row.times == 1 else THEN_EVERY) <= now
    ]
    if not due:
        return None
    days = [row.usage_date for row in due]
    return AskAgain(sorted({row.slug for row in due}), Window(min(days), max(days) + timedelta(days=1)))


def not_closed(connection: sa.Connection, month: Window, closes: datetime) -> list[str]:
    """Connected tenants of which some day of the month was not read since `closes` (UTC)."""
    values = {"start": month.start, "end": month.end, "closes": closes}
    return list(connection.execute(sa.text(_NOT_CLOSED), values).scalars())
