-- lines, shown, types, notes, spaces, fees, unused, versions -> shapes, told, spend: effective cost under commitments, and
-- each line's number within its day. A shape is all that lines of several days and workspaces are shown under.
insert into shown by name
select ((select max(kind) from shown) + row_number() over ())::integer as kind, model, 'priority' as service_tier,
       '' as context_window, '' as inference_geo, dated_model
from (select distinct model, dated_model from unused);

insert into lines by name
select (select count(*) from lines)::integer + row_number() over ()::integer as id, day, space, 'tokens' as cost_type,
       type, (select max(kind) from shown s where s.model = u.model and s.service_tier = 'priority') as kind, '' as speed,
       'Unused part of commitment ' || commitment_id as descriptions, 'commitment-unused' as cost_source, 0 as cost_usd,
       0 as credits_usd, '' as price_source, burndown_units, 0 as cost_line_count, 3 as place, fee_usd as unused_usd,
       commitment_id as unused_of, version as unused_version
from unused u join token_types using (token_type) join spaces on workspace_id = '';

create temp table shapes as
with held as (select distinct place, cost_type, type, kind, speed, note, descriptions from lines),
named as (
    select place, cost_type, type, kind, speed, note, descriptions, model, token_type, service_tier, context_window,
           inference_geo, dated_model, coalesce(descriptions, description, '') as description,
           case when place in (0, 3) then 'tokens' when cost_type = 'web_search' then 'requests'
                when cost_type in ('code_execution', 'session_usage') then 'hours' else '' end as unit,
           case unit when 'tokens' then '1M tokens' when 'requests' then '1k requests' when 'hours' then 'hour'
                     else '' end as pricing_unit
    from held join shown using (kind) join types using (type) left join notes using (note)
)
select *, row_number() over ()::integer as shape,
       dense_rank() over (order by model, cost_type, token_type, service_tier, context_window, inference_geo, speed,
                                   description)::integer as rank
from named;

create temp table told as
with placed as (
    select id, shape, row_number() over (partition by l.day order by space, rank, coalesce(quantity, 0), l.place) as line
    from lines l
    join shapes s
      on s.place = l.place and s.cost_type = l.cost_type and s.type = l.type and s.kind = l.kind and s.speed = l.speed
     and s.note is not distinct from l.note and s.descriptions is not distinct from l.descriptions
)
select l.id, l.day, l.space, shape, line, quantity, cost_source, cost_usd, credits_usd,
       coalesce(unused_usd, fee_usd, cost_usd) as effective_cost_usd, list_cost_usd,
       coalesce(unused_of, commitment_id, '') as commitment_id
from lines l join placed using (id) left join fees using (id);

create temp view spend as
select t.day, t.line, workspace_id, s.model, s.cost_type, s.token_type, s.service_tier, s.context_window, s.inference_geo,
       s.speed, s.description, t.quantity, s.unit, t.cost_source, t.cost_usd, t.credits_usd, t.effective_cost_usd,
       t.list_cost_usd, l.list_cost_low_usd, l.list_cost_high_usd, l.contracted_cost_usd, l.list_unit_price_usd,
       l.contracted_unit_price_usd, l.pricing_quantity, s.pricing_unit, l.price_source,
       coalesce(l.unused_version, version) as price_book_version, t.commitment_id, l.burndown_units, l.cost_line_count
from told t
join lines l using (id)
join shapes s using (shape)
join spaces sp on sp.space = t.space
join versions v on v.day = t.day;
