"""Views for analysts. They run with the reader's own rights, and turn '' back to NULL."""

import sqlalchemy as sa
from alembic import context, op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

USAGE_TOKENS = """
select u.usage_date, t.slug, u.tenant_id, u.workspace_id, nullif(u.model, '') as model,
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
"""

SPEND_DAILY = """
select s.usage_date, t.slug, s.tenant_id, s.workspace_id, w.name as workspace_name, nullif(s.model, '') as model,
       s.cost_type, nullif(s.service_tier, '') as service_tier, s.cost_source, sum(s.cost_usd) as cost_usd,
       sum(s.effective_cost_usd) as effective_cost_usd, sum(s.list_cost_usd) as list_cost_usd,
       sum(s.quantity) filter (where s.unit = 'tokens') as tokens
from stax.spend s
join stax.tenants t using (tenant_id)
left join stax.workspaces w using (tenant_id, workspace_id)
group by s.usage_date, t.slug, s.tenant_id, s.workspace_id, w.name, s.model, s.cost_type, s.service_tier, s.cost_source
"""

SPEND_MONTHLY = """
select date_trunc('month', usage_date)::date as month, slug, tenant_id, workspace_id, workspace_name, model, cost_type,
       service_tier, cost_source, sum(cost_usd) as cost_usd, sum(effective_cost_usd) as effective_cost_usd,
       sum(list_cost_usd) as list_cost_usd, sum(tokens) as tokens
from stax.spend_daily
group by date_trunc('month', usage_date), slug, tenant_id, workspace_id, workspace_name, model, cost_type,
         service_tier, cost_source
"""

FRESHNESS = """
with marks as (
    select c.tenant_id, c.report, c.usage_date, c.data_through, c.state,
           c.data_through < ((c.usage_date + 1)::timestamp at time zone 'UTC')
           or lead(c.usage_date) over days is distinct from c.usage_date + 1 as ends_here,
           c.state <> 'complete' or lead(c.usage_date) over days is distinct from c.usage_date + 1 as completeness_ends
    from stax.coverage c
    window days as (partition by c.tenant_id, c.report order by c.usage_date)
),
reached as (
    select tenant_id, report,
           (array_agg(data_through order by usage_date) filter (where ends_here))[1] as data_through,
           (array_agg(case when state = 'complete' then usage_date else usage_date - 1 end order by usage_date)
            filter (where completeness_ends))[1] as complete_through
    from marks
    group by tenant_id, report
)
select t.slug, t.tenant_id, u.data_through as usage_data_through, c.data_through as cost_data_through,
       case when u.complete_through is not null and c.complete_through is not null
            then least(u.complete_through, c.complete_through) end as complete_through,
       u.data_through as data_through
from stax.tenants t
left join reached u on u.tenant_id = t.tenant_id and u.report = 'usage_report'
left join reached c on c.tenant_id = t.tenant_id and c.report = 'cost_report'
where t.status <> 'disconnected'
"""

COMPLETENESS = """
with days as (select distinct tenant_id, usage_date from stax.coverage)
select t.slug, d.tenant_id, d.usage_date, c.state as cost_state, u.state as usage_state,
       coalesce(c.old_enough_to_settle and (c.rows > 0 or not exists (
           select 1 from stax.usage_lines l
           where l.tenant_id = d.tenant_id and l.usage_date = d.usage_date
             and l.service_tier in ('', 'standard', 'batch')
             and l.uncached_input_tokens + l.cache_read_input_tokens + l.cache_creation_5m_input_tokens
                 + l.cache_creation_1h_input_tokens + l.output_tokens > 0)), false) as settled,
       coalesce((select bool_and(s.cost_extraction_id is not distinct from c.extraction_id
                                 and s.usage_extraction_id is not distinct from u.extraction_id)
                 from stax.spend s
                 where s.tenant_id = d.tenant_id and s.usage_date = d.usage_date),
                not exists (select 1 from stax.cost_lines l
                            where l.tenant_id = d.tenant_id and l.usage_date = d.usage_date)
                and not exists (select 1 from stax.usage_lines l
                                where l.tenant_id = d.tenant_id and l.usage_date = d.usage_date
                                  and l.uncached_input_tokens + l.cache_read_input_tokens
                                      + l.cache_creation_5m_input_tokens + l.cache_creation_1h_input_tokens
                                      + l.output_tokens + l.web_search_requests > 0)) as spend_is_current
from days d
join stax.tenants t using (tenant_id)
left join stax.coverage c
  on c.tenant_id = d.tenant_id and c.usage_date = d.usage_date and c.report = 'cost_report'
left join stax.coverage u
  on u.tenant_id = d.tenant_id and u.usage_date = d.usage_date and u.report = 'usage_report'
"""

VIEWS = {
    "usage_tokens": (
        USAGE_TOKENS,
        "Usage, long: one row per token type under the cost report's names",
    ),
    "spend_daily": (
        SPEND_DAILY,
        "Dollars per tenant, day, workspace, model, tier and cost source; sums tie to spend",
    ),
    "spend_monthly": (SPEND_MONTHLY, "The same per calendar month (UTC)"),
    "freshness": (
        FRESHNESS,
        "How far each tenant's data reaches without a gap; data_through is the usage report's",
    ),
    "completeness": (
        COMPLETENESS,
        "Tenant × day: state of each report, settled, and whether spend is up to date",
    ),
}
COLUMNS = {
    "slug": "The tenant's name in commands",
    "tenant_id": "The tenant, by its random internal id",
    "usage_date": "The UTC day the use happened on",
    "month": "First day of the calendar month, UTC",
    "workspace_id": "Workspace id; 'default' is the default workspace",
    "workspace_name": "Workspace name; NULL where the organisation no longer lists it",
    "model": "Model id; NULL where none applies",
    "cost_type": "tokens, web_search, code_execution, session_usage, …",
    "token_type": "Token type under the cost report's names",
    "service_tier": "standard, batch, priority, …; NULL where none applies",
    "context_window": "0-200k or 200k-1M; NULL where none applies",
    "inference_geo": "global, us or not_available; NULL where none applies",
    "speed": "standard or fast; NULL where the source refused to tell",
    "cost_source": "reported, priority-reconstructed, unbilled, usage-estimated or unpriced",
    "cost_usd": "USD; NULL when nothing in the group has a price",
    "effective_cost_usd": "USD after spreading a recorded commitment",
    "list_cost_usd": "USD at list price",
    "tokens": "Tokens",
    "usage_data_through": "Instant up to which token usage is complete without a gap",
    "cost_data_through": "Instant up to which cost is complete without a gap",
    "complete_through": "Last day up to which every day of both reports is complete",
    "data_through": "Same as usage_data_through: what people are shown",
    "cost_state": "open, provisional or complete; NULL where the cost report was not read",
    "usage_state": "open, provisional or complete; NULL where the usage report was not read",
    "settled": "Whether a missing cost of the day may be read as zero",
    "spend_is_current": "Whether spend was built from the current extractions",
}


def upgrade() -> None:
    analyst, loader = (f'"{context.config.attributes[name]}"' for name in ("analyst", "loader"))
    connection = op.get_bind()
    for name, (query, comment) in VIEWS.items():
        op.execute(f"create view stax.{name} with (security_invoker = true) as {query}")
        op.execute(f"comment on view stax.{name} is $c${comment}$c$")
        op.execute(f"grant select on stax.{name} to {analyst}, {loader}")
        for column in sa.inspect(connection).get_columns(name, schema="stax"):
            op.execute(f"comment on column stax.{name}.{column['name']} is $c${COLUMNS[column['name']]}$c$")
