"""How far to trust a figure: the price book beside the bill, what was restated, the two sources."""

from __future__ import annotations

from stax_pipeline.warehouse.views.view import View, days_of

OUTSIDE = """
    case when priced_low_usd = priced_high_usd then abs(priced_usd - reported_usd) > 0.01 * abs(reported_usd)
         else reported_usd < 0.99 * priced_low_usd or reported_usd > 1.01 * priced_high_usd end
"""
"""Whether a day's bill leaves 1 % around what the book says, or around its band; NULL without a price."""

PRICE_ACCURACY = View(
    "price_accuracy",
    "How far the price book can be trusted: standard and batch tokens priced by it, beside what was reported for "
    "them; read it beside every reconstructed or estimated dollar of the model",
    f"""
    select t.slug as tenant, r.tenant_id, d.month, r.model, r.service_tier,
           sum(r.priced_usd) as priced_usd, sum(r.reported_usd) as reported_usd,
           round(sum(r.priced_usd) filter (where r.ratio is not null)
                 / nullif(sum(r.reported_usd) filter (where r.ratio is not null), 0), 6) as ratio,
           min(r.ratio) as lowest_ratio, max(r.ratio) as highest_ratio, count(*) as days,
           count(*) filter (where r.reported_usd <> 0 and {OUTSIDE}) as days_outside,
           count(*) filter (where r.priced_usd is null) as days_unpriced
    from {days_of("reconciliation")} d
    join stax.reconciliation r using (usage_date)
    join stax.tenants t using (tenant_id)
    group by t.slug, r.tenant_id, d.month, r.model, r.service_tier
    """,
    {
        "model": "Dated model id",
        "service_tier": "standard or batch: what is billed, and so can be compared",
        "priced_usd": "USD of the tokens by the price book, contract rates included, on the days with a price",
        "reported_usd": "Token USD of the cost report, on all days",
        "ratio": "priced ÷ reported, 1 is exact; over the days that have a price and reported dollars; NULL without",
        "lowest_ratio": "The lowest ratio of a day",
        "highest_ratio": "The highest ratio of a day",
        "days": "Days of the month with usage or dollars",
        "days_outside": "Days whose bill lies more than 1 % off the price book, or off its band where a price has one",
        "days_unpriced": "Days with tokens for which the price book has no price",
    },
)

_DIMENSIONS = (
    "r.workspace_id, r.description, r.cost_type, r.token_type, r.model, r.service_tier, r.context_window, "
    "r.inference_geo, r.speed"
)

_IS_DOLLARS = "r.kind in ('usage-dollars', 'price')"

_LINE = (
    f"partition by t.slug, r.tenant_id, r.usage_date, case when {_IS_DOLLARS} then 'dollars' else r.kind end, "
    f"{_DIMENSIONS}"
)

