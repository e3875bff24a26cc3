-- old, new (cost lines), days -> changes: USD before and after, summed over equal rows, where they differ.
create temp table changes as
with before as (
    select tenant_id, usage_date, workspace_id, description, cost_type, token_type, model, service_tier, context_window,
           inference_geo, sum(amount_usd) as was
    from old semi join days using (tenant_id, usage_date) group by all
),
after as (
    select tenant_id, usage_date, workspace_id, description, cost_type, token_type, model, service_tier, context_window,
           inference_geo, sum(amount_usd) as becomes
    from new semi join days using (tenant_id, usage_date) group by all
)
select *, '' as speed
from before full join after using (tenant_id, usage_date, workspace_id, description, cost_type, token_type, model,
                                   service_tier, context_window, inference_geo)
where coalesce(was, 0) <> coalesce(becomes, 0);
