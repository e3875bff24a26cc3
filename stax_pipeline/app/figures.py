"""What pages show, read as the person who asks: the policies leave out what that person may not see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.alerts.causes import Kind
from stax_pipeline.domain.next_step import next_step
from stax_pipeline.domain.tenant import DISCONNECTED, KEY_REJECTED
from stax_pipeline.warehouse.tables import extractions, tenants

_MONTH = """
select t.tenant_id, t.slug, t.name, t.status, f.usage_data_through, f.cost_data_through,
       coalesce(s.billed_usd, 0) as billed_usd, coalesce(s.reconstructed_usd, 0) as reconstructed_usd,
       coalesce(s.estimated_usd, 0) as estimated_usd, coalesce(s.unpriced_tokens, 0) as unpriced_tokens,
       r.accuracy, e.report, e.error
from stax.tenants t
left join stax.freshness f using (tenant_id)
left join lateral (
    select sum(x.billed_usd) as billed_usd, sum(x.priority_reconstructed_usd) as reconstructed_usd,
           sum(x.estimated_usd) as estimated_usd, sum(x.unpriced_tokens) as unpriced_tokens
    from stax.spend_summary x
    where x.tenant_id = t.tenant_id and x.usage_date >= :start and x.usage_date <= :today) s on true
left join lateral (
    select round(sum(x.priced_usd) / nullif(sum(x.reported_usd), 0), 6) as accuracy
    from stax.reconciliation x
    where x.tenant_id = t.tenant_id and x.usage_date >= :start and x.usage_date <= :today
      and x.ratio is not null) r on true
left join lateral (
    select x.report, x.error
    from stax.extractions x
    where x.tenant_id = t.tenant_id and x.error is not null and x.report <> 'analytics'
      and not exists (select 1 from stax.extractions later
                      where later.tenant_id = x.tenant_id and later.report = x.report and later.error is null
                        and later.recorded_at > x.recorded_at)
    order by x.recorded_at desc limit 1) e on true
where cast(:slug as text) is null or t.slug = :slug
order by t.slug
"""
_ALERTS = """
select tenant_id, kind, what, todo
from stax.alerts
where resolved_at is null and closed_at is null and tenant_id = any(:tenants)
order by tenant_id, opened_at desc
"""
_DAYS = """
select d.usage_date, c.cost_state, c.usage_state
from (select cast(:first as date) + n as usage_date from generate_series(0, :days - 1) as n) d
left join stax.completeness c on c.tenant_id = :tenant and c.usage_date = d.usage_date
order by 1
"""
_SPENT = """
select usage_date, coalesce(model, '') as model, cost_source, sum(cost_usd) as usd
from stax.spend_daily
where tenant_id = :tenant and usage_date >= :first and usage_date <= :last and cost_usd <> 0
  and cost_source in ('reported', 'priority-reconstructed', 'usage-estimated')
group by 1, 2, 3
"""
_FETCH_TROUBLE = {Kind.KEY_REJECTED, Kind.QUARANTINED, Kind.TENANT_LATE}


_PROGRESS = """
select t.slug, t.name, count(*) filter (where c.report = 'cost_report') as cost_days,
       count(*) filter (where c.report = 'usage_report') as usage_days,
       (select count(distinct s.usage_date) from stax.spend s where s.tenant_id = t.tenant_id) as spend_days,
       t.first_sync_run_id is not null as is_done
from stax.tenants t
left join stax.coverage c using (tenant_id)
where t.slug = :slug
group by t.tenant_id
"""


class Trouble(NamedTuple):
    """Something that needs a person: what happened and what to do, in sentences."""

    what: str
    todo: str


class Month(NamedTuple):
    """A tenant's month to date, in USD: the three kinds of dollars are told apart and add up to the total."""

    tenant_id: UUID
    slug: str
    name: str
    status: str
    usage_data_through: datetime | None
    cost_data_through: datetime | None
    billed_usd: Decimal
    reconstructed_usd: Decimal
    estimated_usd: Decimal
    unpriced_tokens: Decimal
    price_accuracy: Decimal | None
    trouble: tuple[Trouble, ...]

    @property
    def total_usd(self) -> Decimal:
        return self.billed_usd + self.reconstructed_usd + self.estimated_usd

    @property
    def has_data(self) -> bool:
        return self.usage_data_through is not None or self.cost_data_through is not None


