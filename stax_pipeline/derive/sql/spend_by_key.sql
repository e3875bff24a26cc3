-- spend, usage_by_key, days, aliases -> spend_by_key: the largest remainder, so that parts always sum to the whole.
-- A pool is what spend and the by-key query have in common; a part of it is one cost source.
create temp table pools as
with held as (
    select day, workspace_id, dated_model as model, cost_type, token_type,
           case when service_tier = '' and cost_type = 'tokens' then 'standard' else service_tier end as service_tier,
           cost_source, sum(cost_usd) as cost, sum(effective_cost_usd) as effective, sum(quantity)::bigint as quantity
    from spend
    group by all
),
numbered as (
    select *, row_number() over ()::integer as pool
    from (select distinct day, workspace_id, model, cost_type, token_type, service_tier from held)
)
select *, row_number() over ()::integer as part
from held join numbered using (day, workspace_id, model, cost_type, token_type, service_tier);

create temp table people as
select *, row_number() over (order by api_key_id, account_id)::integer as who
from (select distinct api_key_id, account_id from usage_by_key);

create temp table counts as
with counted as (
    select day, workspace_id, who, coalesce(dated, model) as model, or_default(service_tier, 'standard') as service_tier,
           unnest(['uncached_input_tokens', 'cache_read_input_tokens', 'cache_creation.ephemeral_5m_input_tokens',
                   'cache_creation.ephemeral_1h_input_tokens', 'output_tokens', '']) as token_type,
           unnest([uncached_input_tokens, cache_read_input_tokens, cache_creation_5m_input_tokens,
                   cache_creation_1h_input_tokens, output_tokens, web_search_requests]) as number
    from usage_by_key
    join days using (tenant_id, usage_date)
    join people using (api_key_id, account_id)
    left join aliases on alias = model
),
named as (
    select day, workspace_id, token_type, case token_type when '' then '' else model end as model,
           case token_type when '' then 'web_search' else 'tokens' end as cost_type,
           case token_type when '' then '' else service_tier end as service_tier, who, number
    from counted where number > 0
)
select pool, who, sum(number)::bigint as number
from named
join (select distinct pool, day, workspace_id, model, cost_type, token_type, service_tier from pools)
  using (day, workspace_id, model, cost_type, token_type, service_tier)
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

create temp table spend_by_key as
with effectives as (select part, who, usd from dollars where is_effective)
select day, workspace_id, api_key_id, account_id, model, cost_type, token_type, service_tier, cost_source,
       coalesce(q.quantity, number) as quantity, d.usd as cost_usd,
       case when effective is distinct from cost then e.usd else d.usd end as effective_cost_usd
from (from dollars where not is_effective) d
join pools p using (part)
join counts c on c.pool = p.pool and c.who = d.who
join people on people.who = d.who
left join effectives e on e.part = d.part and e.who = d.who
left join quantities q on q.part = d.part and q.who = d.who
union all
select day, workspace_id, 'unattributed', '', model, cost_type, token_type, service_tier, cost_source, quantity, cost,
       effective
from pools anti join counts using (pool);
