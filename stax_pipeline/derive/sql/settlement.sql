-- cost_lines, usage_lines, days -> settlement: days whose missing costs may be read as zero, and those that lack cost.
create temp table settlement as
with billed as (select distinct tenant_id, usage_date from cost_lines where amount_usd >= 0),
metered as (
    select distinct tenant_id, usage_date, true as is_metered from usage_lines
    where is_metered(service_tier, uncached_input_tokens, cache_read_input_tokens, cache_creation_5m_input_tokens,
                     cache_creation_1h_input_tokens, output_tokens)
),
lacking as (select tenant_id, usage_date, is_metered as lacks from metered anti join billed using (tenant_id, usage_date))
select tenant_id, usage_date, old_enough and lacks is null as settled, old_enough and lacks is not null as cost_missing
from days left join lacking using (tenant_id, usage_date);
