"""Rules of conservation: every cent and every token that came in goes out once. Queries whose rows are violations."""

from __future__ import annotations

from stax_pipeline.checks.rule import WINDOW, Rule
from stax_pipeline.pricing.prices.book import ALIASES

_COUNTS = (
    "uncached_input_tokens", "cache_read_input_tokens", "cache_creation_5m_input_tokens",
    "cache_creation_1h_input_tokens", "output_tokens", "web_search_requests",
)  # fmt: skip
_SUMS = ", ".join(f"sum({name}) as {name}" for name in _COUNTS)
_TOKEN_TYPES = (
    "('uncached_input_tokens', uncached_input_tokens), ('cache_read_input_tokens', cache_read_input_tokens), "
    "('cache_creation.ephemeral_5m_input_tokens', cache_creation_5m_input_tokens), "
    "('cache_creation.ephemeral_1h_input_tokens', cache_creation_1h_input_tokens), ('output_tokens', output_tokens)"
)
_SHARED = "tenant_id, usage_date, workspace_id, model, service_tier"

USAGE_READINGS_AGREE = Rule(
    "usage_readings_agree",
    "usage_by_key",
    "Both usage queries hold the same counts on every day that has both and is not open.",
    ("tenant", "usage_date", "workspace_id", "model", "service_tier", "output_tokens", "output_tokens_by_key"),
    f"""
    with a as (select {_SHARED}, {_SUMS} from stax.usage_lines where {WINDOW} group by {_SHARED}),
         k as (select {_SHARED}, {_SUMS} from stax.usage_by_key where {WINDOW} group by {_SHARED})
    select t.slug, usage_date, workspace_id, model, service_tier, a.output_tokens, k.output_tokens
    from a full join k using ({_SHARED})
    join stax.tenants t using (tenant_id)
    join stax.coverage c using (tenant_id, usage_date)
    where c.report = 'usage_report' and c.state <> 'open'
      and (c.by_key or (tenant_id, usage_date) in (select tenant_id, usage_date from k))
      and ({", ".join(f"coalesce(a.{n}, 0)" for n in _COUNTS)})
          is distinct from ({", ".join(f"coalesce(k.{n}, 0)" for n in _COUNTS)})
    order by 1, 2
    """,
    follows_days=True,
)

SPEND_TIES_TO_COST_LINES = Rule(
    "spend_ties_to_cost_lines",
    "spend",
    "Per tenant and day, reported spend equals the cost report to the last digit.",
    ("tenant", "usage_date", "cost_lines_usd", "spend_reported_usd"),
    f"""
    with c as (select tenant_id, usage_date, sum(amount_usd) as usd from stax.cost_lines where {WINDOW} group by 1, 2),
         s as (select tenant_id, usage_date, sum(cost_usd) as usd from stax.spend
               where {WINDOW} and cost_source = 'reported' group by 1, 2)
    select t.slug, usage_date, c.usd, s.usd
    from c full join s using (tenant_id, usage_date) join stax.tenants t using (tenant_id)
    where coalesce(c.usd, 0) <> coalesce(s.usd, 0)
    order by 1, 2
    """,
    follows_days=True,
)

_DATED = ", ".join(f"('{alias}', '{dated}')" for alias, dated in sorted(ALIASES.items()))
DATED_MODELS = f"dated (alias, id) as (values {_DATED})"

SPEND_TIES_TO_USAGE_LINES = Rule(
    "spend_ties_to_usage_lines",
    "spend",
    "Per tenant, day, model, tier and token type, spend holds every token and every web search of the usage report "
    "once.",
    ("tenant", "usage_date", "model", "service_tier", "token_type", "usage", "spend"),
    f"""
    with {DATED_MODELS},
    counted as (
        select tenant_id, usage_date, model, coalesce(nullif(service_tier, ''), 'standard') as tier, {_SUMS}
        from stax.usage_lines where {WINDOW} group by 1, 2, 3, 4),
    both_sides as (
        select tenant_id, usage_date, model, tier, kind, number as read, null::numeric as spent
        from counted cross join lateral (values {_TOKEN_TYPES}) kinds (kind, number)
        union all
        select tenant_id, usage_date, '', '', 'web_search', web_search_requests, null from counted
        union all
        select tenant_id, usage_date, model,
               case when unit = 'tokens' then coalesce(nullif(service_tier, ''), 'standard') else '' end,
               case when unit = 'tokens' then token_type else cost_type end, null, sum(quantity)
        from stax.spend where {WINDOW} and unit in ('tokens', 'requests') group by 1, 2, 3, 4, 5),
    beside as (
        select tenant_id, usage_date, coalesce(id, model) as model, tier, kind, coalesce(sum(read), 0) as read,
               coalesce(sum(spent), 0) as spent
        from both_sides left join dated on alias = model group by 1, 2, 3, 4, 5)
    select t.slug, usage_date, model, tier, kind, read, spent
    from beside join stax.tenants t using (tenant_id)
    where read <> spent
    order by 1, 2, 3, 4, 5
    """,
    follows_days=True,
)

