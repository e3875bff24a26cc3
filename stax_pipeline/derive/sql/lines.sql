-- cost_lines, usage_lines, days, aliases, token_types -> spaces, types, notes, kinds, bills, sold, meters: the lines under
-- short keys, which are whole numbers. A kind is a model with tier, context window and geography as the source names
-- them; `met` is where kinds meet.
create temp table spaces as
select workspace_id, row_number() over (order by workspace_id)::integer as space
from (select '' as workspace_id union select workspace_id from cost_lines union select workspace_id from usage_lines);

create temp table types as
select type, token_type from token_types
union all
select 5 + row_number() over ()::integer, token_type
from (select distinct token_type from cost_lines anti join token_types using (token_type));

create temp table notes as
select description, row_number() over ()::integer as note from (select distinct description from cost_lines);

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
select day, space, kind, met, cost_type, type, note, amount_usd as usd,
       usd < 0 and (model = '' or token_type = '') as is_credit
from cost_lines
join days using (tenant_id, usage_date)
join spaces using (workspace_id)
join kinds using (model, service_tier, context_window, inference_geo)
join types using (token_type)
join notes using (description);

-- what has a price of its own, by token type
create temp table sold as
select *, row_number() over ()::integer as sold
from (
    select distinct price_list, kind, speed
    from usage_lines
    join days using (tenant_id, usage_date)
    join kinds using (model, service_tier, context_window, inference_geo)
);

create temp table meters as
select day, space, kind, met, sold, speed, uncached_input_tokens, cache_read_input_tokens,
       cache_creation_5m_input_tokens, cache_creation_1h_input_tokens, output_tokens, web_search_requests
from usage_lines
join days using (tenant_id, usage_date)
join spaces using (workspace_id)
join kinds using (model, service_tier, context_window, inference_geo)
join sold using (price_list, kind, speed);
