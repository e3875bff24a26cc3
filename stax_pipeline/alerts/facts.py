"""What alerts are judged by, read from the warehouse: one query per kind, each on its own.

A query that fails leaves its kind unjudged: its alerts stay as they are and every other kind is judged. Stays out: what
is too much and how it is worded (`alerts.causes`, `alerts.figures`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.alerts.causes import (
    Cause,
    Kind,
    Late,
    NewValue,
    Quarantined,
    Rejected,
    Unpriced,
    check_failed,
    key_rejected,
    quarantined,
    tenant_late,
    unknown_values,
)
from stax_pipeline.alerts.figures import (
    DaySpend,
    Inaccurate,
    OffInvoice,
    Restated,
    day_restated,
    invoice_differs,
    price_accuracy_left,
    spend_spikes,
)
from stax_pipeline.anthropic.fields import KNOWN_VALUES
from stax_pipeline.checks.rules import DATA_IS_FRESH, RULES
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.derive.reconciliation import Cause as AccuracyCause
from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.settings import Settings
from stax_pipeline.warehouse.engine import WarehouseFault, plain_faults

Row = TypeVar("Row")
RECENT_DAYS = 35  # as far back as data_is_fresh looks
SPEND_DAYS = 64  # eight weeks before each day of the last one
EVERY = frozenset(Kind)
QUICK = frozenset({Kind.KEY_REJECTED, Kind.QUARANTINED, Kind.TENANT_LATE, Kind.CHECK_FAILED})
"""Kinds that are cheap to judge; the others read weeks of rows of every tenant."""

REJECTED = """
select t.tenant_id, t.slug,
       (select max(e.recorded_at) from stax.extractions e where e.tenant_id = t.tenant_id and e.error is not null)
from stax.tenants t
where t.status = 'key_rejected'
"""
# What was quarantined stays so until a later extraction counts that reads again a day that was over then.
HELD = """
select t.tenant_id, t.slug, e.report, e.error, e.window_start, e.window_end, e.extracted_at
from stax.tenants t
cross join (values ('cost_report'), ('usage_report')) as r (report)
cross join lateral (
    select * from stax.extractions x
    where x.tenant_id = t.tenant_id and x.report = r.report
      and (x.error like 'unit mismatch%' or x.error like 'shrunk%') and x.recorded_at > :now - interval '35 days'
    order by x.recorded_at desc limit 1
) e
where t.status <> 'disconnected'
  and not exists (
    select 1 from stax.extractions later
    where later.tenant_id = e.tenant_id and later.report = e.report and later.error is null
      and later.recorded_at > e.recorded_at and later.window_end > e.window_start
      and later.window_start < least(e.window_end, (e.extracted_at at time zone 'UTC')::date))
"""
UNPRICED = """
select t.tenant_id, t.slug, s.model, s.service_tier, s.cost_type, s.inference_geo, min(s.usage_date), max(s.usage_date)
from stax.spend s
join stax.tenants t using (tenant_id)
where s.usage_date >= :recent and t.status <> 'disconnected'
  and (s.cost_source = 'unpriced'
       or (s.cost_type = 'tokens' and s.quantity > 0 and coalesce(s.list_cost_usd, s.contracted_cost_usd) is null))
group by t.tenant_id, t.slug, s.model, s.service_tier, s.cost_type, s.inference_geo
"""
INACCURATE = """
select t.tenant_id, t.slug, r.model, r.service_tier, r.usage_date, r.ratio, r.cause
from stax.reconciliation r
join stax.tenants t using (tenant_id)
where r.usage_date >= :recent and r.ratio is not null
  and r.cause not in ('', 'band', 'unknown price', 'cost not arrived')
  and t.status <> 'disconnected'
  and not (r.cause = :unbilled and exists (
      select 1 from stax.accepted_findings a
      where a.tenant_id = r.tenant_id and a.check_name = 'every_usage_billed' and a.superseded_at is null
        and r.usage_date between a.effective_from and coalesce(a.effective_to, r.usage_date)))
