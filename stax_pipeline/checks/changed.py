"""Which tenant-days a rule may say something else of than it said before: those whose rows are not the same since.

A rule that `follows_days` finds of a day what that day's rows say. What held of a day when it was looked at holds until
the day changes, and a publish or build of other rows is on record: digests in `coverage`, `spend_builds`. What no
record tells (a row changed by hand, a damaged disk) only a look at every day finds.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.checks.rule import WINDOW
from stax_pipeline.domain.extraction import Window
from stax_pipeline.warehouse.arrow_copy import Slot

_CHANGED = f"""
with held as (
    select tenant_id, usage_date,
           coalesce(max(digest) filter (where report = 'cost_report'), '') as cost,
           coalesce(max(digest) filter (where report = 'usage_report'), '') as usage,
           coalesce(max(key_digest) filter (where report = 'usage_report'), '') as keys,
           bool_or(state in ('provisional', 'not reported yet')) as may_become_complete,
           bool_or(report = 'usage_report' and by_key and digest <> '' and key_digest = '') as lacks_keys
    from stax.coverage where {WINDOW} group by 1, 2
),
built as (
    select distinct on (tenant_id, usage_date) tenant_id, usage_date, built_at, cost_digest as cost,
           usage_digest as usage, key_digest as keys
    from stax.spend_builds where {WINDOW} order by tenant_id, usage_date, built_at desc
)
select tenant_id, usage_date
from held h full join built b using (tenant_id, usage_date)
where b.built_at is null or b.built_at >= :since or h.may_become_complete or h.lacks_keys
   or (h.cost, h.usage, h.keys) is distinct from (b.cost, b.usage, b.keys)
union
select c.tenant_id, c.usage_date
from stax.coverage c
where {WINDOW} and c.state = 'complete' and not exists (
    select 1 from stax.publications p join stax.extractions e using (extraction_id)
    where p.tenant_id = c.tenant_id and p.report = c.report and p.usage_date = c.usage_date and p.published_at < :since
      and e.extracted_at >= ((c.usage_date + 1)::timestamp at time zone 'UTC') + interval '5 minutes')
union
select c.tenant_id, c.usage_date
from stax.coverage c join stax.commitments m on m.tenant_id = c.tenant_id
where {WINDOW} and c.state <> 'complete' and c.usage_date between m.starts_on and m.ends_on
"""

_AS_OF = """
select date_trunc('milliseconds', least(clock_timestamp(), min(xact_start))) from pg_stat_activity
where datname = current_database() and usename = current_user
"""


def as_of(connection: sa.Connection) -> datetime:
    """The instant (UTC, whole milliseconds) up to which every publish and build is seen by a query from now on: before
    the oldest transaction that is at work.
    """
    moment: datetime = connection.execute(sa.text(_AS_OF)).scalar_one()
    return moment


def changed_since(connection: sa.Connection, window: Window, since: datetime) -> set[Slot]:
    """The window's tenant-days that are not known to be as they were at `since`, an instant of `as_of`.

    Those are days published or built from other rows, prices, terms or rules; days whose rows are not what spend was
    built from; days that became complete, or still may; days without the usage by key that was asked for; and days
    under a commitment that are not complete, which are built in every run.
    """
    values = {"start": window.start, "end": window.end, "since": since}
    return {(row[0], row[1]) for row in connection.execute(sa.text(_CHANGED), values)}


def written_last(connection: sa.Connection, window: Window, count: int) -> set[Slot]:
    """So many of the window's tenant-days, or all there are: those whose spend was written last."""
    query = (
        f"select tenant_id, usage_date from stax.spend_day_totals where {WINDOW} order by loaded_at desc limit :count"
    )
    values = {"start": window.start, "end": window.end, "count": count}
    return {(row[0], row[1]) for row in connection.execute(sa.text(query), values)}


def columns_of(slots: Collection[Slot]) -> dict[str, list[object]]:
    """Tenant-days as the parameters of `rule.CHANGED`."""
    ordered: list[tuple[UUID, object]] = sorted(slots)
    return {"tenants": [str(tenant) for tenant, _ in ordered], "days": [day for _, day in ordered]}
