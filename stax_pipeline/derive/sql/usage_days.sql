-- usage_lines, usage_by_key -> usage_days, key_days: the same of a day's usage, and whether it has metered tokens.
create or replace temp table usage_days as
select tenant_id, usage_date, count(*) as rows,
       bool_or(service_tier in ('', 'standard', 'batch')
               and (uncached_input_tokens > 0 or cache_read_input_tokens > 0 or cache_creation_5m_input_tokens > 0
                    or cache_creation_1h_input_tokens > 0 or output_tokens > 0)) as metered,
       sha256(string_agg(line, chr(0) order by line)) as digest
from (
    select *, concat_ws(chr(0), workspace_id, model, service_tier, context_window, inference_geo, speed,
                        uncached_input_tokens, cache_read_input_tokens, cache_creation_5m_input_tokens,
                        cache_creation_1h_input_tokens, output_tokens, web_search_requests, extras) as line
    from usage_lines
)
group by tenant_id, usage_date;

create or replace temp table key_days as
select tenant_id, usage_date, sha256(string_agg(line, chr(0) order by line)) as digest
from (
    select tenant_id, usage_date,
           concat_ws(chr(0), workspace_id, api_key_id, account_id, model, service_tier, uncached_input_tokens,
                     cache_read_input_tokens, cache_creation_5m_input_tokens, cache_creation_1h_input_tokens,
                     output_tokens, web_search_requests, extras) as line
    from usage_by_key
)
group by tenant_id, usage_date;
