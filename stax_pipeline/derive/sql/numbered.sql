-- lines, fees, unused, versions -> spend: effective cost under commitments, and each line's number within its day.
create temp table spend as
with idle as (
    select day, '' as workspace_id, model, 'tokens' as cost_type, token_type, 'priority' as service_tier,
           '' as context_window, '' as inference_geo, '' as speed,
           'Unused part of commitment ' || commitment_id as description, 'tokens' as unit,
           'commitment-unused' as cost_source, 0::hugeint as cost_usd, 0::hugeint as credits_usd,
           '1M tokens' as pricing_unit, '' as price_source, version, burndown_units, 0 as cost_line_count, dated_model,
           3 as place, fee_usd as effective_cost_usd, commitment_id
    from unused
),
every as (
    select l.* exclude (id), coalesce(fee_usd, cost_usd) as effective_cost_usd,
           coalesce(commitment_id, '') as commitment_id
    from lines l left join fees using (id)
    union all by name
    from idle
)
select e.* exclude (version), coalesce(e.version, d.version) as price_book_version,
       row_number() over (
           partition by day order by workspace_id, model, cost_type, token_type, service_tier, context_window,
                                     inference_geo, speed, description, coalesce(quantity, 0), place) as line
from every e join versions d using (day);
