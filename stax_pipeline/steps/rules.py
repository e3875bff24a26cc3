"""What must hold in the warehouse, each rule as one query whose rows are the violations.

Belongs here: the rule, its words and its severity. Stays out: running one (`steps.checks`) and Dagster.
"""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = "usage_date >= :start and usage_date < :end"


@dataclass(frozen=True, slots=True)
class Rule:
    """`query` selects violations, the tenant's slug first; it may use :start, :end, :now, :refresh, :recent.

    `asset` is the asset the rule is about; `severe_share` is the share of tenants above which it is an error.
    """

    name: str
    asset: str
    description: str
    columns: tuple[str, ...]
    query: str
    severe_share: float = 0.0


DATA_IS_FRESH = Rule(
    "data_is_fresh",
    "spend",
    "Every day that ended more than 60 minutes ago is complete for every connected tenant; with refresh on, usage "
    "reaches now minus twice the refresh interval minus the source lag.",
    ("tenant", "report", "usage_date", "state"),
    """
    with due as (
        select t.slug, t.tenant_id, r.report, d::date as usage_date
        from stax.tenants t
        cross join (values ('cost_report'), ('usage_report')) as r (report)
        cross join lateral generate_series(
            greatest(
                coalesce(
                    (select min(c.usage_date) from stax.coverage c where c.tenant_id = t.tenant_id),
                    (t.created_at at time zone 'UTC')::date - 1
                ),
                :recent
            ),
            ((:now - interval '60 minutes') at time zone 'UTC')::date - 1,
            interval '1 day'
        ) as d
        where t.status <> 'disconnected' and t.created_at < :now - interval '60 minutes'
    )
    select due.slug, due.report, due.usage_date, coalesce(c.state, 'missing')
    from due
    left join stax.coverage c using (tenant_id, report, usage_date)
    where c.state is distinct from 'complete'
    union all
    select f.slug, 'usage_report', (:now at time zone 'UTC')::date, 'late'
    from stax.freshness f
    join stax.tenants t using (tenant_id)
    where :refresh > 0 and t.created_at < :now - interval '60 minutes'
      and f.usage_data_through is distinct from null
      and f.usage_data_through < :now - make_interval(mins => 2 * :refresh + 5)
    order by 1, 3, 2
    """,
    0.2,
)

NO_DAY_COMPLETE_BEFORE_LAG = Rule(
    "no_day_complete_before_lag",
    "spend",
    "No day is called complete, and no data-through is told, before the source's 5 minutes have passed.",
    ("tenant", "report", "usage_date", "extracted_at"),
    """
    select t.slug, c.report, c.usage_date, c.extracted_at
    from stax.coverage c join stax.tenants t using (tenant_id)
    where (c.state = 'complete'
           and c.extracted_at < ((c.usage_date + 1)::timestamp at time zone 'UTC') + interval '5 minutes')
       or c.data_through > c.extracted_at - interval '5 minutes'
       or c.data_through > ((c.usage_date + 1)::timestamp at time zone 'UTC')
    order by 1, 3, 2
    """,
)

ALL_TENANTS_EXTRACTED = Rule(
    "all_tenants_extracted",
    "raw_usage_report",
    "The last extraction of each report counts, for every connected tenant.",
    ("tenant", "report", "reason"),
    """
    select t.slug, r.report, coalesce(e.error, 'never extracted')
    from stax.tenants t
    cross join (values ('cost_report'), ('usage_report'), ('organization')) as r (report)
    left join lateral (
        select x.error from stax.extractions x
        where x.tenant_id = t.tenant_id and x.report = r.report
        order by x.recorded_at desc limit 1
    ) e on true
    where t.status <> 'disconnected'
      and (e.error is not null or not exists (
          select 1 from stax.extractions x where x.tenant_id = t.tenant_id and x.report = r.report))
    order by 1, 2
    """,
    0.2,
)

_COUNTS = (
    "uncached_input_tokens", "cache_read_input_tokens", "cache_creation_5m_input_tokens",
    "cache_creation_1h_input_tokens", "output_tokens", "web_search_requests",
)  # fmt: skip
_SUMS = ", ".join(f"sum({name}) as {name}" for name in _COUNTS)
_READING = "tenant_id, usage_date, workspace_id, model, service_tier"

USAGE_READINGS_AGREE = Rule(
    "usage_readings_agree",
    "usage_by_key",
    "Both usage readings hold the same counts on every day that is not open.",
    ("tenant", "usage_date", "workspace_id", "model", "service_tier", "output_tokens", "output_tokens_by_key"),
    f"""
    with a as (select {_READING}, {_SUMS} from stax.usage_lines where {WINDOW} group by {_READING}),
         k as (select {_READING}, {_SUMS} from stax.usage_by_key where {WINDOW} group by {_READING})
    select t.slug, usage_date, workspace_id, model, service_tier, a.output_tokens, k.output_tokens
    from a full join k using ({_READING})
    join stax.tenants t using (tenant_id)
    join stax.coverage c using (tenant_id, usage_date)
    where c.report = 'usage_report' and c.state <> 'open'
      and ({", ".join(f"coalesce(a.{n}, 0)" for n in _COUNTS)})
          is distinct from ({", ".join(f"coalesce(k.{n}, 0)" for n in _COUNTS)})
    order by 1, 2
    """,
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
)

