-- bills, meters, parts, used, paid, kinds, notes, token_types, days -> shown, lines: spend before commitments. First match
-- wins, nothing counts twice. How a line is shown is told by `kind` of `shown`, `type`, `speed` and its description.
-- several kinds that met: what they agree in is shown as it is, what they differ in under the name they share
create temp table mixed as
with held as (
    select day, space, met, type, kind from parts
    semi join (from used where kind is null) using (day, space, met, type)
    union all
    select day, space, met, type, kind from bills
    semi join (from paid where kind is null) using (day, space, met, type)
    anti join used using (day, space, met, type)
    where cost_type = 'tokens' and not is_credit
),
named as (
    select day, space, h.met, type, one(min(model), max(model), min(dated_model)) as model,
           one(min(service_tier), max(service_tier), min(tier)) as service_tier,
           one(min(context_window), max(context_window), min(prompts)) as context_window,
           one(min(inference_geo), max(inference_geo), min(geo)) as inference_geo, min(dated_model) as dated_model
    from held h join kinds using (kind)
    group by day, space, h.met, type
)
select *, ((select count(*) from kinds)
           + dense_rank() over (order by model, service_tier, context_window, inference_geo, dated_model))::integer as kind
from named;

create temp table shown as
select kind, model, service_tier, context_window, inference_geo, dated_model from kinds
union
select kind, model, service_tier, context_window, inference_geo, dated_model from mixed
union all
select 0, '', '', '', '', '';

create temp table lines as
with joined as (
    select coalesce(u.day, p.day) as day, coalesce(u.space, p.space) as space, coalesce(u.met, p.met) as met,
           coalesce(u.type, p.type) as type, case when u.day is null then p.kind else u.kind end as kind,
           p.usd as paid_usd, p.credits, p.bills, p.note, p.descriptions, u.* exclude (day, space, met, type, kind)
    from paid p full join used u on p.day = u.day and p.space = u.space and p.met = u.met and p.type = u.type
),
named as (select distinct on (met) met, tier, geo from kinds),
tokens as (
    select j.day, j.space, 'tokens' as cost_type, j.type, coalesce(j.kind, m.kind) as kind, coalesce(speed, '') as speed,
           note, descriptions, quantity,
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
           quantity::hugeint * 1000000000000 as pricing_quantity, coalesce(price_source, '') as price_source,
           case when n.tier = 'priority'
                then quantity * burndown_thousandths::hugeint * case n.geo when 'us' then 11 else 10 end
                     * 100000000000000 end as burndown_units,
           coalesce(bills, 0) as cost_line_count, 0 as place
    from joined j
    join days using (day)
    join named n on n.met = j.met
    left join mixed m on m.day = j.day and m.space = j.space and m.met = j.met and m.type = j.type
    left join token_types t on t.type = j.type
),
searched as (
    select day, space, sum(usd) as paid_usd, coalesce(sum(usd) filter (usd < 0), 0) as credits, count(*) as bills,
           string_agg(distinct description, '; ' order by description) filter (description <> '') as descriptions
    from bills join notes using (note) where cost_type = 'web_search' and not is_credit group by day, space
),
searches as (
    select day, space, sum(web_search_requests)::bigint as quantity
    from meters where web_search_requests > 0 group by day, space
),
search as (
    select day, space, 'web_search' as cost_type, 0 as type, 0 as kind, '' as speed, descriptions, quantity,
           half_even(quantity * search_usd, quantity * search_fine) as list_cost_usd,
           case when paid_usd is not null then 'reported' when settled then 'unbilled'
                when list_cost_usd is not null then 'usage-estimated' else 'unpriced' end as cost_source,
           paid_usd, coalesce(credits, 0) as credits_usd, list_cost_usd as contracted_cost_usd,
           case when quantity is not null then search_unit end as list_unit_price_usd,
           list_unit_price_usd as contracted_unit_price_usd,
           quantity::hugeint * 1000000000000000 as pricing_quantity,
           case when quantity is not null then coalesce(search_source, '') else '' end as price_source,
           coalesce(bills, 0) as cost_line_count, 1 as place
    from searched full join searches using (day, space) join days using (day)
),
-- code execution, session time, credits and whatever else has no count in the usage report
other as (
    select day, space, cost_type, type, kind, '' as speed, note, 'reported' as cost_source, sum(usd) as paid_usd,
           coalesce(sum(usd) filter (usd < 0), 0) as credits_usd, '' as price_source, count(*) as cost_line_count,
           2 as place
    from bills
    where is_credit or cost_type not in ('tokens', 'web_search')
    group by day, space, cost_type, type, kind, note
),
every as (from tokens union all by name from search union all by name from other)
select row_number() over ()::integer as id, * exclude (paid_usd),
       case cost_source when 'reported' then paid_usd when 'unbilled' then 0 when 'unpriced' then null
                        else contracted_cost_usd end as cost_usd,
       null::hugeint as unused_usd, null::varchar as unused_of, null::varchar as unused_version
from every;
