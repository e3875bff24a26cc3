"""Invoices beside what was found: what one should say, and what can explain a difference."""

from __future__ import annotations

from stax_pipeline.warehouse.views.view import ALIASES, View

MONTHS = """stax.tenants t
        cross join lateral (
            select x.tenant_id, date_trunc('month', x.usage_date)::date as month
            from stax.coverage x where x.tenant_id = t.tenant_id
            union
            select x.tenant_id, x.month from stax.invoices x where x.tenant_id = t.tenant_id) m"""
"""Every tenant `t` with its months `m` that hold days or an invoice."""

INVOICE_CHECK = View(
    "invoice_check",
    "Per tenant and month, what Anthropic invoiced beside what an invoice should say: the billed dollars and "
    "the fee of recorded commitments. Tolerance: equal to the cent, or within 0.1 % of the expected dollars",
    """
    select f.tenant, f.tenant_id, f.month, f.invoice_usd, f.note, f.billed_usd, f.credits_usd, f.priority_reconstructed_usd, f.estimated_usd, f.commitment_fee_usd, f.expected_usd, f.difference_usd, f.days_in_month, f.days_complete, f.days_settled, f.price_accuracy, case when invoice_usd is null then 'no invoice'
                     when days_complete < days_in_month then 'month incomplete'
                     when abs(difference_usd) <= 0.005 then 'matches to the cent'
                     when abs(difference_usd) <= 0.001 * abs(expected_usd) then 'within 0.1 %'
                     else 'differs' end as status, f.closing
    from (
        select t.slug as tenant, m.tenant_id, m.month, i.amount_usd as invoice_usd, nullif(i.note, '') as note,
               s.billed_usd, s.credits_usd, s.priority_reconstructed_usd, s.estimated_usd, s.commitment_fee_usd,
               s.billed_usd + s.commitment_fee_usd as expected_usd,
               i.amount_usd - s.billed_usd - s.commitment_fee_usd as difference_usd, l.days_in_month,
               d.days_complete, d.days_settled, r.price_accuracy,
               case when d.days_closed = l.days_in_month then 'closed'
                    else concat('not closed until all its days are read on or after ', l.closes_on)
               end as closing
        from """
    + MONTHS
    + """
        cross join lateral (select extract(day from m.month + interval '1 month - 1 day')::int as days_in_month,
                                   (m.month + interval '1 month 7 days')::date as closes_on) l
        left join lateral (
            select x.amount_usd, x.note from stax.invoices x
            where x.tenant_id = m.tenant_id and x.month = m.month order by x.recorded_at desc limit 1
        ) i on true
        cross join lateral (
            select coalesce(sum(x.billed_usd), 0) as billed_usd, coalesce(sum(x.credits_usd), 0) as credits_usd,
                   coalesce(sum(x.priority_reconstructed_usd), 0) as priority_reconstructed_usd,
                   coalesce(sum(x.estimated_usd), 0) as estimated_usd,
                   coalesce(sum(x.commitment_fee_usd), 0) as commitment_fee_usd
            from stax.spend_day_totals x
            where x.tenant_id = m.tenant_id and x.usage_date >= m.month and x.usage_date < m.month + l.days_in_month
        ) s
        cross join lateral (
            select round(sum(y.priced_usd) / nullif(sum(y.reported_usd), 0), 6) as price_accuracy
            from generate_series(0, l.days_in_month - 1) as n
            cross join lateral (
                select sum(x.priced_usd) as priced_usd, sum(x.reported_usd) as reported_usd
                from stax.reconciliation x
                where x.usage_date = m.month + n and x.tenant_id = m.tenant_id and x.ratio is not null
            ) y
        ) r
        cross join lateral (
            select count(*) filter (where y.complete = 2) as days_complete,
                   count(*) filter (where y.old_enough and (y.charged or not y.metered)) as days_settled,
                   count(*) filter (where y.closed = 2) as days_closed
            from (
                select count(*) filter (where x.state = 'complete') as complete,
                       bool_or(x.report = 'cost_report' and x.old_enough_to_settle) as old_enough,
                       bool_or(x.report = 'cost_report' and x.metered) as charged,
                       bool_or(x.report = 'usage_report' and x.metered) as metered,
                       count(*) filter (where x.extracted_at >= l.closes_on::timestamp at time zone 'UTC') as closed
                from stax.coverage x
                where x.tenant_id = m.tenant_id and x.report in ('cost_report', 'usage_report')
                  and x.usage_date >= m.month and x.usage_date < m.month + l.days_in_month
                group by x.usage_date
            ) y
        ) d
    ) f
    """,
    {
        "invoice_usd": "USD of the invoice recorded last; NULL without one",
        "note": "What the operator noted with it; NULL without",
        "billed_usd": "USD of the cost report on the month's loaded days, credits included",
        "credits_usd": "USD of credits: the negative part of billed_usd, which holds it; not to be added again",
        "priority_reconstructed_usd": "USD of Priority tokens at their price, which no cost report holds; not in expected_usd",
        "estimated_usd": "USD of tokens whose cost has not arrived yet, estimated; not in expected_usd",
        "commitment_fee_usd": "USD that recorded commitments cost on the month's loaded days",
        "expected_usd": "What an invoice should say: billed_usd + commitment_fee_usd",
        "difference_usd": "invoice_usd − expected_usd; NULL without an invoice",
        "days_in_month": "Days of the calendar month",
        "days_complete": "Days of which both reports are complete",
        "days_settled": "Days whose missing cost may be read as zero",
        "price_accuracy": "priced ÷ reported of the month's standard and batch tokens, 1 is exact: read it beside estimated_usd and "
        "priority_reconstructed_usd; NULL where nothing can be compared",
        "status": "no invoice; month incomplete; matches to the cent (at most half a cent apart); within 0.1 % of "
        "expected_usd; differs",
        "closing": "closed once every day of both reports was read on or after the 8th of the next month, UTC: Anthropic "
        "corrects a month until about the 7th; else not closed until that is done",
    },
)

