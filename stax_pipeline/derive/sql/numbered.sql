-- lines, fees, unused, versions -> spend: effective cost under commitments, and each line's number within its day.
insert into lines by name
select (select count(*) from lines)::integer + row_number() over ()::integer as id, day, '' as workspace_id, model,
       'tokens' as cost_type, token_type, 'priority' as service_tier, '' as context_window, '' as inference_geo,
       '' as speed, 'Unused part of commitment ' || commitment_id as description, 'tokens' as unit,
       'commitment-unused' as cost_source, 0 as cost_usd, 0 as credits_usd, '1M tokens' as pricing_unit,
       '' as price_source, burndown_units, 0 as cost_line_count, dated_model, 3 as place, fee_usd as unused_usd,
       commitment_id as unused_of, version as unused_version
from unused;

create temp table numbers as
select id, row_number() over (
    partition by day order by workspace_id, model, cost_type, token_type, service_tier, context_window, inference_geo,
                              speed, description, coalesce(quantity, 0), place) as line
from lines;

create temp view spend as
select lines.*, line, coalesce(unused_usd, fee_usd, cost_usd) as effective_cost_usd,
       coalesce(unused_of, commitment_id, '') as commitment_id, coalesce(unused_version, version) as price_book_version
from lines join numbers using (id) join versions using (day) left join fees using (id);
