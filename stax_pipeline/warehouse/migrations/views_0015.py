"""The views of migration 0015 as it was released: committed units by the minutes read, an invoice's differences told
once, workspaces apart that share a name.
"""

from __future__ import annotations

from stax_pipeline.warehouse.migrations import views_0012
from stax_pipeline.warehouse.migrations.views import changed
from stax_pipeline.warehouse.migrations.views_0005 import agreements, spending
from stax_pipeline.warehouse.migrations.views_0005.view import ALIASES, View

COMMITMENT_UTILISATION = changed(
    agreements.COMMITMENT_UTILISATION,
    (
        """
                              * case when v.state = 'open'
                                     then floor(extract(epoch from v.data_through
                                                        - b.usage_date::timestamp at time zone 'UTC') / 60)
                                     else 1440 end, b.used_units) end as committed_units""",
        """
                              * case when v.data_through is null then 1440
                                     else least(1440, greatest(0, floor(extract(epoch from
                                         v.data_through - b.usage_date::timestamp at time zone 'UTC') / 60)))
                                     end, b.used_units) end as committed_units""",
    ),
    columns={"committed_units": "Committed tokens per minute × the minutes that were read: 1440 of a complete day"},
    times=2,
)

_SAME_CELL = f"""s.tenant_id = m.tenant_id and s.usage_date = d.usage_date
              and coalesce((select a.id from {ALIASES} as a (alias, id) where a.alias = s.model), s.model) = r.model
              and coalesce(nullif(s.service_tier, ''), 'standard') = r.service_tier"""
"""Spend lines `s` of what a row `r` of the error bar is about."""

INVOICE_DIFFERENCES = View(
    "invoice_differences",
    agreements.INVOICE_DIFFERENCES.comment + ". The same tokens are told once",
    """
    select t.slug, m.tenant_id, m.month, x.usage_date, nullif(x.model, '') as model, x.kind, x.usd,
           concat_ws(', ', x.quantity || ' ' || x.unit, x.detail,
                     'priced ÷ reported ' || round(x.priced_usd / nullif(x.reported_usd, 0), 6), nullif(x.cause, ''))
               as note,
           x.days, x.quantity, x.unit, x.detail, x.priced_usd, x.reported_usd, nullif(x.cause, '') as cause
    from """
    + agreements.MONTHS
    + f""" m
    join stax.tenants t using (tenant_id)
    cross join lateral (
        select min(day) as usage_date, '' as model, 'day missing' as kind, null::numeric as usd,
               count(*)::numeric as quantity,
               case count(*) when 1 then 'day' else 'days' end || ' without a complete cost report' as unit,
               concat(min(day), case when count(*) > 1 then ' to ' || max(day) end, ': ', state) as detail,
               null::numeric as priced_usd, null::numeric as reported_usd, '' as cause, count(*)::int as days
        from (
            select day, state, day - (row_number() over (partition by state order by day))::int as run
            from (
                select m.month + n as day, coalesce(c.state, 'not read') as state
                from generate_series(0, extract(day from m.month + interval '1 month - 1 day')::int - 1) as n
                left join stax.coverage c
                  on c.tenant_id = m.tenant_id and c.usage_date = m.month + n and c.report = 'cost_report'
            ) missing
            where state <> 'complete' and day < (now() at time zone 'UTC')::date
        ) r
        group by state, run
        union all
        select d.usage_date, y.model, y.kind, y.usd, y.quantity, y.unit, y.detail, y.priced_usd, y.reported_usd,
               y.cause, 1
        from (
            select m.month + n as usage_date
            from generate_series(0, extract(day from m.month + interval '1 month - 1 day')::int - 1) as n
        ) d
        cross join lateral (
            select s.model, s.cost_source as kind,
                   case s.cost_source when 'unbilled' then sum(s.list_cost_usd) else sum(s.cost_usd) end as usd,
                   sum(s.quantity)::numeric as quantity, s.unit,
                   case s.cost_source when 'priority-reconstructed' then 'not in the reported dollars'
                                      when 'usage-estimated' then 'the cost has not arrived'
                                      when 'unbilled' then 'list price of what was never billed'
                                      else 'no price is known' end as detail,
                   null::numeric as priced_usd, null::numeric as reported_usd, '' as cause
            from stax.spend s
            where s.tenant_id = m.tenant_id and s.usage_date = d.usage_date
              and s.cost_source in ('priority-reconstructed', 'usage-estimated', 'unbilled', 'unpriced')
              and not (s.cost_source in ('unbilled', 'usage-estimated') and exists (
                  select 1 from stax.reconciliation r
                  where r.tenant_id = m.tenant_id and r.usage_date = d.usage_date and r.cause = 'another model id'
                    and {_SAME_CELL}))
            group by s.model, s.cost_source, s.unit
            union all
            select r.model, 'restated', sum(r.difference_usd), count(*),
                   case count(*) when 1 then 'change' else 'changes' end,
                   'the last published ' || to_char(max(r.seen_at) at time zone 'UTC', 'YYYY-MM-DD'), null, null, ''
            from stax.restatements r
            where r.tenant_id = m.tenant_id and r.usage_date = d.usage_date and r.subject = 'cost'
            group by r.model
            union all
            select r.model, 'price difference', r.reported_usd - p.usd, null, null, r.service_tier, p.usd,
                   r.reported_usd, r.cause
            from stax.reconciliation r
            cross join lateral (
                select coalesce(sum(s.contracted_cost_usd), 0) as usd,
                       coalesce(sum(s.contracted_cost_usd * coalesce(s.list_cost_high_usd
                                    / nullif(s.list_cost_low_usd, 0), 1)), 0) as high_usd
                from stax.spend s
                where s.cost_source in ('unbilled', 'usage-estimated') and s.cost_type = 'tokens' and {_SAME_CELL}
            ) without_bill
            cross join lateral (
                select r.priced_usd - without_bill.usd as usd, r.priced_low_usd - without_bill.usd as low_usd,
                       r.priced_high_usd - without_bill.high_usd as high_usd
            ) p
            where r.tenant_id = m.tenant_id and r.usage_date = d.usage_date and r.reported_usd <> 0
              and r.cause <> 'another model id'
              and case when r.priced_low_usd = r.priced_high_usd
                       then abs(p.usd - r.reported_usd) > 0.01 * abs(r.reported_usd)
                       else r.reported_usd < 0.99 * p.low_usd or r.reported_usd > 1.01 * p.high_usd end
        ) y
    ) x
    """,
    agreements.INVOICE_DIFFERENCES.columns
    | {
        "quantity": "Tokens, requests, changes or missing days; NULL for a price difference",
        "unit": "What quantity counts",
        "detail": "What the row means, in words; of a price difference the tier",
        "priced_usd": "Of a price difference, USD of the billed tokens by the price book; NULL for other kinds",
        "reported_usd": "Of a price difference, USD reported for the same tokens; NULL for other kinds",
        "cause": "Of a price difference, its cause where the figures tell it",
        "usd": "USD: the reconstructed, estimated or list dollars; the net change of reported dollars; reported − "
        "priced of the billed tokens for a price difference; NULL where no figure is known",
    },
    replaces=True,
)

