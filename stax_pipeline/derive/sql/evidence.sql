-- accuracy, cells, used, paid, parts, kinds, types -> doubted, evidence, speeds: what tells the cause where the two differ.
create temp table doubted as
with bills as (select day, tier from accuracy where is_billed and not is_used and reported <> 0)
select row_number() over ()::integer as cell, * from accuracy a
where not agrees or (not is_billed and exists (from bills b where b.day = a.day and b.tier = a.tier));

create temp table evidence as
with u as (from used join cells using (met) join doubted using (day, model, tier)),
     p as (from paid join cells using (met) join doubted using (day, model, tier))
select coalesce(u.cell, p.cell) as cell, token_type, u.cell is not null as is_used, list_low, list_high, contract_low,
       contract_high, usd
from u full join p on u.cell = p.cell and u.space = p.space and u.met = p.met and u.type = p.type
join types t on t.type = coalesce(u.type, p.type);

-- the tokens of cells that hold fast ones, or ones of unknown speed, by all that their price depends on
create temp table speeds as
with held as (
    select cell, space, met, type, kind, speed, number
    from parts join cells using (met) join doubted using (day, model, tier)
)
select cell, space, h.met, token_type, k.model, service_tier, context_window, inference_geo, speed, number
from held h join kinds k using (kind) join types using (type)
semi join (from held where speed in ('', 'fast')) using (cell);
