"""What must hold in the warehouse, each rule as one query whose rows are the violations.

Belongs here: the rule, its words and its severity. Stays out: running one (`checks.runner`) and Dagster.
"""

from __future__ import annotations

from stax_pipeline.checks.conservation import (
    DATED_MODELS,
    FOCUS_TIES_TO_SPEND,
    SPEND_BY_KEY_TIES_TO_SPEND,
    SPEND_TIES_TO_COST_LINES,
    SPEND_TIES_TO_USAGE_LINES,
    SPEND_TOTALS_TIE_TO_SPEND,
    USAGE_READINGS_AGREE,
)
from stax_pipeline.checks.rule import WINDOW, Rule
from stax_pipeline.checks.views import VIEW_RULES
from stax_pipeline.derive.day_facts import RULES_VERSION
from stax_pipeline.derive.reconciliation import Cause
from stax_pipeline.warehouse.granted_logins import HARMFUL

DATA_IS_FRESH = Rule(
    "data_is_fresh",
    "spend",
    "Every day that ended more than 60 minutes ago is complete for every connected tenant; with refresh on, usage "
    "reaches now minus twice the refresh interval minus the source lag. A cost report that has no such day yet is a "
    "warning until STAX_SETTLE_HOURS after the day's end.",
    ("tenant", "report", "usage_date", "state"),
    """
    with due as (
        select t.slug, t.tenant_id, t.created_at, r.report, d::date as usage_date
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
        where t.status <> 'disconnected'
    )
    select due.slug, due.report, due.usage_date,
           case when c.state = 'not reported yet' and due.report = 'cost_report'
                 and :now >= (due.usage_date + 1)::timestamp at time zone 'UTC' + make_interval(hours => :settle)
                then 'not reported after ' || :settle || ' hours'
                else coalesce(c.state, 'missing') end
    from due
    left join stax.coverage c using (tenant_id, report, usage_date)
    where c.state is distinct from 'complete'
      and (c.state = 'not reported yet' or due.created_at < :now - interval '60 minutes')
    union all
    select f.tenant, 'usage_report', (:now at time zone 'UTC')::date, 'late'
    from stax.freshness f
    join stax.tenants t using (tenant_id)
    where :refresh > 0 and t.created_at < :now - interval '60 minutes'
      and f.usage_data_through is distinct from null
      and f.usage_data_through < :now - make_interval(mins => 2 * :refresh + 5)
    order by 1, 3, 2
    """,
    0.2,
    warns_of=frozenset({"cost_report", "not reported yet"}),
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

EVERY_EXTRACTION_PUBLISHED = Rule(
    "every_extraction_published",
    "spend",
    "Every day of the newest extraction that counts is current, or something newer is: what arrived was published.",
    ("tenant", "report", "extracted_at", "usage_date"),
    """
    select t.slug, e.report, e.extracted_at, cast(d.day as date)
    from stax.tenants t
    cross join (values ('cost_report'), ('usage_report')) as r (report)
    cross join lateral (
        select x.* from stax.extractions x
        where x.tenant_id = t.tenant_id and x.report = r.report and x.error is null
        order by x.extracted_at desc, x.recorded_at desc limit 1
    ) e
    cross join lateral generate_series(e.window_start::timestamp, e.window_end - 1, interval '1 day') as d (day)
    left join stax.coverage c on c.tenant_id = t.tenant_id and c.report = e.report and c.usage_date = d.day::date
    where t.status <> 'disconnected'
      and (c.extraction_id is null or (c.extraction_id <> e.extraction_id and c.extracted_at < e.extracted_at))
    order by 1, 2, 4
    """,
)

SPEND_IS_CURRENT = Rule(
    "spend_is_current",
    "spend",
    "Spend was built from the current rows of both reports and with the prices, rates, commitments and rules in force, "
    "on every day that was ever fetched, whatever days the run is about; `stax replay` rebuilds what was not.",
    ("tenant", "usage_date", "price_book_version"),
    f"""
    with held as (
        select tenant_id, usage_date,
               coalesce(max(digest) filter (where report = 'cost_report'), '') as cost,
               coalesce(max(digest) filter (where report = 'usage_report'), '') as usage,
               coalesce(max(key_digest) filter (where report = 'usage_report'), '') as keys
        from stax.coverage group by 1, 2
    ),
    built as (
        select distinct on (tenant_id, usage_date) tenant_id, usage_date, price_book_version as version,
               cost_digest as cost, usage_digest as usage, key_digest as keys, rules_version, uses
        from stax.spend_builds order by tenant_id, usage_date, built_at desc
    ),
    lines as materialized (
        select tenant_id, usage_date, price_book_version as version, cost_extraction_id, usage_extraction_id
        from stax.spend where {WINDOW} group by 1, 2, 3, 4, 5
    ),
    own as (select tenant_id from stax.contract_rates union select tenant_id from stax.commitments),
    in_force as (
        select * from jsonb_to_recordset(cast(:versions as jsonb)) as v (owner uuid, usage_date date, uses text,
                                                                         version text)
    )
    select t.slug, usage_date, b.version
    from held h full join built b using (tenant_id, usage_date) join stax.tenants t using (tenant_id)
    where (h.cost, h.usage, h.keys) is distinct from (b.cost, b.usage, b.keys)
       or b.rules_version is distinct from '{RULES_VERSION}'
    union
    select tenant, usage_date, null from stax.completeness where {WINDOW} and not spend_is_current
    union
    select t.slug, b.usage_date, b.version
    from built b
    join stax.tenants t using (tenant_id)
    left join own o using (tenant_id)
    left join in_force v on v.usage_date = b.usage_date and v.uses = b.uses
                            and v.owner is not distinct from o.tenant_id
    where v.version is distinct from b.version
    union
    select t.slug, usage_date, s.version
    from held h join built b using (tenant_id, usage_date) left join lines s using (tenant_id, usage_date)
    join stax.tenants t using (tenant_id)
    where {WINDOW} and (s.version <> b.version or (h.cost <> '' and s.version is null))
    union
    select t.slug, usage_date, s.version
    from lines s join stax.tenants t using (tenant_id)
    cross join lateral (values (s.cost_extraction_id), (s.usage_extraction_id)) origin (extraction_id)
    left join stax.extractions e on e.extraction_id = origin.extraction_id and e.tenant_id = s.tenant_id
    where origin.extraction_id is not null and e.extraction_id is null
    order by 1, 2
    """,
    looks_back=True,
)

RECONCILIATION_TIES_TO_COST_LINES = Rule(
    "reconciliation_ties_to_cost_lines",
    "reconciliation",
    "Per tenant and day, price accuracy holds the reported token dollars of standard and batch to the last digit, "
    "credits apart.",
    ("tenant", "usage_date", "cost_lines_usd", "reconciliation_usd"),
    f"""
    with c as (select tenant_id, usage_date, sum(amount_usd) as usd from stax.cost_lines
               where {WINDOW} and cost_type = 'tokens' and service_tier in ('', 'standard', 'batch')
                 and not (amount_usd < 0 and '' in (model, token_type)) group by 1, 2),
         r as (select tenant_id, usage_date, sum(reported_usd) as usd from stax.reconciliation where {WINDOW}
               group by 1, 2)
    select t.slug, usage_date, c.usd, r.usd
    from c full join r using (tenant_id, usage_date) join stax.tenants t using (tenant_id)
    where coalesce(c.usd, 0) <> coalesce(r.usd, 0)
    order by 1, 2
    """,
    follows_days=True,
)

EVERY_COST_LINE_MET = Rule(
    "every_cost_line_met",
    "spend",
    "Every reported token dollar meets the tokens it was charged for, once the usage report has the day; a credit is "
    "charged for none.",
    ("tenant", "usage_date", "model", "token_type", "cost_usd"),
    f"""
    select t.slug, s.usage_date, s.model, s.token_type, s.cost_usd
    from stax.spend s join stax.tenants t using (tenant_id)
    where {WINDOW} and s.cost_type = 'tokens' and s.cost_source = 'reported' and s.quantity is null
      and s.cost_usd <> 0 and not (s.cost_usd < 0 and '' in (s.model, s.token_type))
      and not exists (select 1 from stax.coverage c where c.tenant_id = s.tenant_id and c.usage_date = s.usage_date
                        and c.report = 'usage_report' and c.state = 'not reported yet')
    order by 1, 2, 3, 4
    """,
    0.2,
    follows_days=True,
)

EVERY_TOKEN_PRICED = Rule(
    "every_token_priced",
    "spend",
    "No Priority usage, and none that is not billed yet, is without a price: an unknown model or tier is named here, "
    "its tokens are kept.",
    ("tenant", "usage_date", "model", "service_tier", "token_type", "tokens"),
    f"""
    select t.slug, s.usage_date, s.model, s.service_tier, s.token_type, s.quantity
    from stax.spend s join stax.tenants t using (tenant_id)
    where {WINDOW} and s.cost_source = 'unpriced'
    order by 1, 2, 3, 4, 5
    """,
    0.2,
    follows_days=True,
)

EVERY_USAGE_BILLED = Rule(
    "every_usage_billed",
    "reconciliation",
    "Standard and batch tokens without cost (blocked, or billed to another organization) stay below 1 % of a "
    "tenant-day's reported charges; `stax checks accept` accepts what is known.",
    ("tenant", "usage_date", "without_cost_usd", "charged_usd"),
    f"""
    with {DATED_MODELS},
    found as (
        select s.tenant_id, s.usage_date,
               case when s.cost_source = 'unbilled' then s.list_cost_usd
                    when s.cost_source = 'reported' and r.cause is not null then s.contracted_cost_usd - s.cost_usd
               end as lost,
               case when s.cost_source = 'reported' then s.cost_usd - s.credits_usd end as reported
        from (select * from stax.spend where {WINDOW}) s
        left join dated on alias = s.model
        left join (select * from stax.reconciliation where {WINDOW} and cause = '{Cause.UNBILLED}') r
          on s.cost_type = 'tokens' and r.tenant_id = s.tenant_id and r.usage_date = s.usage_date
         and r.model = coalesce(dated.id, s.model) and r.service_tier = coalesce(nullif(s.service_tier, ''), 'standard')
    )
    select t.slug, usage_date, sum(greatest(lost, 0)), sum(reported)
    from found join stax.tenants t using (tenant_id)
    group by t.slug, usage_date
    having coalesce(sum(greatest(lost, 0)), 0) > 0.01 * greatest(coalesce(sum(reported), 0), 0)
    order by 1, 2
    """,
    1.0,
    acceptable=True,
)

PRICE_BOOK_MATCHES_BILL = Rule(
    "price_book_matches_bill",
    "reconciliation",
    "Priced ÷ reported lies in [0.99, 1.01] per tenant, day, model and tier (for a banded price, within its bounds), "
    "where tokens without cost do not explain the difference.",
    ("tenant", "usage_date", "model", "service_tier", "priced_usd", "reported_usd", "ratio", "cause"),
    f"""
    select t.slug, r.usage_date, r.model, r.service_tier, r.priced_usd, r.reported_usd, r.ratio, r.cause
    from stax.reconciliation r join stax.tenants t using (tenant_id)
    where {WINDOW}
      and (r.cause = 'unknown price'
           or (r.ratio is not null and r.cause not in ('', 'band', 'cost not arrived', '{Cause.UNBILLED}')))
    order by 1, 2, 3, 4
    """,
    0.2,
)

SOURCES_AGREE = Rule(
    "sources_agree",
    "source_comparison",
    "The reports and the newer source tell the same dollars and tokens on every day that is complete in both, of "
    "tenants that are read from both.",
    ("tenant", "usage_date", "reports_usd", "analytics_usd", "difference_usd", "difference_tokens"),
    f"""
    select t.slug, usage_date, reports_usd, analytics_usd, difference_usd, difference_tokens
    from stax.source_differences d join stax.tenants t using (tenant_id)
    where {WINDOW} and coalesce(t.source, :source) = 'both' and (difference_usd <> 0 or difference_tokens <> 0)
    order by 1, 2
    """,
    1.0,
)

GRANTED_LOGINS_ONLY_READ = Rule(
    "granted_logins_only_read",
    "spend",
    "No login that was granted tenants has become a superuser or another role that policies do not hold, nor a member "
    "of one or of another granted login: it reads those tenants and no other. Looks at now, not at days.",
    ("tenant", "login", "through", "power"),
    f"""
    {HARMFUL.format(candidate="")}
    select t.slug, h.role_name, h.through, h.power
    from harmful h join stax.tenant_grants g using (role_name) join stax.tenants t using (tenant_id)
    where h.power is not null
    order by 1, 2, 3
    """,
)

FRESHNESS = (DATA_IS_FRESH, NO_DAY_COMPLETE_BEFORE_LAG)
RULES = (
    *FRESHNESS,
    ALL_TENANTS_EXTRACTED,
    EVERY_EXTRACTION_PUBLISHED,
    USAGE_READINGS_AGREE,
    SPEND_TIES_TO_COST_LINES,
    SPEND_TIES_TO_USAGE_LINES,
    SPEND_TOTALS_TIE_TO_SPEND,
    SPEND_BY_KEY_TIES_TO_SPEND,
    FOCUS_TIES_TO_SPEND,
    SPEND_IS_CURRENT,
    RECONCILIATION_TIES_TO_COST_LINES,
    EVERY_COST_LINE_MET,
    EVERY_TOKEN_PRICED,
    EVERY_USAGE_BILLED,
    PRICE_BOOK_MATCHES_BILL,
    SOURCES_AGREE,
    GRANTED_LOGINS_ONLY_READ,
    *VIEW_RULES,
)
