"""Views of what was spent, and what it bought: months, keys, tiers, prices, the cache."""

from stax_pipeline.warehouse.migrations.views_0005.view import ALIASES, View, days_of

SPEND_DAILY = View(
    "spend_daily",
    "Dollars per tenant, day, workspace, model, tier and cost source; sums tie to spend",
    """
    select s.usage_date, t.slug, s.tenant_id, nullif(s.workspace_id, '') as workspace_id, w.name as workspace_name,
           nullif(s.model, '') as model, s.cost_type, nullif(s.service_tier, '') as service_tier, s.cost_source,
           sum(s.cost_usd) as cost_usd, sum(s.effective_cost_usd) as effective_cost_usd,
           sum(s.list_cost_usd) as list_cost_usd, sum(s.quantity) filter (where s.unit = 'tokens') as tokens
    from stax.spend s
    join stax.tenants t using (tenant_id)
    left join stax.workspaces w using (tenant_id, workspace_id)
    group by s.usage_date, t.slug, s.tenant_id, s.workspace_id, w.name, s.model, s.cost_type, s.service_tier,
             s.cost_source
    """,
    replaces=True,
)

SPEND_MONTHLY = View(
    "spend_monthly",
    "Dollars per tenant, calendar month (UTC), workspace, model, tier and cost source, with the error bar; sums tie to "
    "spend",
    f"""
    select m.*, case when m.cost_source in ('priority-reconstructed', 'usage-estimated') then bar.ratio end as error_bar
    from (select d.month, t.slug, s.tenant_id, nullif(s.workspace_id, '') as workspace_id, w.name as workspace_name,
                 nullif(s.model, '') as model, s.cost_type, nullif(s.service_tier, '') as service_tier, s.cost_source,
                 sum(s.cost_usd) as cost_usd, sum(s.effective_cost_usd) as effective_cost_usd,
                 sum(s.list_cost_usd) as list_cost_usd,
                 sum(s.quantity) filter (where s.unit = 'tokens') as tokens
          from {days_of("spend")} d
          join stax.spend s using (usage_date)
          join stax.tenants t using (tenant_id)
          left join stax.workspaces w using (tenant_id, workspace_id)
          group by d.month, t.slug, s.tenant_id, s.workspace_id, w.name, s.model, s.cost_type, s.service_tier,
                   s.cost_source) m
    left join lateral (
        select round(sum(y.priced_usd) / nullif(sum(y.reported_usd), 0), 6) as ratio
        from generate_series(0, extract(day from m.month + interval '1 month - 1 day')::int - 1) as n
        cross join lateral (
            select sum(r.priced_usd) as priced_usd, sum(r.reported_usd) as reported_usd
            from stax.reconciliation r
            where r.usage_date = m.month + n and r.tenant_id = m.tenant_id and r.ratio is not null
              and r.model = coalesce((select a.id from {ALIASES} as a (alias, id) where a.alias = m.model), m.model)
        ) y
    ) bar on m.cost_source in ('priority-reconstructed', 'usage-estimated')
    """,
    {
        "tokens": "Tokens; NULL where the source tells none",
        "error_bar": "Beside reconstructed and estimated dollars: priced ÷ reported of the model's standard and batch "
        "tokens in the month, 1 is exact; NULL where none were billed, and beside other dollars",
    },
    replaces=True,
)

SPEND_BY_KEY_DAILY = View(
    "spend_by_key_daily",
    "Who spent what: spend by API key and account, with the names, those of deleted ones too; dollars are split by the "
    "tokens each used, sums tie to spend",
    """
    select t.slug, k.tenant_id, k.usage_date, nullif(k.workspace_id, '') as workspace_id, w.name as workspace_name,
           case when k.cost_source = 'commitment-unused' then 'nobody: the unused part of a commitment'
                when k.api_key_id = 'unattributed' then 'not split: the source tells no key'
                when coalesce(nullif(m.name, ''), nullif(k.account_id, '')) is not null
                    then concat_ws(' with ', coalesce(nullif(m.name, ''), k.account_id),
                                   coalesce(nullif(a.name, ''), nullif(k.api_key_id, '')))
                when k.api_key_id = '' then 'without an API key (Console or service account)'
                else coalesce(nullif(a.name, ''), k.api_key_id) end as who,
           nullif(k.api_key_id, '') as api_key_id, a.name as api_key_name, a.status as api_key_status,
           nullif(k.account_id, '') as account_id, m.name as account_name, nullif(m.email, '') as account_email,
           nullif(k.model, '') as model, k.cost_type, nullif(k.token_type, '') as token_type,
           nullif(k.service_tier, '') as service_tier, k.cost_source,
           case when k.cost_type = 'tokens' then k.quantity end as tokens,
           case when k.cost_type = 'web_search' then k.quantity end as web_search_requests,
           k.cost_usd, k.effective_cost_usd
    from stax.spend_by_key k
    join stax.tenants t using (tenant_id)
    left join stax.workspaces w on w.tenant_id = k.tenant_id and w.workspace_id = k.workspace_id
    left join stax.api_keys a on a.tenant_id = k.tenant_id and a.api_key_id = k.api_key_id
    left join stax.members m on m.tenant_id = k.tenant_id and m.member_id = k.account_id
    """,
    {
        "who": "The account's name, else the API key's, else its id; in words where there is neither",
        "api_key_id": "API key id; NULL is use without one, 'unattributed' what the source does not split",
        "api_key_name": "API key name; NULL without one",
        "api_key_status": "active, inactive, archived, expired, … as last seen; NULL without a key",
        "account_id": "OAuth account id; NULL for use not made through OAuth",
        "account_name": "The account's name; NULL without one",
        "account_email": "The account's e-mail address; NULL without one",
        "web_search_requests": "Web searches; NULL for other costs",
        "tokens": "Tokens by the by-key reading; NULL for other costs and where it tells none",
        "cost_usd": "This key's share in USD; NULL when unpriced",
        "effective_cost_usd": "This key's share of the effective cost in USD",
    },
)

