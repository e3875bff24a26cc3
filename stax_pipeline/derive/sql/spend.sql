-- bills, meters, parts, used, paid, kinds, days -> lines: spend before commitments. First match wins, nothing counts twice.
-- how several kinds that met are shown: what they agree in as it is, what they differ in under the name they share
create temp table mixed as
with shown as (
    select day, workspace_id, met, token_type, kind from parts
    semi join (from used where kind is null) using (day, workspace_id, met, token_type)
    union all
    select day, workspace_id, met, token_type, kind from bills
    semi join (from paid where kind is null) using (day, workspace_id, met, token_type)
    anti join used using (day, workspace_id, met, token_type)
    where cost_type = 'tokens' and not is_credit
)
select day, workspace_id, s.met, token_type, one(min(model), max(model), min(dated_model)) as model,
       one(min(service_tier), max(service_tier), min(tier)) as service_tier,
       one(min(context_window), max(context_window), min(prompts)) as context_window,
       one(min(inference_geo), max(inference_geo), min(geo)) as inference_geo
from shown s join kinds using (kind)
group by day, workspace_id, s.met, token_type;

create temp table lines as
with burning as (
    from (values ('uncached_input_tokens', 1000), ('output_tokens', 1000), ('cache_read_input_tokens', 100),
                 ('cache_creation.ephemeral_5m_input_tokens', 1250), ('cache_creation.ephemeral_1h_input_tokens', 2000))
         as rates(token_type, thousandths)
),
joined as (
    select coalesce(u.day, p.day) as day, coalesce(u.workspace_id, p.workspace_id) as workspace_id, 
           coalesce(u.met, p.met) as met, coalesce(u.token_type, p.token_type) as token_type,
           case when u.day is null then p.kind else u.kind end as kind,
           p.usd as paid_usd, p.credits, p.bills, p.description, u.* exclude (day, workspace_id, met, token_type, kind)
    from paid p full join used u
      on p.day = u.day and p.workspace_id = u.workspace_id and p.met = u.met and p.token_type = u.token_type
),
named as (select distinct on (met) met, dated_model, tier, geo from kinds),
tokens as (
    select j.day, j.workspace_id, coalesce(k.model, m.model) as model, 'tokens' as cost_type, j.token_type,
           coalesce(k.service_tier, m.service_tier) as service_tier,
           coalesce(k.context_window, m.context_window) as context_window,
           coalesce(k.inference_geo, m.inference_geo) as inference_geo, coalesce(speed, '') as speed,
           coalesce(description, '') as description, quantity, 'tokens' as unit,
           case when paid_usd is not null then 'reported'
                when n.tier = 'priority' and contract_low is not null then 'priority-reconstructed'
                when n.tier in ('standard', 'batch') and settled then 'unbilled'
                when contract_low is not null then 'usage-estimated'
                else 'unpriced' end as cost_source,
           paid_usd, coalesce(credits, 0) as credits_usd,
           list_low as list_cost_usd,
           case when list_low <> list_high then list_low end as list_cost_low_usd,
           case when list_low <> list_high then list_high end as list_cost_high_usd,
           contract_low as contracted_cost_usd, list_unit as list_unit_price_usd,
           contract_unit as contracted_unit_price_usd,
           quantity::hugeint * 1000000000000 as pricing_quantity, '1M tokens' as pricing_unit,
           coalesce(price_source, '') as price_source,
           case when n.tier = 'priority' then quantity * thousandths::hugeint * case n.geo when 'us' then 11 else 10 end
                                            * 100000000000000 end as burndown_units,
           coalesce(bills, 0) as cost_line_count, n.dated_model, 0 as place
    from joined j
    join days using (day)
    join named n on n.met = j.met
    left join kinds k on k.kind = j.kind
    left join mixed m on m.day = j.day and m.workspace_id = j.workspace_id and m.met = j.met
                     and m.token_type = j.token_type
    left join burning on burning.token_type = j.token_type
),
searched as (
    select day, workspace_id, sum(usd) as paid_usd, coalesce(sum(usd) filter (usd < 0), 0) as credits, count(*) as bills,
           string_agg(distinct description, '; ' order by description) filter (description <> '') as description
    from bills where cost_type = 'web_search' and not is_credit group by day, workspace_id
),
searches as (
    select day, workspace_id, sum(web_search_requests)::bigint as quantity
    from meters where web_search_requests > 0 group by day, workspace_id
),
search as (
    select day, workspace_id, '' as model, 'web_search' as cost_type, '' as token_type, '' as service_tier,
           '' as context_window, '' as inference_geo, '' as speed, coalesce(description, '') as description, quantity,
           'requests' as unit,
           half_even(quantity * search_usd, quantity * search_fine) as list_cost_usd,
           case when paid_usd is not null then 'reported' when settled then 'unbilled'
                when list_cost_usd is not null then 'usage-estimated' else 'unpriced' end as cost_source,
           paid_usd, coalesce(credits, 0) as credits_usd, list_cost_usd as contracted_cost_usd,
           case when quantity is not null then search_unit end as list_unit_price_usd,
           list_unit_price_usd as contracted_unit_price_usd,
           quantity::hugeint * 1000000000000000 as pricing_quantity, '1k requests' as pricing_unit,
           case when quantity is not null then coalesce(search_source, '') else '' end as price_source,
           coalesce(bills, 0) as cost_line_count, '' as dated_model, 1 as place
    from searched full join searches using (day, workspace_id) join days using (day)
),
-- code execution, session time, credits and whatever else has no count in the usage report
other as (
    select day, workspace_id, model, cost_type, token_type, service_tier, context_window, inference_geo, '' as speed,
           description,
           case cost_type when 'web_search' then 'requests' when 'code_execution' then 'hours'
                          when 'session_usage' then 'hours' else '' end as unit,
           'reported' as cost_source, sum(usd) as paid_usd, coalesce(sum(usd) filter (usd < 0), 0) as credits_usd,
           case cost_type when 'web_search' then '1k requests' when 'code_execution' then 'hour'
                          when 'session_usage' then 'hour' else '' end as pricing_unit,
           '' as price_source, count(*) as cost_line_count, min(dated_model) as dated_model, 2 as place
    from bills join kinds using (kind)
    where is_credit or cost_type not in ('tokens', 'web_search')
    group by day, workspace_id, model, cost_type, token_type, service_tier, context_window, inference_geo, description
),
every as (from tokens union all by name from search union all by name from other)
select row_number() over ()::integer as id, * exclude (paid_usd),
       case cost_source when 'reported' then paid_usd when 'unbilled' then 0 when 'unpriced' then null
                        else contracted_cost_usd end as cost_usd,
       null::hugeint as unused_usd, null::varchar as unused_of, null::varchar as unused_version
from every;