class Connection(NamedTuple):
    """A tenant and the state of its connection; `first_sync_run_id` is None until its first days have come."""

    tenant_id: UUID
    slug: str
    name: str
    organization_id: str
    status: str
    first_sync_run_id: str | None


class SyncProgress(NamedTuple):
    """How many days of each report are there, and of how many days there are dollars."""

    slug: str
    name: str
    cost_days: int
    usage_days: int
    spend_days: int
    is_done: bool


class DaySpend(NamedTuple):
    """Dollars of one day, model and cost source; model '' is what has none."""

    usage_date: date
    model: str
    cost_source: str
    usd: Decimal


class DayState(NamedTuple):
    """How far the reports of a day are there; None where one was never read."""

    usage_date: date
    cost_state: str | None
    usage_state: str | None


def months(connection: sa.Connection, today: date, slug: str | None = None) -> list[Month]:
    """The calendar month (UTC) up to `today` of every tenant, or of one; those that need a person come first."""
    rows = connection.execute(sa.text(_MONTH), {"start": today.replace(day=1), "today": today, "slug": slug}).all()
    alerts: dict[UUID, list[Any]] = defaultdict(list)
    for alert in connection.execute(sa.text(_ALERTS), {"tenants": [row.tenant_id for row in rows]}):
        alerts[alert.tenant_id].append(alert)
    found = [Month._make((*tuple(row)[:11], _trouble(row, alerts[row.tenant_id]))) for row in rows]
    return sorted(found, key=lambda one: (not one.trouble, -one.total_usd, one.slug))


def connection_of(
    connection: sa.Connection, *, slug: str | None = None, tenant_id: UUID | None = None
) -> Connection | None:
    """The tenant of that slug or id, None where the reader sees none."""
    chosen = tenants.c.slug == slug if tenant_id is None else tenants.c.tenant_id == tenant_id
    row = connection.execute(sa.select(*(tenants.c[name] for name in Connection._fields)).where(chosen)).one_or_none()
    return None if row is None else Connection(*row)


def sync_progress(connection: sa.Connection, slug: str) -> SyncProgress | None:
    """How far a tenant's first days are, None where the reader sees no such tenant."""
    row = connection.execute(sa.text(_PROGRESS), {"slug": slug}).one_or_none()
    return None if row is None else SyncProgress(*row)


def last_run(connection: sa.Connection, month: Month) -> str | None:
    """The Dagster run that fetched the tenant last, None before the first."""
    query = (
        sa.select(extractions.c.run_id)
        .where(extractions.c.tenant_id == month.tenant_id)
        .order_by(extractions.c.recorded_at.desc())
        .limit(1)
    )
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def spent_by_day(connection: sa.Connection, month: Month, first: date, last: date) -> list[DaySpend]:
    """Every dollar of these days, both ends included."""
    named = {"tenant": month.tenant_id, "first": first, "last": last}
    return [DaySpend(*row) for row in connection.execute(sa.text(_SPENT), named)]


def states(connection: sa.Connection, month: Month, first: date, last: date) -> list[DayState]:
    """Each of these days, both ends included."""
    named = {"tenant": month.tenant_id, "first": first, "days": (last - first).days + 1}
    return [DayState(*row) for row in connection.execute(sa.text(_DAYS), named)]


def window(today: date, days: int) -> tuple[date, date]:
    """The `days` days that end with today."""
    return today - timedelta(days=days - 1), today


def _trouble(row: Any, alerts: Sequence[Any]) -> tuple[Trouble, ...]:
    """Open alerts; before them a rejected key or a failed fetch that no alert tells of yet."""
    if row.status == DISCONNECTED:
        return ()
    told = {alert.kind for alert in alerts}
    found = tuple(Trouble(alert.what, alert.todo) for alert in alerts)
    if row.status == KEY_REJECTED and Kind.KEY_REJECTED not in told:
        what = "Anthropic rejects the admin key; nothing more is fetched with it."
        return (Trouble(what, next_step(row.slug, "", key_rejected=True)), *found)
    if row.status != KEY_REJECTED and row.error and not told & _FETCH_TROUBLE:
        return (Trouble(f"The last {row.report} failed: {row.error}", next_step(row.slug, row.error)), *found)
    return found