"""
DAY_SPEND = """
with complete as (
    select tenant_id, usage_date from stax.coverage
    where usage_date >= :spend_from and state = 'complete' and report in ('cost_report', 'usage_report')
    group by tenant_id, usage_date having count(*) = 2
),
spent as (
    select tenant_id, usage_date, billed_usd - credits_usd + priority_reconstructed_usd + estimated_usd as usd
    from stax.spend_day_totals where usage_date >= :spend_from
)
select t.tenant_id, t.slug, usage_date, coalesce(s.usd, 0)
from complete
left join spent s using (tenant_id, usage_date)
join stax.tenants t using (tenant_id)
where t.status <> 'disconnected'
"""
# As far back as INACCURATE: a day that was told as restated is not told as inaccurate once that alert has expired.
RESTATED = """
select t.tenant_id, t.slug, r.usage_date, r.kind, r.seen_on, r.added, r.taken,
       case r.kind when 'cost' then
           (select coalesce(sum(amount_usd), 0) from stax.cost_lines l
            where l.tenant_id = r.tenant_id and l.usage_date = r.usage_date)
       else
           (select coalesce(sum(uncached_input_tokens + cache_read_input_tokens + cache_creation_5m_input_tokens
                                + cache_creation_1h_input_tokens + output_tokens), 0) from stax.usage_lines l
            where l.tenant_id = r.tenant_id and l.usage_date = r.usage_date)
       end - r.net as before,
       (select coalesce(sum(amount_usd), 0) from stax.cost_lines l
        where r.kind = 'cost' and l.tenant_id = r.tenant_id and l.usage_date = r.usage_date and l.amount_usd > 0)
from (
    select tenant_id, usage_date, kind, seen_on, coalesce(sum(change) filter (where change > 0), 0) as added,
           coalesce(-sum(change) filter (where change < 0), 0) as taken,
           sum(sum(change)) over (partition by tenant_id, usage_date, kind) as net
    from (select tenant_id, usage_date, kind, (seen_at at time zone 'UTC')::date as seen_on,
                 case kind when 'cost' then difference_usd else difference_quantity end as change
          from stax.restatements
          where seen_at >= :recent
            and (kind = 'cost' or (kind = 'usage' and cost_type = 'tokens'))) changes
    group by tenant_id, usage_date, kind, seen_on
) r
join stax.tenants t using (tenant_id)
where t.status <> 'disconnected'
"""
# To the cent, or within 0.1 % of what reported dollars and commitment fees make; whole months only.
OFF_INVOICE = """
select t.tenant_id, t.slug, i.month, i.amount_usd, s.expected
from (select distinct on (tenant_id, month) tenant_id, month, amount_usd
      from stax.invoices order by tenant_id, month, recorded_at desc) i
join stax.tenants t using (tenant_id)
cross join lateral (select (i.month + interval '1 month')::date as next_month) m
cross join lateral (
    select coalesce(sum(billed_usd + commitment_fee_usd), 0) as expected
    from stax.spend_day_totals x
    where x.tenant_id = i.tenant_id and x.usage_date >= i.month and x.usage_date < m.next_month
) s
where t.status <> 'disconnected'
  and 2 * (m.next_month - i.month) = (
    select count(*) from stax.coverage c
    where c.tenant_id = i.tenant_id and c.usage_date >= i.month and c.usage_date < m.next_month
      and c.state = 'complete' and c.report in ('cost_report', 'usage_report'))
  and abs(i.amount_usd - s.expected) > greatest(0.005, 0.001 * abs(s.expected))
