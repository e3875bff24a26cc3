"""What the operator recorded, beside what was found: invoices and commitments."""

from __future__ import annotations

from stax_pipeline.warehouse.views.view import ALIASES, View, days_of

MONTHS = """(
    select tenant_id, date_trunc('month', usage_date)::date as month from stax.coverage
    union
    select tenant_id, month from stax.invoices)"""
"""Every tenant's months that hold days or an invoice."""

INVOICE_CHECK = View(
    "invoice_check",
    "Per tenant and month, what Anthropic invoiced beside what an invoice should say: the reported dollars and "
    "the fee of recorded commitments. Tolerance: equal to the cent, or within 0.1 % of the expected dollars",
    """
    select f.tenant, f.tenant_id, f.month, f.invoice_usd, f.note, f.reported_usd, f.estimated_usd, f.reconstructed_usd, f.commitment_fee_usd, f.expected_usd, f.difference_usd, f.days_in_month, f.days_complete, f.days_settled, f.price_accuracy, case when invoice_usd is null then 'no invoice'
                     when days_complete < days_in_month then 'month incomplete'
                     when abs(difference_usd) <= 0.005 then 'matches to the cent'
                     when abs(difference_usd) <= 0.001 * abs(expected_usd) then 'within 0.1 %'
                     else 'differs' end as status, f.credits_usd, f.closing
    from (
        select t.slug as tenant, m.tenant_id, m.month, i.amount_usd as invoice_usd, nullif(i.note, '') as note,
               s.reported_usd, s.credits_usd, s.estimated_usd, s.reconstructed_usd, s.commitment_fee_usd,
               s.reported_usd + s.commitment_fee_usd as expected_usd,
               i.amount_usd - s.reported_usd - s.commitment_fee_usd as difference_usd, l.days_in_month,
               d.days_complete, d.days_settled, r.price_accuracy,
               case when c.days_closed = l.days_in_month then 'closed'
                    else concat('not closed until all its days are read on or after ', l.closes_on)
               end as closing
        from """
    + MONTHS
    + """ m
        join stax.tenants t using (tenant_id)
        cross join lateral (select extract(day from m.month + interval '1 month - 1 day')::int as days_in_month,
                                   (m.month + interval '1 month 7 days')::date as closes_on) l
        left join lateral (
            select x.amount_usd, x.note from stax.invoices x
            where x.tenant_id = m.tenant_id and x.month = m.month order by x.recorded_at desc limit 1
        ) i on true
        cross join lateral (
            select coalesce(sum(y.reported_usd), 0) as reported_usd, coalesce(sum(y.credits_usd), 0) as credits_usd, coalesce(sum(y.estimated_usd), 0) as estimated_usd,
                   coalesce(sum(y.reconstructed_usd), 0) as reconstructed_usd,
                   coalesce(sum(y.fee_usd), 0) as commitment_fee_usd
            from generate_series(0, l.days_in_month - 1) as n
            cross join lateral (
                select sum(x.cost_usd) filter (where x.cost_source = 'reported') as reported_usd, sum(x.credits_usd) as credits_usd,
                       sum(x.cost_usd) filter (where x.cost_source = 'usage-estimated') as estimated_usd,
                       sum(x.cost_usd) filter (where x.cost_source = 'priority-reconstructed') as reconstructed_usd,
                       sum(x.effective_cost_usd) filter (where x.commitment_id <> '') as fee_usd
                from stax.spend x
                where x.usage_date = m.month + n and x.tenant_id = m.tenant_id
            ) y
        ) s
        cross join lateral (
            select count(*) filter (where x.cost_state = 'complete' and x.usage_state = 'complete') as days_complete,
                   count(*) filter (where x.settled) as days_settled
            from stax.completeness x
            where x.tenant_id = m.tenant_id and x.usage_date >= m.month and x.usage_date < m.month + l.days_in_month
        ) d
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
            select count(*) filter (where y.reports = 2) as days_closed
            from (
                select x.usage_date, count(*) as reports
                from stax.coverage x
                where x.tenant_id = m.tenant_id and x.usage_date >= m.month
                  and x.usage_date < m.month + l.days_in_month and x.report in ('cost_report', 'usage_report')
                  and x.extracted_at >= l.closes_on::timestamp at time zone 'UTC'
                group by x.usage_date
            ) y
        ) c
    ) f
    """,
    {
        "invoice_usd": "USD of the invoice recorded last; NULL without one",
        "note": "What the operator noted with it; NULL without",
        "reported_usd": "USD of the cost report on the month's loaded days, credits included",
        "estimated_usd": "USD of tokens whose cost has not arrived yet, estimated; not in expected_usd",
        "reconstructed_usd": "USD of Priority tokens at their price, which no cost report holds; not in expected_usd",
        "commitment_fee_usd": "USD that recorded commitments cost on the month's loaded days",
        "expected_usd": "What an invoice should say: reported_usd + commitment_fee_usd",
        "difference_usd": "invoice_usd − expected_usd; NULL without an invoice",
        "days_in_month": "Days of the calendar month",
        "days_complete": "Days of which both reports are complete",
        "days_settled": "Days whose missing cost may be read as zero",
        "price_accuracy": "priced ÷ reported of the month's standard and batch tokens, 1 is exact: read it beside estimated_usd and "
        "reconstructed_usd; NULL where nothing can be compared",
        "status": "no invoice; month incomplete; matches to the cent (at most half a cent apart); within 0.1 % of "
        "expected_usd; differs",
        "credits_usd": "USD of credits: the negative part of reported_usd, which holds it; not to be added again",
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
    from {MONTHS} m
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

_UTILISATION = """
    tenant, tenant_id, commitment_id, {model} as model, '{period}' as period, {start} as period_start, direction,
    sum(committed_units) as committed_units, sum(used_units) as used_units, sum(unused_units) as unused_units,
    round(sum(used_units) / nullif(sum(committed_units), 0), 6) as utilisation_ratio,
    sum(used_fee_usd + unused_fee_usd) as fee_usd, sum(used_fee_usd) as used_fee_usd,
    sum(unused_fee_usd) as unused_fee_usd, sum(tokens) as tokens,
    round(1000000 * sum(used_fee_usd + unused_fee_usd) / nullif(sum(tokens), 0), 12)
        as effective_usd_per_million_tokens,
    sum(reconstructed_usd) as reconstructed_usd
"""

_COMMITMENT_DAYS = f"""
    select t.slug as tenant, b.tenant_id, b.commitment_id, coalesce(c.model, b.model) as model, b.usage_date, b.direction,
           b.used_units, b.unused_units, b.used_fee_usd, b.unused_fee_usd, b.tokens, b.reconstructed_usd,
           case when b.unused_units > 0 then b.used_units + b.unused_units
                else coalesce(case b.direction when 'input' then c.input_tokens_per_minute
                                               else c.output_tokens_per_minute end
                              * case when v.data_through is null then 1440
                                     else least(1440, greatest(0, floor(extract(epoch from
                                         v.data_through - b.usage_date::timestamp at time zone 'UTC') / 60)))
                                     end, b.used_units) end as committed_units
    from (
        select tenant_id, usage_date, commitment_id,
               case token_type when 'output_tokens' then 'output' else 'input' end as direction, max(model) as model,
               coalesce(sum(burndown_units) filter (where cost_source <> 'commitment-unused'), 0) as used_units,
               coalesce(sum(burndown_units) filter (where cost_source = 'commitment-unused'), 0) as unused_units,
               coalesce(sum(effective_cost_usd) filter (where cost_source <> 'commitment-unused'), 0) as used_fee_usd,
               coalesce(sum(effective_cost_usd) filter (where cost_source = 'commitment-unused'), 0)
                   as unused_fee_usd,
               coalesce(sum(quantity), 0) as tokens,
               coalesce(sum(cost_usd) filter (where cost_source <> 'commitment-unused'), 0) as reconstructed_usd
        from (select distinct tenant_id from stax.commitments) committed
        cross join {days_of("spend")} d
        join stax.spend using (tenant_id, usage_date)
        where commitment_id <> ''
        group by tenant_id, usage_date, commitment_id,
                 case token_type when 'output_tokens' then 'output' else 'input' end
    ) b
    join stax.tenants t using (tenant_id)
    left join stax.commitments c
      on c.commitment_id = b.commitment_id and c.tenant_id = b.tenant_id and c.superseded_at is null
    left join stax.coverage v
      on v.tenant_id = b.tenant_id and v.usage_date = b.usage_date and v.report = 'usage_report'
"""

_DAY = _UTILISATION.format(model="model", period="day", start="usage_date")

_MONTH = _UTILISATION.format(model="max(model)", period="month", start="date_trunc('month', usage_date)::date")

COMMITMENT_UTILISATION = View(
    "commitment_utilisation",
    "What a recorded Priority commitment was used for, per day and per month, for input and output apart",
    f"""
    select {_DAY} from ({_COMMITMENT_DAYS}) b
    group by tenant, tenant_id, commitment_id, model, usage_date, direction
    union all
    select {_MONTH} from ({_COMMITMENT_DAYS}) b
    group by tenant, tenant_id, commitment_id, date_trunc('month', usage_date)::date, direction
    """,
    {
        "commitment_id": "The operator's name for the commitment",
        "model": "Dated model id",
        "period": "day or month: choose one, each holds all dollars",
        "period_start": "The UTC day, or the first day of the month",
        "direction": "input or output",
        "committed_units": "Committed tokens per minute × the minutes that were read: 1440 of a complete day",
        "used_units": "Units burned: a token is 1, a cache read 0.1, a 5-minute write 1.25, a 1-hour write 2, US-only 1.1 times "
        "that; may exceed committed_units",
        "unused_units": "Units committed and not burned",
        "utilisation_ratio": "used_units ÷ committed_units; above 1 where more was burned than committed",
        "fee_usd": "USD of the fee that falls on the period and direction",
        "used_fee_usd": "The part of it that tokens bear",
        "unused_fee_usd": "The part of it that nobody used",
        "tokens": "Tokens that burned it",
        "effective_usd_per_million_tokens": "fee_usd per 1,000,000 tokens, the unused part included; rounded to 12 decimals; NULL without tokens",
        "reconstructed_usd": "USD of the same tokens at their price without the commitment",
    },
)

AGREEMENT_VIEWS = (INVOICE_CHECK, INVOICE_DIFFERENCES, COMMITMENT_UTILISATION)
