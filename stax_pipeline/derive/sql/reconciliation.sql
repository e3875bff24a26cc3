-- used, bills, paid, kinds, days -> cells, accuracy: standard and batch tokens by the book beside what was billed for them.
create temp table cells as
select distinct met, dated_model as model, tier from kinds where tier in ('standard', 'batch');

create temp table accuracy as
with reported as (
    select day from days where settled
    union
    select day from bills where cost_type = 'tokens' and not is_credit
),
priced as (
    select day, model, tier, case when bool_and(is_contracted) then sum(contract_low) end as low,
           case when bool_and(is_contracted) then sum(contract_high) end as high,
           case when bool_and(is_listed) then sum(list_low) end as listed
    from used join cells using (met) semi join reported using (day)
    group by day, model, tier
),
billed as (select day, model, tier, sum(usd) as usd from paid join cells using (met) group by day, model, tier)
select day, model, tier, p.day is not null as is_used, b.day is not null as is_billed,
       case when is_used then low else 0 end as low, case when is_used then high else 0 end as high,
       case when is_used then listed else 0 end as listed, coalesce(usd, 0) as reported,
       coalesce(abs(low - reported) <= abs(reported) // 100, false) as agrees
from priced p full join billed b using (day, model, tier);
