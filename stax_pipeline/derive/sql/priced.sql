-- meters, prices, sources, token_types -> parts, used: tokens by token type, priced part by part, then summed where cost
-- meets them.
create temp table parts as
select *
from (
    select day, space, kind, met, sold, speed, unnest([1, 2, 3, 4, 5]) as type,
           unnest([uncached_input_tokens, cache_read_input_tokens, cache_creation_5m_input_tokens,
                   cache_creation_1h_input_tokens, output_tokens]) as number
    from meters
)
where number > 0;

create temp table used as
with costs as (from prices join token_types using (token_type)),
summed as (
    select day, space, met, type, sum(number)::bigint as quantity, one(min(kind), max(kind), null) as kind,
           one(min(speed), max(speed), 'mixed') as speed,
           count(*) = count(list_id) as is_listed, count(*) = count(contract_id) as is_contracted,
           sum(number * list_low) as list_low, sum(number * list_low_fine) as list_low_fine,
           sum(number * list_high) as list_high, sum(number * list_high_fine) as list_high_fine,
           sum(number * contract_low) as contract_low, sum(number * contract_low_fine) as contract_low_fine,
           sum(number * contract_high) as contract_high, sum(number * contract_high_fine) as contract_high_fine,
           case when is_listed then one(min(list_id), max(list_id), null) end is not null as is_one_list,
           case when is_contracted then one(min(contract_id), max(contract_id), null) end is not null as is_one_contract,
           min(list_unit) as list_unit, min(contract_unit) as contract_unit,
           count(*) = count(source) as is_sourced, one(min(source), max(source), null) as source
    from parts join costs using (sold, type)
    group by day, space, met, type
),
several as (
    select day, space, met, type,
           case when bool_or(name = 'band-lower') then 'band-lower'
                else string_agg(distinct name, ' + ' order by name) end as names
    from parts join costs using (sold, type) join sources using (source)
    semi join (from summed where is_sourced and source is null) using (day, space, met, type)
    group by day, space, met, type
)
select day, space, met, type, quantity, kind, speed, is_listed, is_contracted,
       case when is_listed then half_even(list_low, list_low_fine) end as list_low,
       case when is_listed then half_even(list_high, list_high_fine) end as list_high,
       case when is_contracted then half_even(contract_low, contract_low_fine) end as contract_low,
       case when is_contracted then half_even(contract_high, contract_high_fine) end as contract_high,
       case when is_one_list then list_unit end as list_unit,
       case when is_one_contract then contract_unit end as contract_unit,
       case when is_sourced then coalesce(name, names) else '' end as price_source
from summed
left join sources using (source)
left join several using (day, space, met, type);
