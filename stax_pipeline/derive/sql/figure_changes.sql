-- old, new (spend), days -> changes: dollars of each line before and after, where any figure of it may have moved.
create temp table changes as
with before as (
    select tenant_id, usage_date, workspace_id, cost_type, token_type, model, service_tier, context_window,
           inference_geo, speed, sum(cost_usd) as old_cost, sum(contracted_cost_usd) as old_contracted,
           sum(effective_cost_usd) as old_effective, sum(quantity) as old_quantity, true as was
    from old semi join days using (tenant_id, usage_date) group by all
),
after as (
    select tenant_id, usage_date, workspace_id, cost_type, token_type, model, service_tier, context_window,
           inference_geo, speed, sum(cost_usd) as new_cost, sum(contracted_cost_usd) as new_contracted,
           sum(effective_cost_usd) as new_effective, sum(quantity) as new_quantity, true as stays
    from new semi join days using (tenant_id, usage_date) group by all
)
select *
from before full join after using (tenant_id, usage_date, workspace_id, cost_type, token_type, model, service_tier,
                                   context_window, inference_geo, speed)
where old_cost is distinct from new_cost or old_contracted is distinct from new_contracted
   or old_effective is distinct from new_effective;