_TIERS = "model, service_tier, speed, context_window, inference_geo, cost_type"
TIER_MIX = View(
    "tier_mix",
    "Where a tenant's day went: tokens and dollars by model, tier, speed, context window and geography, as shares of "
    "the day; a new value appears as itself",
    f"""
    select g.*, round(g.tokens / nullif(sum(g.tokens) over day, 0), 6) as tokens_ratio,
           round(g.effective_cost_usd / nullif(sum(g.effective_cost_usd) over day, 0), 6) as effective_cost_ratio
    from (select t.slug, s.tenant_id, s.usage_date, nullif(s.model, '') as model,
                 nullif(s.service_tier, '') as service_tier, nullif(s.speed, '') as speed,
                 nullif(s.context_window, '') as context_window, nullif(s.inference_geo, '') as inference_geo,
                 s.cost_type, sum(s.quantity) filter (where s.unit = 'tokens') as tokens, sum(s.cost_usd) as cost_usd,
                 sum(s.effective_cost_usd) as effective_cost_usd
          from stax.spend s
          join stax.tenants t using (tenant_id)
          group by t.slug, s.tenant_id, s.usage_date, {", ".join(f"s.{name}" for name in _TIERS.split(", "))}) g
    window day as (partition by g.slug, g.tenant_id, g.usage_date)
    """,
    {
        "tokens_ratio": "Share of the tenant's tokens of the day",
        "effective_cost_ratio": "Share of the tenant's effective dollars of the day",
    },
)

EFFECTIVE_PRICES = View(
    "effective_prices",
    "What a million tokens really cost per day, model, tier and token type: beside the list price, after discounts, "
    "unbilled tokens and the spreading of a commitment",
    """
    select t.slug, s.tenant_id, s.usage_date, nullif(s.model, '') as model, nullif(s.service_tier, '') as service_tier,
           nullif(s.token_type, '') as token_type, sum(s.quantity) as tokens, sum(s.cost_usd) as cost_usd,
           sum(s.effective_cost_usd) as effective_cost_usd, sum(s.list_cost_usd) as list_cost_usd,
           round(1000000 * sum(s.cost_usd)
                 / nullif(sum(s.quantity) filter (where s.cost_usd is not null), 0), 12) as usd_per_million_tokens,
           round(1000000 * sum(s.effective_cost_usd)
                 / nullif(sum(s.quantity) filter (where s.effective_cost_usd is not null), 0), 12)
               as effective_usd_per_million_tokens,
           round(1000000 * sum(s.list_cost_usd)
                 / nullif(sum(s.quantity) filter (where s.list_cost_usd is not null), 0), 12)
               as list_usd_per_million_tokens
    from stax.spend s
    join stax.tenants t using (tenant_id)
    where s.cost_type = 'tokens'
    group by t.slug, s.tenant_id, s.usage_date, s.model, s.service_tier, s.token_type
    """,
    {
        "usd_per_million_tokens": "USD per 1,000,000 tokens, over the tokens that have dollars; rounded to 12 decimals",
        "effective_usd_per_million_tokens": "The same of effective_cost_usd; what a commitment left unused weighs on "
        "its uncached input or its output",
        "list_usd_per_million_tokens": "The same of list_cost_usd, over the tokens that have a list price",
    },
)

