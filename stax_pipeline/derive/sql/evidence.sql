-- accuracy, cells, used, paid, parts -> doubted, evidence, doubted_parts: what tells the cause where the two differ.
create temp table doubted as
with bills as (select day, tier from accuracy where is_billed and not is_used and reported <> 0)
select row_number() over ()::integer as cell, * from accuracy a
where not agrees or (not is_billed and exists (from bills b where b.day = a.day and b.tier = a.tier));

create temp table evidence as
with u as (from used join cells using (met) join doubted using (day, model, tier)),
     p as (from paid join cells using (met) join doubted using (day, model, tier))
select coalesce(u.cell, p.cell) as cell, coalesce(u.token_type, p.token_type) as token_type,
       u.cell is not null as is_used, list_low, list_high, contract_low, contract_high, usd
from u full join p
  on u.cell = p.cell and u.workspace_id = p.workspace_id and u.met = p.met and u.token_type = p.token_type;

-- the tokens of cells that hold fast ones, or ones of unknown speed, by all that their price depends on
create temp table speeds as
with held as (
    select cell, workspace_id, met, token_type, kind, speed, number
    from parts join cells using (met) join doubted using (day, model, tier)
)
select cell, workspace_id, h.met, token_type, k.model, service_tier, context_window, inference_geo, speed, number
from held h join kinds k using (kind)
semi join (from held where speed in ('', 'fast')) using (cell);
