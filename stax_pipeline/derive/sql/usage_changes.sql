-- old, new (usage lines), days -> changes: tokens and web searches before and after, by type, where they differ.
create temp table meters as
with every as (
    select true as is_old, * from old semi join days using (tenant_id, usage_date)
    union all by name
    select false as is_old, * from new semi join days using (tenant_id, usage_date)
)
select is_old, tenant_id, usage_date, workspace_id, model, service_tier, context_window, inference_geo, speed,
       unnest(['uncached_input_tokens', 'cache_read_input_tokens', 'cache_creation.ephemeral_5m_input_tokens',
               'cache_creation.ephemeral_1h_input_tokens', 'output_tokens', '']) as token_type,
       unnest([uncached_input_tokens, cache_read_input_tokens, cache_creation_5m_input_tokens,
               cache_creation_1h_input_tokens, output_tokens, web_search_requests]) as number
from every;

create temp table changes as
select tenant_id, usage_date, workspace_id, '' as description,
       case token_type when '' then 'web_search' else 'tokens' end as cost_type, token_type, model, service_tier,
       context_window, inference_geo, speed,
       sum(number) filter (is_old) as was, sum(number) filter (not is_old) as becomes
from meters where number > 0
group by all
having coalesce(was, 0) <> coalesce(becomes, 0);
