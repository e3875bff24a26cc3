"""What was spent, and what it bought: days, months, keys, tiers, prices, the cache."""

from __future__ import annotations

from stax_pipeline.warehouse.views.view import ALIASES, View, days_of

_SHARED = "(select x.tenant_id, x.name from stax.workspaces x group by x.tenant_id, x.name having count(*) > 1)"


def _label(row: str, name: str, workspace_id: str) -> str:
    """SQL of the workspace to show of `row`, which has a `tenant_id`: unread, it costs nothing."""
    return (
        f"case when ({row}.tenant_id, {name}) in {_SHARED} then {name} || ' (' || {workspace_id} || ')' "
        f"else coalesce({name}, {workspace_id}) end as workspace"
    )


USAGE_TOKENS = View(
    "usage_tokens",
    "Usage, long: one row per token type under the cost report's names",
    """
    select u.usage_date, t.slug as tenant, u.tenant_id, u.workspace_id, nullif(u.model, '') as model,
           nullif(u.service_tier, '') as service_tier, nullif(u.context_window, '') as context_window,
           nullif(u.inference_geo, '') as inference_geo, nullif(u.speed, '') as speed, kinds.token_type, kinds.tokens
    from stax.usage_lines u
    join stax.tenants t using (tenant_id)
    cross join lateral (values
        ('uncached_input_tokens', u.uncached_input_tokens),
        ('cache_read_input_tokens', u.cache_read_input_tokens),
        ('cache_creation.ephemeral_5m_input_tokens', u.cache_creation_5m_input_tokens),
        ('cache_creation.ephemeral_1h_input_tokens', u.cache_creation_1h_input_tokens),
        ('output_tokens', u.output_tokens)
    ) as kinds (token_type, tokens)
    """,
    {
        "workspace_id": "Workspace id; 'default' is the default workspace",
        "speed": "standard or fast; NULL where the source refused to tell",
        "service_tier": "standard, batch, priority, …; NULL where none applies",
        "token_type": "Token type under the cost report's names",
        "tokens": "Tokens",
    },
)

SPEND_SUMMARY = View(
    "spend_summary",
    "Dollars per tenant and day, told apart: billed, of it credits, reconstructed, estimated, and their total. "
    "Sum it over days; spend_daily has the same by workspace, model and cost source",
    """
    select t.slug as tenant, s.tenant_id, s.usage_date, s.billed_usd, s.credits_usd, s.priority_reconstructed_usd,
           s.estimated_usd, s.billed_usd + s.priority_reconstructed_usd + s.estimated_usd as total_usd,
           s.tokens::numeric as tokens, s.unpriced_tokens::numeric as unpriced_tokens
    from stax.spend_day_totals s
    join stax.tenants t using (tenant_id)
    """,
    {
        "billed_usd": "USD of the cost report, credits included",
        "credits_usd": "USD of credits: the negative part of billed_usd, which holds it; not to be added again",
        "priority_reconstructed_usd": "USD of Priority tokens at their price, which no cost report holds",
        "estimated_usd": "USD of tokens whose cost has not arrived yet, estimated from tokens and prices",
        "total_usd": "billed_usd + priority_reconstructed_usd + estimated_usd",
        "tokens": "Tokens of the usage report",
        "unpriced_tokens": "Tokens without a known price: they are in no dollar figure",
    },
)

SPEND_DAILY = View(
    "spend_daily",
    "Dollars per tenant, day, workspace, model, tier and cost source; sums tie to spend",
    f"""
    select s.usage_date, t.slug as tenant, s.tenant_id, nullif(s.workspace_id, '') as workspace_id, w.name as workspace_name,
           nullif(s.model, '') as model, s.cost_type, nullif(s.service_tier, '') as service_tier, s.cost_source,
           s.cost_usd, s.effective_cost_usd, s.list_cost_usd, s.tokens::numeric as tokens, s.credits_usd,
           {_label("s", "w.name", "nullif(s.workspace_id, '')")}
    from stax.spend_totals s
    join stax.tenants t using (tenant_id)
    left join stax.workspaces w using (tenant_id, workspace_id)
    """,
    {
        "credits_usd": "USD of credits: the negative part of the reported dollars, which holds it; not to be added again",
        "workspace": "Workspace to show and to group by: its name, with its id where the tenant has several of that name; its "
        "id where it was never listed; NULL where none applies",
    },
)

