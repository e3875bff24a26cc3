"""Recorded commitments beside what was used of them."""

from __future__ import annotations

from stax_pipeline.warehouse.views.view import View, days_of

_UTILISATION = """
    tenant, tenant_id, commitment_id, {model} as model, '{period}' as period, {start} as period_start, direction,
    sum(committed_units) as committed_units, sum(used_units) as used_units, sum(unused_units) as unused_units,
    round(sum(used_units) / nullif(sum(committed_units), 0), 6) as utilisation_ratio,
    sum(used_fee_usd + unused_fee_usd) as fee_usd, sum(used_fee_usd) as used_fee_usd,
    sum(unused_fee_usd) as unused_fee_usd, sum(tokens) as tokens,
    round(1000000 * sum(used_fee_usd + unused_fee_usd) / nullif(sum(tokens), 0), 12)
        as effective_usd_per_million_tokens,
    sum(priority_reconstructed_usd) as priority_reconstructed_usd
"""

_COMMITMENT_DAYS = f"""
    select t.slug as tenant, b.tenant_id, b.commitment_id, coalesce(c.model, b.model) as model, b.usage_date, b.direction,
           b.used_units, b.unused_units, b.used_fee_usd, b.unused_fee_usd, b.tokens, b.priority_reconstructed_usd,
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
               coalesce(sum(cost_usd) filter (where cost_source <> 'commitment-unused'), 0) as priority_reconstructed_usd
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
        "priority_reconstructed_usd": "USD of the same tokens at their price without the commitment",
    },
)

COMMITMENT_VIEWS = (COMMITMENT_UTILISATION,)
