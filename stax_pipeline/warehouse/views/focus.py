"""FOCUS 1.4, dataset Cost and Usage, over `spend` and `commitments`; what each column means is docs/reference/focus.md."""

from __future__ import annotations

from stax_pipeline.warehouse.views.view import View

LINES = """
select s.*, t.slug, t.name as tenant_name, t.organization_id,
       coalesce(w.anthropic_id, nullif(nullif(s.workspace_id, ''), 'default')) as sub_account_id,
       w.name as sub_account_name,
       greatest(u.extracted_at, c.extracted_at) as extracted_at,
       case when s.cost_source = 'reported' then s.cost_usd else 0 end as billed,
       coalesce(s.list_cost_usd, s.contracted_cost_usd) as list_cost,
       coalesce(s.contracted_cost_usd, s.list_cost_usd) as contracted_cost,
       case when s.list_cost_usd is null then s.contracted_unit_price_usd else s.list_unit_price_usd end as list_price,
       case when s.contracted_cost_usd is null then s.list_unit_price_usd else s.contracted_unit_price_usd end
           as contracted_price,
       coalesce(nullif(case when s.cost_type = 'tokens' then s.model else replace(s.cost_type, '_', '-') end, ''),
                'unknown') as sku,
       nullif(s.inference_geo, 'not_available') as region
from stax.spend s
join stax.tenants t using (tenant_id)
left join stax.workspaces w using (tenant_id, workspace_id)
left join stax.extractions c on c.extraction_id = s.cost_extraction_id
left join stax.extractions u on u.extraction_id = s.usage_extraction_id
"""

# How a line is priced: `unit` by quantity and one unit price; `several` by quantity and more than one price; `none` where
# the source tells no quantity or nobody a price; `credit` where that amount is negative.
PRICED = f"""
select l.*,
       case when l.quantity is null and l.billed < 0 then 'credit'
            when l.pricing_quantity is null or l.list_cost is null then 'none'
            when l.list_price is null or l.contracted_price is null then 'several'
            else 'unit' end as priced_by
from ({LINES}) l
"""

SKU = f"""
select p.*,
       case when p.priced_by = 'unit' then concat_ws('/', p.sku, nullif(p.service_tier, ''), nullif(p.token_type, ''),
           nullif(p.context_window, ''), nullif(p.region, ''), nullif(p.speed, '')) end as sku_price_id,
       case p.token_type
            when 'uncached_input_tokens' then 'Input Tokens'
            when 'output_tokens' then 'Output Tokens'
            when 'cache_read_input_tokens' then 'Cache Read Tokens'
            when 'cache_creation.ephemeral_5m_input_tokens' then 'Cache Write 5m Tokens'
            when 'cache_creation.ephemeral_1h_input_tokens' then 'Cache Write 1h Tokens'
            else case p.cost_type
                 when 'web_search' then 'Web Search Requests'
                 when 'code_execution' then 'Code Execution Hours'
                 when 'session_usage' then 'Session Hours'
                 else initcap(replace(coalesce(nullif(p.token_type, ''), nullif(p.cost_type, ''), 'unknown'), '_', ' '))
                 end
       end as meter,
       case when p.priced_by in ('unit', 'several') then p.pricing_quantity end as volume,
       case when p.priced_by = 'unit' then p.list_price end as list_unit,
       case when p.priced_by = 'unit' then p.contracted_price end as contracted_unit,
       case when p.priced_by in ('unit', 'several') then p.list_cost else p.billed end as listed,
       case when p.priced_by in ('unit', 'several') then p.contracted_cost else p.billed end as contracted,
       p.commitment_id <> '' as committed
from ({PRICED}) p
"""

WORDS = """case k.cost_source
            when 'priority-reconstructed' then 'Priority Tier, reconstructed from tokens and prices'
            when 'usage-estimated' then 'estimated from tokens and prices until it is billed'
            when 'unbilled' then 'not billed'
            when 'unpriced' then 'no known price'
            when 'commitment-unused' then 'unused part of a Priority Tier commitment' end"""