"""
TENANTS = "select slug, tenant_id from stax.tenants where status <> 'disconnected'"


NEW_VALUES = """
select t.tenant_id, t.slug, v.name, v.value, min(x.first), max(x.last)
from (
    select tenant_id, cost_type, token_type, service_tier, context_window, inference_geo,
           min(usage_date) as first, max(usage_date) as last
    from stax.cost_lines where usage_date >= :recent group by 1, 2, 3, 4, 5, 6
    union all
    select tenant_id, '', '', service_tier, context_window, inference_geo, min(usage_date), max(usage_date)
    from stax.usage_lines where usage_date >= :recent group by 1, 2, 3, 4, 5, 6
) x
cross join lateral (values
    ('cost_type', x.cost_type), ('token_type', x.token_type), ('service_tier', x.service_tier),
    ('context_window', x.context_window), ('inference_geo', x.inference_geo)
) as v (name, value)
join stax.tenants t using (tenant_id)
where t.status <> 'disconnected' and v.value <> '' and not jsonb_exists(cast(:known as jsonb) -> v.name, v.value)
group by t.tenant_id, t.slug, v.name, v.value
"""


@dataclass(slots=True)
class Judged:
    """The causes that were found, the kinds that could be judged, and why the others could not."""

    causes: list[Cause] = field(default_factory=list)
    kinds: set[Kind] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


def judge(
    connection: sa.Connection,
    settings: Settings,
    now: datetime,
    failed_checks: Mapping[str, Collection[str]],
    kinds: Collection[Kind] = EVERY,
) -> Judged:
    """Every cause of these kinds at the instant `now` (UTC). `failed_checks` are checks in ERROR with the slugs they
    name.
    """
    facts = _Facts(connection, now)
    judged = Judged()
    tenants: dict[str, UUID] = dict(facts.rows(TENANTS, lambda slug, tenant: (slug, tenant)))
    words = {rule.name: rule.description for rule in RULES}
    judges: list[tuple[Kind, Callable[[], Iterable[Cause]]]] = [
        (Kind.KEY_REJECTED, lambda: key_rejected(facts.rows(REJECTED, Rejected))),
        (Kind.QUARANTINED, lambda: quarantined(facts.rows(HELD, Quarantined))),
        (Kind.TENANT_LATE, lambda: tenant_late(_late(connection, settings, now, tenants), judged.causes)),
        (Kind.CHECK_FAILED, lambda: check_failed(failed_checks, words, tenants)),
        (Kind.UNKNOWN_VALUE,
         lambda: unknown_values(facts.rows(UNPRICED, Unpriced), facts.rows(NEW_VALUES, NewValue))),
        (Kind.DAY_RESTATED, lambda: day_restated(facts.rows(RESTATED, Restated))),
        (Kind.PRICE_ACCURACY, lambda: price_accuracy_left(facts.rows(INACCURATE, Inaccurate), judged.causes)),
        (Kind.SPEND_SPIKE, lambda: spend_spikes(facts.rows(DAY_SPEND, DaySpend), now.date())),
        (Kind.INVOICE_DIFFERS, lambda: invoice_differs(facts.rows(OFF_INVOICE, OffInvoice))),
    ]  # fmt: skip
    for kind, causes in judges:
        if kind not in kinds:
            continue
        try:
            with plain_faults(f"looking for {kind}"), connection.begin_nested():
                judged.causes += list(causes())
            judged.kinds.add(kind)
        except WarehouseFault as fault:
            judged.faults.append(str(fault))
    return judged


@dataclass(frozen=True, slots=True)
class _Facts:
    connection: sa.Connection
    now: datetime

    def rows(self, query: str, make: Callable[..., Row]) -> Iterator[Row]:
        values = {
            "now": self.now,
            "recent": self.now.date() - timedelta(days=RECENT_DAYS),
            "unbilled": AccuracyCause.UNBILLED.value,
            "known": json.dumps({name: sorted(values) for name, values in KNOWN_VALUES.items()}),
            "spend_from": self.now.date() - timedelta(days=SPEND_DAYS),
        }
        used = {name: value for name, value in values.items() if f":{name}" in query}
        return (make(*row) for row in self.connection.execute(sa.text(query), used))


def _late(connection: sa.Connection, settings: Settings, now: datetime, tenants: Mapping[str, UUID]) -> Iterator[Late]:
    today = Window(now.date(), now.date() + timedelta(days=1))
    found = run_rule(connection, DATA_IS_FRESH, today, now, settings).rows
    rows: Iterable[tuple[Any, ...]] = (row for row in found if not DATA_IS_FRESH.is_mild(row))
    return (Late(tenants[slug], slug, report, day, state) for slug, report, day, state in rows if slug in tenants)