SPEND_MONTHLY = View(
    "spend_monthly",
    "Dollars per tenant, calendar month (UTC), workspace, model, tier and cost source, with price accuracy; sums "
    "tie to spend",
    f"""
    select m.month, m.tenant, m.tenant_id, m.workspace_id, w.name as workspace_name, m.model, m.cost_type, m.service_tier, m.cost_source, m.cost_usd, m.effective_cost_usd, m.list_cost_usd, m.tokens, case when m.cost_source in ('priority-reconstructed', 'usage-estimated') then accuracy.ratio end as price_accuracy, m.credits_usd, {_label("m", "w.name", "m.workspace_id")}
    from (select d.month, t.slug as tenant, s.tenant_id, nullif(s.workspace_id, '') as workspace_id,
                 nullif(s.model, '') as model, s.cost_type, nullif(s.service_tier, '') as service_tier, s.cost_source,
                 sum(s.cost_usd) as cost_usd, sum(s.effective_cost_usd) as effective_cost_usd,
                 sum(s.list_cost_usd) as list_cost_usd,
                 sum(s.tokens) as tokens, sum(s.credits_usd) as credits_usd
          from {days_of("spend_totals")} d
          join stax.spend_totals s using (usage_date)
          join stax.tenants t using (tenant_id)
          group by d.month, t.slug, s.tenant_id, s.workspace_id, s.model, s.cost_type, s.service_tier,
                   s.cost_source) m
    left join stax.workspaces w on w.tenant_id = m.tenant_id and w.workspace_id = m.workspace_id
    left join lateral (
        select round(sum(y.priced_usd) / nullif(sum(y.reported_usd), 0), 6) as ratio
        from generate_series(0, extract(day from m.month + interval '1 month - 1 day')::int - 1) as n
        cross join lateral (
            select sum(r.priced_usd) as priced_usd, sum(r.reported_usd) as reported_usd
            from stax.reconciliation r
            where r.usage_date = m.month + n and r.tenant_id = m.tenant_id and r.ratio is not null
              and r.model = coalesce((select a.id from {ALIASES} as a (alias, id) where a.alias = m.model), m.model)
        ) y
    ) accuracy on m.cost_source in ('priority-reconstructed', 'usage-estimated')
    """,
    {
        "tokens": "Tokens; NULL where the source tells none",
        "price_accuracy": "Beside reconstructed and estimated dollars: priced ÷ reported of the model's standard and batch tokens "
        "in the month, 1 is exact; NULL where none were billed, and beside other dollars",
        "credits_usd": "USD of credits: the negative part of the reported dollars, which holds it; not to be added again",
        "workspace": "Workspace to show and to group by: its name, with its id where the tenant has several of that name; its "
        "id where it was never listed; NULL where none applies",
    },
)

