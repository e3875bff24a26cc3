-- told, shapes, spaces, usage_by_key, days, aliases, token_types -> spend_by_key: the largest remainder, so that parts
-- always sum to the whole. A pool is what spend and the by-key query have in common, goods in a workspace on a day; a part
-- of it is one cost source.
create temp table goods as
select shape, dated_model as model, cost_type, token_type,
       case when cost_type = 'tokens' then or_default(service_tier, 'standard') else service_tier end as tier,
       dense_rank() over (order by model, cost_type, token_type, tier)::integer as goods
from shapes;

create temp table pools as
with held as (
    select day, space, goods, cost_source, sum(cost_usd) as cost, sum(effective_cost_usd) as effective,
           sum(quantity)::bigint as quantity
    from told join goods using (shape)
    group by day, space, goods, cost_source
),
numbered as (select *, row_number() over ()::integer as pool from (select distinct day, space, goods from held))
select *, row_number() over ()::integer as part from held join numbered using (day, space, goods);

create temp table people as
select *, row_number() over (order by api_key_id, account_id)::integer as who
from (select distinct api_key_id, account_id from usage_by_key);

create temp table counts as
with kinds_used as (
    select *, row_number() over ()::integer as used
    from (select distinct model, service_tier from usage_by_key)
),
goods_used as (
    select distinct used, type, goods
    from kinds_used u
    left join aliases on alias = u.model
    join token_types on true
    join goods g
      on g.token_type = token_types.token_type
     and case when type = 0 then g.cost_type = 'web_search' and g.model = '' and g.tier = ''
              else g.cost_type = 'tokens' and g.model = coalesce(dated, u.model)
                   and g.tier = or_default(u.service_tier, 'standard') end
),
counted as (
    select day, space, who, used, unnest([1, 2, 3, 4, 5, 0]) as type,
           unnest([uncached_input_tokens, cache_read_input_tokens, cache_creation_5m_input_tokens,
                   cache_creation_1h_input_tokens, output_tokens, web_search_requests]) as number
    from usage_by_key
    join days using (tenant_id, usage_date)
    join spaces using (workspace_id)
    join people using (api_key_id, account_id)
    join kinds_used using (model, service_tier)
)
select pool, who, sum(number)::bigint as number
from (from counted where number > 0)
join goods_used using (used, type)
join (select distinct pool, day, space, goods from pools) using (day, space, goods)
group by pool, who;

-- dollars: a part's, split by its pool's counts; effective ones apart where a commitment made them others
create temp table dollars as
with amounts as (
    select pool, part, false as is_effective, cost as usd from pools
    union all
    select pool, part, true, effective from pools where effective is distinct from cost
),
weighed as (select pool, sum(number) as weights from counts group by pool),
floors as (
    select part, is_effective, who, sign(usd)::integer as sign, abs(usd) as total,
           share(total, number, weights) as whole, remainder(total, number, weights) as rest
    from amounts join weighed using (pool) join counts using (pool)
),
left_over as (
    select part, is_effective, min(total) - sum(whole) as units from floors group by part, is_effective having units > 0
),
lucky as (
    select part, is_effective, who
    from floors join left_over using (part, is_effective)
    qualify row_number() over (partition by part, is_effective order by rest desc, who) <= units
)
select part, is_effective, who, sign * (whole + case when l.part is null then 0 else 1 end) as usd
from floors f left join lucky l using (part, is_effective, who);

-- a key's own count, split over the cost sources of its pool where there are several
create temp table quantities as
with several as (
    select pool, part, cost_source, quantity from pools
    semi join (select pool from pools group by pool having count(*) > 1) using (pool)
),
weighed as (
    select pool, part, cost_source,
           case when sum(quantity) over (partition by pool) > 0 then coalesce(quantity, 0) else 1 end as weight
    from several
),
floors as (
    select pool, part, cost_source, who, number,
           sum(weight) over (partition by pool, who) as weights,
           share(number::hugeint, weight::hugeint, weights) as whole,
           remainder(number::hugeint, weight::hugeint, weights) as rest
    from weighed join counts using (pool)
)
select part, who, (whole + case when
           row_number() over (partition by pool, who order by rest desc, cost_source)
               <= number - sum(whole) over (partition by pool, who) then 1 else 0 end)::bigint as quantity
from floors;

create temp view spend_by_key as
with effectives as (select part, who, usd from dollars where is_effective),
divided as (
    select day, space, goods, api_key_id, account_id, cost_source, coalesce(q.quantity, number) as quantity,
           d.usd as cost_usd, case when effective is distinct from cost then e.usd else d.usd end as effective_cost_usd
    from (from dollars where not is_effective) d
    join pools p using (part)
    join counts c on c.pool = p.pool and c.who = d.who
    join people on people.who = d.who
    left join effectives e on e.part = d.part and e.who = d.who
    left join quantities q on q.part = d.part and q.who = d.who
    union all
    select day, space, goods, 'unattributed', '', cost_source, quantity, cost, effective
    from pools anti join counts using (pool)
)
select * exclude (space, goods, tier), tier as service_tier
from divided
join spaces using (space)
join (select distinct goods, model, cost_type, token_type, tier from goods) using (goods);