_NAMES = """left join (select tenant_id, workspace_id, name, case when count(*) over (partition by tenant_id, name) > 1
                   then name || ' (' || workspace_id || ')' else name end as label from stax.workspaces) w"""
_WORKSPACE = {
    "workspace": "Workspace to show and to group by: its name, with its id where the tenant has several of that name; "
    "its id where it was never listed; NULL where none applies"
}


def _labelled(view: View, *changes: tuple[str, str]) -> View:
    return changed(view, ("left join stax.workspaces w", _NAMES), *changes, columns=_WORKSPACE)


SPEND_DAILY = _labelled(
    views_0012.SPEND_DAILY,
    ("as credits_usd", "as credits_usd, coalesce(w.label, nullif(s.workspace_id, '')) as workspace"),
    ("s.workspace_id, w.name, s.model", "s.workspace_id, w.name, w.label, s.model"),
)
SPEND_MONTHLY = _labelled(
    views_0012.SPEND_MONTHLY,
    ("sum(s.credits_usd) as credits_usd", "sum(s.credits_usd) as credits_usd, coalesce(w.label, "
     "nullif(s.workspace_id, '')) as workspace"),
    ("s.workspace_id, w.name, s.model", "s.workspace_id, w.name, w.label, s.model"),
    (", m.credits_usd", ", m.credits_usd, m.workspace"),
)  # fmt: skip
SPEND_BY_KEY_DAILY = changed(
    _labelled(
        spending.SPEND_BY_KEY_DAILY,
        ("k.cost_usd, k.effective_cost_usd", "k.cost_usd, k.effective_cost_usd, coalesce(w.label, "
         "nullif(k.workspace_id, '')) as workspace"),
    ),
    comment=spending.SPEND_BY_KEY_DAILY.comment + ". The source tells neither context window nor geography nor speed "
    "by key: the dollars of all of them are pooled before they are split",
)  # fmt: skip
CACHE_SAVINGS = _labelled(
    views_0012.CACHE_SAVINGS,
    ("select g.*, g.saved_by_reads_usd - g.paid_for_writes_usd as net_saved_usd",
     "select g.slug, g.tenant_id, g.usage_date, g.workspace_id, g.workspace_name, g.model, g.service_tier, "
     "g.context_window, g.inference_geo, g.speed, g.input_tokens, g.cache_read_tokens, g.cache_write_5m_tokens, "
     "g.cache_write_1h_tokens, g.hit_ratio, g.saved_by_reads_usd, g.paid_for_writes_usd, g.price_source, "
     "g.saved_by_reads_usd - g.paid_for_writes_usd as net_saved_usd, g.workspace"),
    ("u.workspace_id, w.name as workspace_name,", "u.workspace_id, w.name as workspace_name, "
     "coalesce(w.label, u.workspace_id) as workspace,"),
)  # fmt: skip

VIEWS = (COMMITMENT_UTILISATION, INVOICE_DIFFERENCES, SPEND_DAILY, SPEND_MONTHLY, SPEND_BY_KEY_DAILY, CACHE_SAVINGS)