_SAME_CELL = f"""s.tenant_id = m.tenant_id and s.usage_date = d.usage_date
              and coalesce((select a.id from {ALIASES} as a (alias, id) where a.alias = s.model), s.model) = r.model
              and coalesce(nullif(s.service_tier, ''), 'standard') = r.service_tier"""
"""Spend lines `s` of what a row `r` of price accuracy is about."""

INVOICE_DIFFERENCES = View(
    "invoice_differences",
    "The days and models that can explain why an invoice differs from the reported dollars. What has no dollars "
    "(days missing, tokens without a price) counts for more than any figure: order by usd is null desc, abs(usd) "
    "desc. The same tokens are told once",
    f"""
    select t.slug as tenant, m.tenant_id, m.month, x.usage_date, nullif(x.model, '') as model, x.kind, x.usd,
           concat_ws(', ', x.quantity || ' ' || x.unit, x.detail,
                     'priced ÷ reported ' || round(x.priced_usd / nullif(x.reported_usd, 0), 6), nullif(x.cause, ''))
               as note,
           x.days, x.quantity, x.unit, x.detail, x.priced_usd, x.reported_usd, nullif(x.cause, '') as cause
    from {MONTHS}
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
            where r.tenant_id = m.tenant_id and r.usage_date = d.usage_date and r.kind = 'cost'
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
    {
        "usage_date": "The UTC day; of missing days the first of a run of them",
        "kind": "day missing (no complete cost report, up to yesterday), priority-reconstructed, usage-estimated, "
        "unbilled, unpriced, restated, or price difference",
        "usd": "USD: the reconstructed, estimated or list dollars; the net change of reported dollars; reported − priced "
        "of the billed tokens for a price difference; NULL where no figure is known",
        "note": "What stands behind it, in words: the missing days and why, tokens or requests, changes, ratio and cause",
        "days": "Days that the row stands for: a run of missing days is one row, any other row is one day",
        "quantity": "Tokens, requests, changes or missing days; NULL for a price difference",
        "unit": "What quantity counts",
        "detail": "What the row means, in words; of a price difference the tier",
        "priced_usd": "Of a price difference, USD of the billed tokens by the price book; NULL for other kinds",
        "reported_usd": "Of a price difference, USD reported for the same tokens; NULL for other kinds",
        "cause": "Of a price difference, its cause where the figures tell it",
    },
)

INVOICE_VIEWS = (INVOICE_CHECK, INVOICE_DIFFERENCES)