_ROLLED_UP = "tenant_id, usage_date, workspace_id, model, cost_type, service_tier, cost_source"
_FIGURES = ("tokens", "cost_usd", "credits_usd", "effective_cost_usd", "list_cost_usd", "commitment_fee_usd")
_DAY_FIGURES = (
    "tokens", "unpriced_tokens", "billed_usd", "credits_usd", "priority_reconstructed_usd", "estimated_usd",
    "commitment_fee_usd",
)  # fmt: skip
_BY_DAY = """tenant_id, usage_date, coalesce(sum(tokens), 0) as tokens,
           coalesce(sum(tokens) filter (where cost_source = 'unpriced'), 0) as unpriced_tokens,
           coalesce(sum(cost_usd) filter (where cost_source = 'reported'), 0) as billed_usd,
           sum(credits_usd) as credits_usd,
           coalesce(sum(cost_usd) filter (where cost_source = 'priority-reconstructed'), 0)
               as priority_reconstructed_usd,
           coalesce(sum(cost_usd) filter (where cost_source = 'usage-estimated'), 0) as estimated_usd,
           sum(commitment_fee_usd) as commitment_fee_usd"""

SPEND_TOTALS_TIE_TO_SPEND = Rule(
    "spend_totals_tie_to_spend",
    "spend",
    "Per tenant, day, workspace, model, cost type, tier and cost source, spend_totals holds the tokens and dollars of "
    "spend to the last digit, and spend_day_totals their sums.",
    ("tenant", "usage_date", "workspace_id", "model", "service_tier", "cost_source", "spend_usd", "spend_totals_usd"),
    f"""
    with s as (
        select {_ROLLED_UP}, sum(quantity) filter (where unit = 'tokens') as tokens, sum(cost_usd) as cost_usd,
               sum(credits_usd) as credits_usd, sum(effective_cost_usd) as effective_cost_usd,
               sum(list_cost_usd) as list_cost_usd,
               coalesce(sum(effective_cost_usd) filter (where commitment_id <> ''), 0) as commitment_fee_usd
        from stax.spend where {WINDOW} group by {_ROLLED_UP}),
    r as (select {_ROLLED_UP}, {", ".join(f"sum({name}) as {name}" for name in _FIGURES)}
          from stax.spend_totals where {WINDOW} group by {_ROLLED_UP})
    select t.slug, usage_date, workspace_id, model, service_tier, cost_source, s.cost_usd, r.cost_usd
    from s full join r using ({_ROLLED_UP}) join stax.tenants t using (tenant_id)
    where ({", ".join(f"s.{n}" for n in _FIGURES)}) is distinct from ({", ".join(f"r.{n}" for n in _FIGURES)})
    union all
    select t.slug, usage_date, null, null, null, 'every', b.billed_usd, d.billed_usd
    from (select {_BY_DAY} from r group by tenant_id, usage_date) b
    full join (select * from stax.spend_day_totals where {WINDOW}) d using (tenant_id, usage_date)
    join stax.tenants t using (tenant_id)
    where ({", ".join(f"b.{n}" for n in _DAY_FIGURES)}) is distinct from ({", ".join(f"d.{n}" for n in _DAY_FIGURES)})
    order by 1, 2, 3, 4, 5, 6
    """,
    follows_days=True,
)

