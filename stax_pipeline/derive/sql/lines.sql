-- cost_lines, usage_lines, days, aliases -> kinds, bills, meters: the lines under short keys, which are whole numbers.
-- A kind is a model with tier, context window and geography as the source names them; `met` is where kinds meet.
create temp table kinds as
with named as (
    select model, service_tier, context_window, inference_geo from cost_lines
    union
    select model, service_tier, context_window, inference_geo from usage_lines
),
joined as (
    select n.*, coalesce(dated, model) as dated_model, or_default(service_tier, 'standard') as tier,
           or_default(context_window, '0-200k') as prompts, geo_class(inference_geo) as geo
    from named n left join aliases on alias = model
)
select *, row_number() over ()::integer as kind,
       dense_rank() over (order by dated_model, tier, prompts, geo)::integer as met
from joined;

create temp table bills as
select day, workspace_id, kind, met, cost_type, token_type, description, amount_usd as usd,
       usd < 0 and (model = '' or token_type = '') as is_credit
from cost_lines
join days using (tenant_id, usage_date)
join kinds using (model, service_tier, context_window, inference_geo);

create temp table meters as
select day, workspace_id, kind, met, price_list, speed, uncached_input_tokens, cache_read_input_tokens,
       cache_creation_5m_input_tokens, cache_creation_1h_input_tokens, output_tokens, web_search_requests
from usage_lines
join days using (tenant_id, usage_date)
join kinds using (model, service_tier, context_window, inference_geo);

-- what has a price of its own, by token type
create temp table sold as
select *, row_number() over ()::integer as sold from (select distinct price_list, kind, speed from meters);
