-- cost_lines, usage_lines, days -> ungrouped, unplaced: charges that name no model, token type or workspace, where
-- tokens that are billed say that they must. Charges alone prove it; a credit is of no model and no workspace.
create temp table metered as
select distinct tenant_id, usage_date, workspace_id from usage_lines
where is_metered(service_tier, uncached_input_tokens, cache_read_input_tokens, cache_creation_5m_input_tokens,
                 cache_creation_1h_input_tokens, output_tokens);

create temp table ungrouped as
select tenant_id, usage_date, bool_or(model <> '') as names_model, bool_or(token_type <> '') as names_token_type
from cost_lines semi join metered using (tenant_id, usage_date)
where amount_usd > 0 and cost_type = 'tokens'
group by tenant_id, usage_date
having not names_model or not names_token_type;

create temp table unplaced as
with unnamed as (
    select tenant_id from cost_lines where amount_usd > 0
    group by tenant_id having bool_and(workspace_id = 'default')
)
select tenant_id, usage_date, workspace_id
from metered semi join unnamed using (tenant_id) semi join (from days where settled) using (tenant_id, usage_date)
where workspace_id not in ('', 'default');