# Column, its SQL in the rows of `spend`, its SQL in the rows of commitment fees, its comment. Both are of one type: where
# one differs, Postgres works out every column of every row for whoever asks for two (measured: eight times as long).
COLUMNS = (
    ("BilledCost", "k.billed", "f.fee", "USD on the cost report; 0 for everything reconstructed, estimated or amortised; of a commitment the fee of the days loaded"),
    ("BillingAccountId", "k.organization_id", "t.organization_id", "Anthropic organisation id"),
    ("BillingAccountName", "k.tenant_name", "t.name", "The tenant's display name"),
    ("BillingCurrency", "'USD'", "'USD'", "Always USD"),
    ("BillingPeriodEnd", "(date_trunc('month', k.usage_date::timestamp) + interval '1 month') at time zone 'UTC'", "(m.month + interval '1 month') at time zone 'UTC'", "First instant of the next calendar month, UTC"),
    ("BillingPeriodStart", "date_trunc('month', k.usage_date::timestamp) at time zone 'UTC'", "m.month at time zone 'UTC'", "First instant of the calendar month, UTC"),
    ("ChargeCategory", "case when k.priced_by = 'credit' then 'Credit' else 'Usage' end", "'Purchase'", "Usage; Credit for a negative amount without a quantity; Purchase for the fee of a commitment"),
    ("ChargeClass", "null::text", "null::text", "NULL: corrections of closed months are told in stax.restatements"),
    ("ChargeDescription", f"concat_ws(', ', nullif(k.description, ''), case when k.description = '' then concat_ws(' ', nullif(k.model, ''), k.meter) end, {WORDS})", "'Priority Tier commitment ' || c.commitment_id || ', fee of the days loaded'", "The cost report's text, or model and meter; says so where the dollars were not reported"),
    ("ChargeFrequency", "case when k.priced_by = 'credit' then 'One-Time' else 'Usage-Based' end", "'Recurring'", "Usage-Based; Recurring for the fee of a commitment; One-Time for a credit"),
    ("ChargePeriodEnd", "(k.usage_date + 1)::timestamp at time zone 'UTC'", "(f.last_day + 1)::timestamp at time zone 'UTC'", "End of the UTC day, exclusive; of a fee the end of month or term"),
    ("ChargePeriodStart", "k.usage_date::timestamp at time zone 'UTC'", "f.first_day::timestamp at time zone 'UTC'", "Start of the UTC day; of a fee the start of month or term"),
    ("CommitmentDiscountCategory", "case when k.committed then 'Usage' end", "'Usage'", "Usage, where a commitment is recorded"),
    ("CommitmentDiscountId", "nullif(k.commitment_id, '')", "c.commitment_id", "The operator's name of the recorded commitment"),
    ("CommitmentDiscountName", "case when k.committed then 'Priority Tier ' || k.model end", "'Priority Tier ' || c.model", "Priority Tier and the model"),
    ("CommitmentDiscountQuantity", "case when k.committed then coalesce(k.burndown_units, 0) end", "f.units", "Burndown units used or left unused; of a fee both"),
    ("CommitmentDiscountStatus", "case when k.committed then case when k.cost_source = 'commitment-unused' then 'Unused' else 'Used' end end", "null::text", "Used; Unused for the idle part"),
    ("CommitmentDiscountType", "case when k.committed then 'Priority Tier' end", "'Priority Tier'", "Priority Tier, where a commitment is recorded"),
    ("CommitmentDiscountUnit", "case when k.committed then 'Tokens' end", "'Tokens'", "Tokens, weighted as the commitment burns them"),
    ("ConsumedQuantity", "k.quantity::numeric", "null::numeric", "Tokens or requests of the usage report; NULL where the source tells none"),
    ("ConsumedUnit", "case when k.quantity is not null then case k.unit when 'tokens' then 'Tokens' when 'requests' then 'Requests' else 'Hours' end end", "null::text", "Tokens or Requests"),
    ("ContractedCost", "k.contracted", "f.fee", "USD at list price after the contract rate; BilledCost where no quantity or price is known"),
    ("ContractedUnitPrice", "k.contracted_unit", "1::numeric", "USD per PricingUnit after the contract rate; NULL where no price is known, or several went in"),
    ("EffectiveCost", "coalesce(k.effective_cost_usd, 0)", "0::numeric", "USD after spreading a recorded commitment: what it cost; 0 for a fee, whose dollars are on the lines it covers"),
    ("HostProviderName", "'Anthropic'", "'Anthropic'", "Anthropic"),
    ("InvoiceId", "null::text", "null::text", "NULL: Anthropic's invoices are not itemised"),
    ("InvoiceIssuerName", "'Anthropic'", "'Anthropic'", "Anthropic"),
    ("ListCost", "k.listed", "f.fee", "USD at list price; BilledCost where no quantity or price is known"),
    ("ListUnitPrice", "k.list_unit", "1::numeric", "USD per PricingUnit at list price; the contracted price where none is listed; NULL where no price is known, or several went in"),
    ("PricingCategory", "case when k.priced_by <> 'credit' then case when k.service_tier = 'priority' then 'Committed' else 'Standard' end end", "'Standard'", "Committed for the priority tier, else Standard; NULL for credits"),
    ("PricingCurrency", "'USD'", "'USD'", "Always USD"),
    ("PricingCurrencyContractedUnitPrice", "k.contracted_unit", "1::numeric", "Same as ContractedUnitPrice"),
    ("PricingCurrencyEffectiveCost", "coalesce(k.effective_cost_usd, 0)", "0::numeric", "Same as EffectiveCost"),
    ("PricingCurrencyListUnitPrice", "k.list_unit", "1::numeric", "Same as ListUnitPrice"),
    ("PricingQuantity", "k.volume", "f.fee", "Quantity in PricingUnit; NULL where no quantity or price is known"),
    ("PricingUnit", "case when k.volume is not null then case k.pricing_unit when '1M tokens' then '1000000 Tokens' when '1k requests' then '1000 Requests' else 'Hours' end end", "'USD'", "1000000 Tokens or 1000 Requests; USD for a fee; NULL where no quantity or price is known"),
    ("RegionId", "nullif(k.region, '')", "null::text", "Inference geography; NULL where the source does not tell"),
    ("RegionName", "case k.region when 'us' then 'United States' when 'global' then 'Global' else nullif(k.region, '') end", "null::text", "Its name"),
    ("ServiceCategory", "'AI and Machine Learning'", "'AI and Machine Learning'", "AI and Machine Learning"),
    ("ServiceName", "'Claude API'", "'Claude API'", "Claude API"),
    ("ServiceProviderName", "'Anthropic'", "'Anthropic'", "Anthropic"),
    ("ServiceSubcategory", "'Generative AI'", "'Generative AI'", "Generative AI"),
    ("SkuId", "k.sku", "'priority-tier'", "Model id; web-search, code-execution, session-usage, …; priority-tier for a fee"),
    ("SkuMeter", "k.meter", "'Priority Tier Commitment'", "What is counted: Input Tokens, Output Tokens, Cache Read Tokens, …"),
    ("SkuPriceDetails", "case when k.sku_price_id is not null then nullif(jsonb_strip_nulls(jsonb_build_object('x_Model', nullif(k.model, ''), 'x_TokenType', nullif(k.token_type, ''), 'x_ServiceTier', nullif(k.service_tier, ''), 'x_ContextWindow', nullif(k.context_window, ''), 'x_InferenceGeo', nullif(k.inference_geo, ''), 'x_Speed', nullif(k.speed, ''))), '{}') end", "jsonb_build_object('x_Model', c.model)", "What the price depends on, as JSON"),
    ("SkuPriceId", "k.sku_price_id", "'priority-tier/' || c.model", "Model, tier, token type, context window, geography and speed; NULL where no price is known, or several went in"),
    ("SubAccountId", "k.sub_account_id", "null::text", "Workspace id as Anthropic gives it, the default workspace's too; NULL for a fee and an unused part"),
    ("SubAccountName", "k.sub_account_name", "null::text", "Workspace name; NULL where the organisation no longer lists it"),
    ("x_CostSource", "k.cost_source", "'commitment-fee'", "Where the dollars come from: cost_source of stax.spend; commitment-fee for a fee"),
    ("x_IsEstimated", "k.cost_source in ('usage-estimated', 'priority-reconstructed', 'unpriced') or k.effective_cost_usd is null", "false", "Whether the dollars are computed or unknown rather than reported"),
    ("x_ServiceTier", "nullif(k.service_tier, '')", "'priority'", "standard, batch, priority, …; NULL where none applies"),
    ("x_TokenType", "nullif(k.token_type, '')", "null::text", "Token type under the cost report's names; NULL where none applies"),
    ("x_Model", "nullif(k.model, '')", "c.model", "Model id; NULL where none applies"),
    ("x_PriceBookVersion", "k.price_book_version", "null::text", "Digest of the price book the line was priced with"),
    ("x_TenantId", "k.tenant_id", "c.tenant_id", "The tenant, by its random internal id"),
    ("x_ExtractedAt", "k.extracted_at", "c.recorded_at", "When the later of the two reports behind the line was fetched; of a fee when it was recorded"),
    ("x_Tenant", "k.slug", "t.slug", "The tenant's name in commands"),
    ("x_UsageDate", "k.usage_date", "null::date", "The UTC day, to filter by; NULL for a fee"),
    ("x_SpendLine", "k.line", "null::bigint", "line of stax.spend within the tenant's day; NULL for a fee"),
)  # fmt: skip