SPEND_BY_KEY_DAILY = View(
    "spend_by_key_daily",
    "Who spent what: spend by API key and account, with the names, those of deleted ones too; dollars are split "
    "by the tokens each used, sums tie to spend. The source tells neither context window nor geography nor speed "
    "by key: the dollars of all of them are pooled before they are split",
    f"""
    select t.slug as tenant, k.tenant_id, k.usage_date, nullif(k.workspace_id, '') as workspace_id, w.name as workspace_name,
           case when k.cost_source = 'commitment-unused' then 'nobody: the unused part of a commitment'
                when k.api_key_id = 'unattributed' then 'not split: the source tells no key'
                when coalesce(nullif(m.name, ''), nullif(k.account_id, '')) is not null
                    then concat_ws(' with ', coalesce(nullif(m.name, ''), k.account_id),
                                   coalesce(nullif(a.name, ''), nullif(k.api_key_id, '')))
                when k.api_key_id = '' then 'without an API key (Console or service account)'
                else coalesce(nullif(a.name, ''), k.api_key_id) end as principal,
           nullif(k.api_key_id, '') as api_key_id, a.name as api_key_name, a.status as api_key_status,
           nullif(k.account_id, '') as account_id, m.name as account_name, nullif(m.email, '') as account_email,
           nullif(k.model, '') as model, k.cost_type, nullif(k.token_type, '') as token_type,
           nullif(k.service_tier, '') as service_tier, k.cost_source,
           case when k.cost_type = 'tokens' then k.quantity end as tokens,
           case when k.cost_type = 'web_search' then k.quantity end as web_search_requests,
           k.cost_usd, k.effective_cost_usd, {_label("k", "w.name", "nullif(k.workspace_id, '')")}
    from stax.spend_by_key k
    join stax.tenants t using (tenant_id)
    left join stax.workspaces w on w.tenant_id = k.tenant_id and w.workspace_id = k.workspace_id
    left join stax.api_keys a on a.tenant_id = k.tenant_id and a.api_key_id = k.api_key_id
    left join stax.members m on m.tenant_id = k.tenant_id and m.member_id = k.account_id
    """,
    {
        "principal": "The account's name, else the API key's, else its id; in words where there is neither",
        "api_key_id": "API key id; NULL is use without one, 'unattributed' what the source does not split",
        "api_key_name": "API key name; NULL without one",
        "api_key_status": "active, inactive, archived, expired, … as last seen; NULL without a key",
        "account_id": "OAuth account id; NULL for use not made through OAuth",
        "account_name": "The account's name; NULL without one",
        "account_email": "The account's e-mail address; NULL without one",
        "web_search_requests": "Web searches; NULL for other costs",
        "tokens": "Tokens by the by-key query; NULL for other costs and where it tells none",
        "cost_usd": "This key's share in USD; NULL when unpriced",
        "effective_cost_usd": "This key's share of the effective cost in USD",
        "workspace": "Workspace to show and to group by: its name, with its id where the tenant has several of that name; its "
        "id where it was never listed; NULL where none applies",
    },
)

_TIERS = "model, service_tier, speed, context_window, inference_geo, cost_type"

TIER_MIX = View(
    "tier_mix",
    "Where a tenant's day went: tokens and dollars by model, tier, speed, context window and geography, as shares "
    "of the day; a new value appears as itself",
    f"""
    select g.tenant, g.tenant_id, g.usage_date, g.model, g.service_tier, g.speed, g.context_window, g.inference_geo, g.cost_type, g.tokens, g.cost_usd, g.effective_cost_usd, round(g.tokens / nullif(sum(g.tokens) over day, 0), 6) as tokens_ratio,
           round(g.effective_cost_usd / nullif(sum(g.effective_cost_usd) over day, 0), 6) as effective_cost_ratio, g.credits_usd
    from (select t.slug as tenant, s.tenant_id, s.usage_date, nullif(s.model, '') as model,
                 nullif(s.service_tier, '') as service_tier, nullif(s.speed, '') as speed,
                 nullif(s.context_window, '') as context_window, nullif(s.inference_geo, '') as inference_geo,
                 s.cost_type, sum(s.quantity) filter (where s.unit = 'tokens') as tokens, sum(s.cost_usd) as cost_usd, sum(s.credits_usd) as credits_usd,
                 sum(s.effective_cost_usd) as effective_cost_usd
          from stax.spend s
          join stax.tenants t using (tenant_id)
          group by t.slug, s.tenant_id, s.usage_date, {", ".join(f"s.{name}" for name in _TIERS.split(", "))}) g
    window day as (partition by g.tenant, g.tenant_id, g.usage_date)
    """,
    {
        "tokens_ratio": "Share of the tenant's tokens of the day",
        "effective_cost_ratio": "Share of the tenant's effective dollars of the day",
        "credits_usd": "USD of credits: the negative part of the reported dollars, which holds it; not to be added again",
    },
)

