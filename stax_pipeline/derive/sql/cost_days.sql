-- cost_lines -> cost_days: how many lines a day has, whether one is a charge, and their digest, whatever their order.
-- No text holds a NUL, which Postgres refuses: between fields and lines it cannot be taken for content.
create or replace temp table cost_days as
select tenant_id, usage_date, count(*) as rows, bool_or(amount_usd >= 0) as metered,
       sha256(string_agg(line, chr(0) order by line)) as digest
from (
    select tenant_id, usage_date, amount_usd,
           concat_ws(chr(0), workspace_id, description, cost_type, token_type, model, service_tier, context_window,
                     inference_geo, currency, occurrence, amount_usd, extras) as line
    from cost_lines
)
group by tenant_id, usage_date;