FEES = """
from stax.commitments c
join stax.tenants t using (tenant_id)
cross join lateral generate_series(date_trunc('month', c.starts_on::timestamp), c.ends_on::timestamp,
                                   interval '1 month') as m (month)
cross join lateral (select greatest(c.starts_on, m.month::date) as first_day,
                           least(c.ends_on, (m.month + interval '1 month')::date - 1) as last_day) term
cross join lateral (
    select term.first_day, term.last_day, sum(s.effective_cost_usd) as fee, coalesce(sum(s.burndown_units), 0) as units
    from stax.spend s
    where s.tenant_id = c.tenant_id and s.commitment_id = c.commitment_id
      and s.usage_date >= term.first_day and s.usage_date <= term.last_day
) f
where c.superseded_at is null and f.fee is not null
"""

_USAGE = ", ".join(f'{line} as "{name}"' for name, line, _, _ in COLUMNS)
_FEE_ROWS = ", ".join(f'{fee} as "{name}"' for name, _, fee, _ in COLUMNS)

FOCUS_COST_AND_USAGE = View(
    "focus_cost_and_usage",
    "FOCUS 1.4 Cost and Usage: spend under the names of the FinOps Open Cost and Usage Specification, and one Purchase "
    "row per commitment and month",
    f"select {_USAGE} from ({SKU}) k union all select {_FEE_ROWS} {FEES}",
    {name: comment for name, _, _, comment in COLUMNS},
)