_PRICE = "* case when u.service_tier = 'batch' then 0.5 else 1 end * case u.inference_geo when 'us' then p.us_multiplier else 1 end"
_IN_FORCE = "x.cost_type = 'tokens' and x.superseded_at is null and x.effective_from <= u.usage_date"
CACHE_SAVINGS = View(
    "cache_savings",
    "What the prompt cache saved or cost at list price: what its reads would have cost as uncached input, minus what "
    "was paid more for its writes; negative where writes were not read often enough",
    f"""
    select g.*, g.saved_by_reads_usd - g.paid_for_writes_usd as net_saved_usd
    from (
        select t.slug, u.tenant_id, u.usage_date, u.workspace_id, w.name as workspace_name,
               nullif(u.model, '') as model, nullif(u.service_tier, '') as service_tier,
               nullif(u.context_window, '') as context_window, nullif(u.inference_geo, '') as inference_geo,
               nullif(u.speed, '') as speed, i.input_tokens, u.cache_read_input_tokens as cache_read_tokens,
               u.cache_creation_5m_input_tokens as cache_write_5m_tokens,
               u.cache_creation_1h_input_tokens as cache_write_1h_tokens,
               round(u.cache_read_input_tokens::numeric / nullif(i.input_tokens, 0), 6) as hit_ratio,
               case when u.cache_read_input_tokens = 0 then 0
                    else u.cache_read_input_tokens * (p.uncached - p.read) * 0.000001 end as saved_by_reads_usd,
               case when u.cache_creation_5m_input_tokens = 0 then 0
                    else u.cache_creation_5m_input_tokens * (p.write_5m - p.uncached) * 0.000001 end
               + case when u.cache_creation_1h_input_tokens = 0 then 0
                      else u.cache_creation_1h_input_tokens * (p.write_1h - p.uncached) * 0.000001 end
                   as paid_for_writes_usd,
               p.price_source
        from stax.usage_lines u
        join stax.tenants t using (tenant_id)
        left join stax.workspaces w using (tenant_id, workspace_id)
        cross join lateral (
            select u.uncached_input_tokens + u.cache_read_input_tokens + u.cache_creation_5m_input_tokens
                   + u.cache_creation_1h_input_tokens as input_tokens
        ) i
        left join lateral (
            select max(usd) filter (where token_type = 'uncached_input_tokens') as uncached,
                   max(usd) filter (where token_type = 'cache_read_input_tokens') as read,
                   max(usd) filter (where token_type = 'cache_creation.ephemeral_5m_input_tokens') as write_5m,
                   max(usd) filter (where token_type = 'cache_creation.ephemeral_1h_input_tokens') as write_1h,
                   case when bool_or(banded) then 'band-lower' else string_agg(distinct source, ' + ') end
                       as price_source
            from (select h.token_type, p.source, p.usd_per_unit <> h.usd_per_unit as banded,
                         p.usd_per_unit {_PRICE} as usd
                  from (select distinct on (x.token_type) x.*
                        from stax.list_prices x
                        where {_IN_FORCE} and x.token_type <> 'output_tokens'
                          and x.model = coalesce((select a.id from {ALIASES} as a (alias, id) where a.alias = u.model),
                                                 u.model)
                          and x.speed = case u.speed when 'fast' then 'fast' else 'standard' end
                          and x.context_window in (coalesce(nullif(u.context_window, ''), '0-200k'), 'all',
                                                   '100k-1M')
                        order by x.token_type, x.effective_from desc, x.context_window = 'all') h
                  cross join lateral (
                      (select h.usd_per_unit, h.us_multiplier, h.source
                       where h.context_window <> '100k-1M' or u.context_window = '200k-1M')
                      union all
                      (select x.usd_per_unit, x.us_multiplier, x.source
                       from stax.list_prices x
                       where h.context_window = '100k-1M' and u.context_window <> '200k-1M' and {_IN_FORCE}
                         and x.token_type = h.token_type and x.model = h.model and x.speed = h.speed
                         and x.context_window = '0-100k'
                       order by x.effective_from desc limit 1)
                  ) p) p
        ) p on u.service_tier in ('', 'standard', 'batch', 'priority')
    ) g
    """,
    {
        "speed": "standard or fast; NULL where the source refused to tell",
        "input_tokens": "Input tokens of every kind: uncached, read from and written to the cache",
        "cache_read_tokens": "Input tokens read from the cache",
        "cache_write_5m_tokens": "Input tokens written to the 5-minute cache",
        "cache_write_1h_tokens": "Input tokens written to the 1-hour cache",
        "hit_ratio": "Tokens read from the cache ÷ all input tokens; NULL without input",
        "saved_by_reads_usd": "Tokens read × (list price of uncached input − list price of a read), USD; NULL where "
        "the price book knows neither",
        "paid_for_writes_usd": "Tokens written × (list price of the write − list price of uncached input), USD; NULL "
        "likewise",
        "net_saved_usd": "saved_by_reads_usd − paid_for_writes_usd; negative where the cache cost more than it saved",
        "price_source": "Where the list prices come from: those of the day, batch and US-only factors in, contract "
        "rates not; band-lower where the lower of two prices was taken; NULL without a price",
    },
)

SPENDING_VIEWS = (SPEND_DAILY, SPEND_MONTHLY, SPEND_BY_KEY_DAILY, TIER_MIX, EFFECTIVE_PRICES, CACHE_SAVINGS)