SPEND_BY_KEY_TIES_TO_SPEND = Rule(
    "spend_by_key_ties_to_spend",
    "spend_by_key",
    "Per tenant, day, workspace, model, token type and cost source, the shares of the keys sum to spend to the last "
    "digit, and on days that are over so do their quantities.",
    ("tenant", "usage_date", "workspace_id", "model", "token_type", "cost_source", "spend_usd", "spend_by_key_usd",
     "spend_quantity", "spend_by_key_quantity"),
    f"""
    with {DATED_MODELS},
    both_sides as (
        select tenant_id, usage_date, workspace_id, coalesce(id, model) as model, cost_type, token_type, cost_source,
               cost_usd as spent_usd, null::numeric as shared_usd, quantity as spent, null::bigint as shared
        from stax.spend left join dated on alias = model where {WINDOW}
        union all
        select tenant_id, usage_date, workspace_id, model, cost_type, token_type, cost_source,
               null::numeric, cost_usd, null::bigint, quantity
        from stax.spend_by_key where {WINDOW}),
    beside as materialized (
        select tenant_id, usage_date, workspace_id, model, token_type, cost_source, sum(spent_usd) as spent_usd,
               sum(shared_usd) as shared_usd, sum(spent) as spent, sum(shared) as shared
        from both_sides group by tenant_id, usage_date, workspace_id, model, cost_type, token_type, cost_source)
    select t.slug, usage_date, workspace_id, model, token_type, cost_source, spent_usd, shared_usd, null, null
    from beside join stax.tenants t using (tenant_id)
    where coalesce(spent_usd, 0) <> coalesce(shared_usd, 0)
    union all
    select t.slug, q.usage_date, '', '', q.token_type, '', null, null, q.spent, q.shared
    from (select tenant_id, usage_date, token_type, coalesce(sum(spent), 0) as spent,
                 coalesce(sum(shared), 0) as shared
          from beside group by 1, 2, 3) q
    join stax.coverage c on c.tenant_id = q.tenant_id and c.usage_date = q.usage_date and c.report = 'usage_report'
    join stax.tenants t on t.tenant_id = q.tenant_id
    where c.state <> 'open' and q.spent <> q.shared
    order by 1, 2, 3, 4, 5
    """,
    follows_days=True,
)  # fmt: skip

FOCUS_TIES_TO_SPEND = Rule(
    "focus_ties_to_spend",
    "spend",
    "Per tenant and day, FOCUS holds the billed and the effective dollars of spend to the last digit; list and "
    "contracted cost are price × quantity; every commitment line has one fee row that covers its day.",
    ("tenant", "usage_date", "what", "billed_or_list_usd", "focus_usd", "effective_or_contracted_usd",
     "focus_other_usd"),
    f"""
    with s as (select tenant_id, usage_date, sum(cost_usd) filter (where cost_source = 'reported') as billed,
                      sum(effective_cost_usd) as effective
               from stax.spend where {WINDOW} group by 1, 2),
         days as (select tenant_id, usage_date from s
                  union select tenant_id, usage_date from stax.coverage where {WINDOW}),
         lines as (
             select tenant_id, usage_date, billed, effective, list_unit * quantity as list_product, list_usd,
                    contracted_unit * quantity as contracted_product, contracted_usd,
                    1e-18 * greatest(abs(quantity), 1) as off_by
             from days cross join lateral (
                 select "BilledCost" as billed, "EffectiveCost" as effective, "PricingQuantity" as quantity,
                        "ListUnitPrice" as list_unit, "ListCost" as list_usd,
                        "ContractedUnitPrice" as contracted_unit, "ContractedCost" as contracted_usd
                 from stax.focus_cost_and_usage
                 where "x_TenantId" = tenant_id and "x_UsageDate" = usage_date offset 0) focus),
         judged as (
             select *, greatest(abs(list_product - list_usd), abs(contracted_product - contracted_usd)) > off_by as off
             from lines offset 0),
         f as (
             select tenant_id, usage_date, sum(billed) as billed, sum(effective) as effective,
                    count(*) filter (where off) as lines_off, sum(list_product) filter (where off) as list_product,
                    sum(list_usd) filter (where off) as list_usd,
                    sum(contracted_product) filter (where off) as contracted_product,
                    sum(contracted_usd) filter (where off) as contracted_usd
             from judged group by 1, 2)
    select t.slug, usage_date, 'sums', s.billed, f.billed, s.effective, f.effective
    from s full join f using (tenant_id, usage_date) join stax.tenants t using (tenant_id)
    where coalesce(s.billed, 0) <> coalesce(f.billed, 0) or coalesce(s.effective, 0) <> coalesce(f.effective, 0)
    union all
    select t.slug, usage_date, 'price × quantity of the lines that are off', list_product, list_usd, contracted_product,
           contracted_usd
    from f join stax.tenants t using (tenant_id)
    where lines_off > 0
    union all
    select t.slug, s.usage_date, 'fee row of ' || s.commitment_id, null, null, sum(s.effective_cost_usd), null
    from stax.spend s join stax.tenants t using (tenant_id)
    where {WINDOW} and s.commitment_id <> '' and 1 <> (
        select count(*) from stax.commitments c
        where c.tenant_id = s.tenant_id and c.commitment_id = s.commitment_id and c.superseded_at is null
          and s.usage_date between c.starts_on and c.ends_on)
    group by t.slug, s.usage_date, s.commitment_id
    order by 1, 2, 3
    """,
    follows_days=True,
)  # fmt: skip