RESTATED_DAYS = View(
    "restated_days",
    "Past days whose figures are no longer what was first shown: what they said first, what they say now, and how "
    "much of it other usage and new prices moved. One row per measure: measures are never added to each other",
    f"""
    with steps as (
        select t.slug as tenant, r.*, case when {_IS_DOLLARS} then r.description end as measure,
               row_number() over ({_LINE} order by r.seen_at, r.kind desc) = 1 as is_first,
               row_number() over ({_LINE} order by r.seen_at desc, r.kind) = 1 as is_last,
               sum(r.difference_usd) over ({_LINE}) as line_usd,
               sum(r.difference_quantity) over ({_LINE}) as line_quantity
        from stax.restatements r
        join stax.tenants t using (tenant_id)
    )
    select tenant, tenant_id, usage_date, string_agg(distinct kind, ' and ') as kind, measure, count(*) as changes,
           case when max(kind) <> 'usage' then coalesce(sum(old_usd) filter (where is_first), 0) end as old_usd,
           case when max(kind) <> 'usage' then coalesce(sum(new_usd) filter (where is_last), 0) end as new_usd,
           case when max(kind) <> 'usage' then sum(difference_usd) end as difference_usd,
           case when max(kind) = 'usage' then coalesce(sum(old_quantity) filter (where is_first), 0) end
               as old_quantity,
           case when max(kind) = 'usage' then coalesce(sum(new_quantity) filter (where is_last), 0) end
               as new_quantity,
           case when max(kind) = 'usage' then sum(difference_quantity) end as difference_quantity,
           min(seen_at) as first_seen_at, max(seen_at) as last_seen_at, string_agg(distinct reason, '; ') as reasons,
           case when measure is not null
                then coalesce(sum(difference_usd) filter (where kind = 'usage-dollars'), 0) end
               as usage_difference_usd,
           case when measure is not null then coalesce(sum(difference_usd) filter (where kind = 'price'), 0) end
               as price_difference_usd
    from steps
    group by tenant, tenant_id, usage_date, case when measure is null then kind else 'dollars' end, measure
    having bool_or(case when kind = 'usage' then line_quantity <> 0 else line_usd <> 0 end)
    """,
    {
        "kind": "cost (reported dollars), usage (tokens and searches), usage-dollars (dollars of other usage), price "
        "(dollars under new prices or terms), or price and usage-dollars",
        "measure": "Of dollars that other usage or new prices moved, the column of spend: cost_usd, contracted_cost_usd or "
        "effective_cost_usd, each told completely, so never add one to another; NULL for cost and usage",
        "changes": "How many figures changed, each time counted",
        "old_usd": "USD of the changed lines as first shown; NULL for usage",
        "new_usd": "USD of the same lines now; NULL for usage",
        "difference_usd": "USD now minus USD as first shown; NULL for usage",
        "old_quantity": "Tokens and searches of the changed lines as first shown; NULL for dollars",
        "new_quantity": "Tokens and searches of the same lines now; NULL for dollars",
        "difference_quantity": "Tokens and searches now minus as first shown; NULL for dollars",
        "first_seen_at": "When the first change was published",
        "last_seen_at": "When the last change was published, and so could first be seen",
        "reasons": "Every reason, in words",
        "usage_difference_usd": "The part of difference_usd that other usage moved, at the old prices; NULL without a measure",
        "price_difference_usd": "The part of difference_usd that new prices, rates or commitments moved; NULL without a measure",
    },
)

SOURCE_DIFFERENCES = View(
    "source_differences",
    "Per tenant and day: the reports, the newer analytics source, and what lies between them",
    """
    with days as (
        select tenant_id, usage_date, sum(reports_usd) as reports_usd, sum(analytics_usd) as analytics_usd,
               sum(analytics_list_usd) as analytics_list_usd, sum(analytics_set_aside_usd) as analytics_priority_usd,
               sum(reports_quantity) filter (where cost_type = 'tokens') as reports_tokens,
               sum(analytics_quantity) filter (where cost_type = 'tokens') as analytics_tokens
        from stax.source_comparison
        group by tenant_id, usage_date
    ),
    reconstructed as (
        select tenant_id, usage_date, sum(cost_usd) as usd
        from stax.spend
        where cost_source = 'priority-reconstructed'
        group by tenant_id, usage_date
    )
    select t.slug as tenant, d.tenant_id, d.usage_date, d.reports_usd, d.analytics_usd,
           d.analytics_usd - d.reports_usd as difference_usd, d.analytics_list_usd, d.analytics_priority_usd,
           coalesce(r.usd, 0) as priority_reconstructed_usd, d.reports_tokens, d.analytics_tokens,
           d.analytics_tokens - d.reports_tokens as difference_tokens
    from days d
    join stax.tenants t using (tenant_id)
    left join reconstructed r using (tenant_id, usage_date)
    """,
    {
        "reports_usd": "USD of the cost report; NULL where the sources were not compared",
        "analytics_usd": "USD of the newer source, Priority left out; NULL where the sources were not compared",
        "difference_usd": "analytics_usd - reports_usd",
        "analytics_list_usd": "USD of the newer source before discounts, Priority included",
        "analytics_priority_usd": "USD of Priority and other tiers the cost report never has, as the newer source says; kept apart, in no total",
        "priority_reconstructed_usd": "USD of the same tokens as spend reconstructs them from list prices",
        "reports_tokens": "Tokens of the usage report, every tier; NULL where the sources were not compared",
        "analytics_tokens": "Tokens of the newer source, every tier; NULL likewise",
        "difference_tokens": "analytics_tokens - reports_tokens",
    },
)

TRUST_VIEWS = (PRICE_ACCURACY, RESTATED_DAYS, SOURCE_DIFFERENCES)