SPEND_TIES_TO_USAGE_LINES = Rule(
    "spend_ties_to_usage_lines",
    "spend",
    "Per tenant, day, tier and token type, spend holds every token of the usage report once.",
    ("tenant", "usage_date", "service_tier", "token_type", "usage_tokens", "spend_tokens"),
    f"""
    with u as (select tenant_id, usage_date, coalesce(service_tier, 'standard') as tier, token_type,
                      sum(tokens) as tokens from stax.usage_tokens where {WINDOW} group by 1, 2, 3, 4),
         s as (select tenant_id, usage_date, coalesce(nullif(service_tier, ''), 'standard') as tier, token_type,
                      sum(quantity) as tokens from stax.spend
               where {WINDOW} and unit = 'tokens' group by 1, 2, 3, 4)
    select t.slug, usage_date, tier, token_type, u.tokens, s.tokens
    from u full join s using (tenant_id, usage_date, tier, token_type) join stax.tenants t using (tenant_id)
    where coalesce(u.tokens, 0) <> coalesce(s.tokens, 0)
    order by 1, 2, 3, 4
    """,
)

SPEND_BY_KEY_TIES_TO_SPEND = Rule(
    "spend_by_key_ties_to_spend",
    "spend_by_key",
    "Per tenant, day and cost source, the shares of the keys sum to spend to the last digit.",
    ("tenant", "usage_date", "cost_source", "spend_usd", "spend_by_key_usd"),
    f"""
    with s as (select tenant_id, usage_date, cost_source, sum(cost_usd) as usd from stax.spend
               where {WINDOW} group by 1, 2, 3),
         k as (select tenant_id, usage_date, cost_source, sum(cost_usd) as usd from stax.spend_by_key
               where {WINDOW} group by 1, 2, 3)
    select t.slug, usage_date, cost_source, s.usd, k.usd
    from s full join k using (tenant_id, usage_date, cost_source) join stax.tenants t using (tenant_id)
    where coalesce(s.usd, 0) <> coalesce(k.usd, 0)
    order by 1, 2, 3
    """,
)

SPEND_IS_CURRENT = Rule(
    "spend_is_current",
    "spend",
    "Spend was built from the current extraction of both reports, on every day.",
    ("tenant", "usage_date"),
    f"select slug, usage_date from stax.completeness where {WINDOW} and not spend_is_current order by 1, 2",
)

EVERY_COST_LINE_MET = Rule(
    "every_cost_line_met",
    "spend",
    "Every reported token dollar meets the tokens it was charged for.",
    ("tenant", "usage_date", "model", "token_type", "cost_usd"),
    f"""
    select t.slug, s.usage_date, s.model, s.token_type, s.cost_usd
    from stax.spend s join stax.tenants t using (tenant_id)
    where {WINDOW} and s.cost_type = 'tokens' and s.cost_source = 'reported' and s.quantity is null
      and s.cost_usd <> 0
    order by 1, 2, 3, 4
    """,
    0.2,
)

EVERY_TOKEN_PRICED = Rule(
    "every_token_priced",
    "spend",
    "No usage is without a price: an unknown model or tier is named here, its tokens are kept.",
    ("tenant", "usage_date", "model", "service_tier", "token_type", "tokens"),
    f"""
    select t.slug, s.usage_date, s.model, s.service_tier, s.token_type, s.quantity
    from stax.spend s join stax.tenants t using (tenant_id)
    where {WINDOW} and s.cost_source = 'unpriced'
    order by 1, 2, 3, 4, 5
    """,
    0.2,
)

EVERY_USAGE_BILLED = Rule(
    "every_usage_billed",
    "spend",
    "Standard and batch tokens that were never billed stay below 1 % of a tenant-day's reported dollars.",
    ("tenant", "usage_date", "unbilled_list_usd", "reported_usd"),
    f"""
    select t.slug, s.usage_date, sum(s.list_cost_usd) filter (where s.cost_source = 'unbilled') as unbilled,
           sum(s.cost_usd) filter (where s.cost_source = 'reported') as reported
    from stax.spend s join stax.tenants t using (tenant_id)
    where {WINDOW}
    group by t.slug, s.usage_date
    having coalesce(sum(s.list_cost_usd) filter (where s.cost_source = 'unbilled'), 0)
           > 0.01 * coalesce(sum(s.cost_usd) filter (where s.cost_source = 'reported'), 0)
    order by 1, 2
    """,
    1.0,
)

PRICE_BOOK_MATCHES_BILL = Rule(
    "price_book_matches_bill",
    "reconciliation",
    "Priced ÷ reported lies in [0.99, 1.01] per tenant, day, model and tier (for a banded price, within its bounds).",
    ("tenant", "usage_date", "model", "service_tier", "priced_usd", "reported_usd", "ratio", "cause"),
    f"""
    select t.slug, r.usage_date, r.model, r.service_tier, r.priced_usd, r.reported_usd, r.ratio, r.cause
    from stax.reconciliation r join stax.tenants t using (tenant_id)
    where {WINDOW} and r.cause not in ('', 'band', 'unbilled tokens')
    order by 1, 2, 3, 4
    """,
    0.2,
)

FRESHNESS = (DATA_IS_FRESH, NO_DAY_COMPLETE_BEFORE_LAG)
RULES = (
    *FRESHNESS, ALL_TENANTS_EXTRACTED, USAGE_READINGS_AGREE, SPEND_TIES_TO_COST_LINES, SPEND_TIES_TO_USAGE_LINES,
    SPEND_BY_KEY_TIES_TO_SPEND, SPEND_IS_CURRENT, EVERY_COST_LINE_MET, EVERY_TOKEN_PRICED, EVERY_USAGE_BILLED,
    PRICE_BOOK_MATCHES_BILL,
)  # fmt: skip
