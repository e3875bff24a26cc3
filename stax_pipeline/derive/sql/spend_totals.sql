-- told, shapes, spaces -> spend_totals, spend_day_totals: spend added up to what most people group it by. Every line goes
-- into one row.
create temp table spend_totals as
with groups as (
    select shape, model, cost_type, service_tier, unit,
           dense_rank() over (order by model, cost_type, service_tier)::integer as grouped
    from shapes
),
summed as (
    select day, space, grouped, cost_source, (sum(quantity) filter (unit = 'tokens'))::bigint as tokens,
           sum(cost_usd) as cost_usd, sum(credits_usd)::hugeint as credits_usd,
           sum(effective_cost_usd) as effective_cost_usd, sum(list_cost_usd) as list_cost_usd,
           coalesce(sum(effective_cost_usd) filter (commitment_id <> ''), 0)::hugeint as commitment_fee_usd
    from told join groups using (shape)
    group by day, space, grouped, cost_source
)
select * exclude (space, grouped)
from summed
join spaces using (space)
join (select distinct grouped, model, cost_type, service_tier from groups) using (grouped);

create temp table spend_day_totals as
select day, coalesce(sum(tokens), 0)::bigint as tokens,
       coalesce(sum(tokens) filter (cost_source = 'unpriced'), 0)::bigint as unpriced_tokens,
       coalesce(sum(cost_usd) filter (cost_source = 'reported'), 0)::hugeint as billed_usd,
       sum(credits_usd)::hugeint as credits_usd,
       coalesce(sum(cost_usd) filter (cost_source = 'priority-reconstructed'), 0)::hugeint as priority_reconstructed_usd,
       coalesce(sum(cost_usd) filter (cost_source = 'usage-estimated'), 0)::hugeint as estimated_usd,
       sum(commitment_fee_usd)::hugeint as commitment_fee_usd
from spend_totals
group by day;