EFFECTIVE_PRICES = View(
    "effective_prices",
    "What a million tokens really cost per day, model, tier and token type: beside the list price, after "
    "discounts, unbilled tokens and the spreading of a commitment",
    """
    select t.slug as tenant, s.tenant_id, s.usage_date, nullif(s.model, '') as model, nullif(s.service_tier, '') as service_tier,
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
        "effective_usd_per_million_tokens": "The same of effective_cost_usd; what a commitment left unused weighs on its uncached input or its output",
        "list_usd_per_million_tokens": "The same of list_cost_usd, over the tokens that have a list price",
    },
)

_SIZES = """(values
    ('0-100k', '100k', 1), ('0-200k', '100k', 1), ('0-200k', '200k', 2), ('100k-1M', '200k', 1), ('100k-1M', '1M', 2),
    ('200k-1M', '1M', 1)) as sizes (context_window, size, place)"""

_FACTOR = (
    "* case when u.service_tier = 'batch' then 0.5 else 1 end * case u.inference_geo when 'us' then k.us_multiplier "
    "else 1 end"
)

CACHE_SAVINGS = View(
    "cache_savings",
    "What the prompt cache saved or cost at list price: what its reads would have cost as uncached input, minus "
    "what was paid more for its writes; negative where writes were not read often enough",
    f"""
    select g.tenant, g.tenant_id, g.usage_date, g.workspace_id, g.workspace_name, g.model, g.service_tier, g.context_window, g.inference_geo, g.speed, g.input_tokens, g.cache_read_tokens, g.cache_write_5m_tokens, g.cache_write_1h_tokens, g.hit_ratio, g.saved_by_reads_usd, g.paid_for_writes_usd, g.price_source, g.saved_by_reads_usd - g.paid_for_writes_usd as net_saved_usd, g.workspace
    from (
        select t.slug as tenant, u.tenant_id, u.usage_date, u.workspace_id, w.name as workspace_name, {_label("u", "w.name", "u.workspace_id")},
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
            from (select k.token_type, k.source, k.banded, k.usd {_FACTOR} as usd
                  from (select x.token_type, min(x.usd_per_unit) <> max(x.usd_per_unit) as banded,
                               min(x.usd_per_unit) as usd,
                               (array_agg(x.us_multiplier order by x.usd_per_unit, x.place))[1] as us_multiplier,
                               (array_agg(x.source order by x.usd_per_unit, x.place))[1] as source
                        from (select distinct on (x.token_type, asked.size) x.*, asked.place
                              from stax.list_prices x
                              cross join (select size, place from {_SIZES}
                                          where context_window = coalesce(nullif(u.context_window, ''), '0-200k')
                                          union all
                                          select u.context_window, 1
                                          where coalesce(nullif(u.context_window, ''), '0-200k')
                                                not in (select context_window from {_SIZES})) asked
                              where x.cost_type = 'tokens' and x.superseded_at is null
                                and x.effective_from <= u.usage_date and x.token_type <> 'output_tokens'
                                and x.model = coalesce((select a.id from {ALIASES} as a (alias, id)
                                                        where a.alias = u.model), u.model)
                                and x.speed = case u.speed when 'fast' then 'fast' else 'standard' end
                                and (x.context_window = 'all'
                                     or (x.context_window, asked.size) in (select context_window, size from {_SIZES}))
                              order by x.token_type, asked.size, x.effective_from desc, x.context_window = 'all') x
                        group by x.token_type
                        having count(*) = greatest(1, (select count(*) from {_SIZES}
                               where context_window = coalesce(nullif(u.context_window, ''), '0-200k')))) k) p
        ) p on u.service_tier in ('', 'standard', 'batch', 'priority')
           and u.inference_geo in ('', 'global', 'not_available', 'us')
    ) g
    """,
    {
        "speed": "standard or fast; NULL where the source refused to tell",
        "input_tokens": "Input tokens of every kind: uncached, read from and written to the cache",
        "cache_read_tokens": "Input tokens read from the cache",
        "cache_write_5m_tokens": "Input tokens written to the 5-minute cache",
        "cache_write_1h_tokens": "Input tokens written to the 1-hour cache",
        "hit_ratio": "Tokens read from the cache ÷ all input tokens; NULL without input",
        "saved_by_reads_usd": "Tokens read × (list price of uncached input − list price of a read), USD; NULL where the price book "
        "knows neither",
        "paid_for_writes_usd": "Tokens written × (list price of the write − list price of uncached input), USD; NULL likewise",
        "net_saved_usd": "saved_by_reads_usd − paid_for_writes_usd; negative where the cache cost more than it saved",
        "price_source": "Where the list prices come from: those of the day, batch and US-only factors in, contract rates not; "
        "band-lower where the lower of two prices was taken; NULL without a price",
        "workspace": "Workspace to show and to group by: its name, with its id where the tenant has several of that name; its "
        "id where it was never listed; NULL where none applies",
    },
)

SPENDING_VIEWS = (
    USAGE_TOKENS,
    SPEND_SUMMARY,
    SPEND_DAILY,
    SPEND_MONTHLY,
    SPEND_BY_KEY_DAILY,
    TIER_MIX,
    EFFECTIVE_PRICES,
    CACHE_SAVINGS,
)
