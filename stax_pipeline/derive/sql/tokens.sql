-- held, fresh (usage) -> before, after: tokens by day, web searches apart.
create temp table before as
select tenant_id, usage_date, tokens_of(uncached_input_tokens, cache_read_input_tokens, cache_creation_5m_input_tokens,
                                        cache_creation_1h_input_tokens, output_tokens) as figure
from held group by tenant_id, usage_date;
create temp table after as
select tenant_id, usage_date, tokens_of(uncached_input_tokens, cache_read_input_tokens, cache_creation_5m_input_tokens,
                                        cache_creation_1h_input_tokens, output_tokens) as figure
from fresh group by tenant_id, usage_date;
