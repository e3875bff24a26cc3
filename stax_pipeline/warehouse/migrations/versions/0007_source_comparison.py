"""The newer source beside the reports: its table, and the view of their differences by day."""

import sqlalchemy as sa
from alembic import context, op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NEW_WORDS = {  # of `extractions`: column: (was, is)
    "report": (
        "cost_report, usage_report or organization",
        "cost_report, usage_report, organization, or analytics (read for comparison alone)",
    ),
    "extracted_at": (
        "Earliest Date header of its pages: the source's clock",
        "Earliest Date header of its pages, or the newer source's data_refreshed_at where that is earlier",
    ),
}

SOURCE_DIFFERENCES = """
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
select t.slug, d.tenant_id, d.usage_date, d.reports_usd, d.analytics_usd,
       d.analytics_usd - d.reports_usd as difference_usd, d.analytics_list_usd, d.analytics_priority_usd,
       coalesce(r.usd, 0) as reconstructed_priority_usd, d.reports_tokens, d.analytics_tokens,
       d.analytics_tokens - d.reports_tokens as difference_tokens
from days d
join stax.tenants t using (tenant_id)
left join reconstructed r using (tenant_id, usage_date)
"""
VIEW_COMMENT = "Per tenant and day: the reports, the newer analytics source, and what lies between them"
COLUMNS = {
    "slug": "The tenant's name in commands",
    "tenant_id": "The tenant, by its random internal id",
    "usage_date": "The UTC day the use happened on",
    "reports_usd": "USD of the cost report; NULL where the sources were not compared",
    "analytics_usd": "USD of the newer source, Priority left out; NULL where the sources were not compared",
    "difference_usd": "analytics_usd - reports_usd",
    "analytics_list_usd": "USD of the newer source before discounts, Priority included",
    "analytics_priority_usd": "USD of Priority and other tiers the cost report never has, as the newer source says; "
    "kept apart, in no total",
    "reconstructed_priority_usd": "USD of the same tokens as spend reconstructs them from list prices",
    "reports_tokens": "Tokens of the usage report, every tier; NULL where the sources were not compared",
    "analytics_tokens": "Tokens of the newer source, every tier; NULL likewise",
    "difference_tokens": "analytics_tokens - reports_tokens",
}


DIMENSIONS = {
    "workspace_id": "Workspace id; 'default' is the default workspace",
    "model": "Model id as the source names it; '' where none applies",
    "cost_type": "tokens, web_search, code_execution, session_usage, …",
    "token_type": "Token type under the cost report's names; '' where none applies",
    "service_tier": "standard, batch, priority, … as the source names it; '' where none applies",
    "context_window": "0-200k or 200k-1M; '' where none applies",
    "inference_geo": "global, us, not_available, …; '' where none applies",
}
DOLLARS = {
    "reports_usd": "USD of the cost report; NULL where the sources were not compared",
    "analytics_usd": "USD of the newer source, set-aside dollars left out; NULL likewise",
    "analytics_set_aside_usd": "USD of the newer source for tokens of Priority, or any tier that the cost report never "
    "has; in no cost line",
    "analytics_list_usd": "USD of the newer source before discounts, set-aside dollars included",
}
REQUIRED = ("analytics_set_aside_usd", "analytics_list_usd")


def upgrade() -> None:
    loader, analyst = (_quoted(context.config.attributes[name]) for name in ("loader", "analyst"))
    _create_table()
    op.execute("alter table stax.source_comparison enable row level security")
    op.execute("alter table stax.source_comparison force row level security")
    op.execute(f"grant select, insert, update, delete on stax.source_comparison to {loader}")
    op.execute(f"create policy loader on stax.source_comparison to {loader} using (true) with check (true)")
    op.execute(f"grant select on stax.source_comparison to {analyst}")
    if analyst != loader:
        op.execute(f"create policy analyst on stax.source_comparison for select to {analyst} using (true)")
    op.execute(f"create view stax.source_differences with (security_invoker = true) as {SOURCE_DIFFERENCES}")
    op.execute(f"comment on view stax.source_differences is $c${VIEW_COMMENT}$c$")
    op.execute(f"grant select on stax.source_differences to {analyst}, {loader}")
    for name, comment in COLUMNS.items():
        op.execute(f"comment on column stax.source_differences.{name} is $c${comment}$c$")
    for name, (was, now) in NEW_WORDS.items():
        op.alter_column("extractions", name, schema="stax", comment=now, existing_comment=was)


def _create_table() -> None:
    op.create_table(
        "source_comparison",
        sa.Column("usage_date", sa.Date, nullable=False, comment="The UTC day the use happened on"),
        sa.Column("tenant_id", sa.UUID, nullable=False, comment="The tenant, by its random internal id"),
        *(sa.Column(name, sa.Text, nullable=False, comment=comment) for name, comment in DIMENSIONS.items()),
        *(
            sa.Column(name, sa.Numeric, nullable=name not in REQUIRED, comment=comment)
            for name, comment in DOLLARS.items()
        ),
        sa.Column(
            "reports_quantity",
            sa.BigInteger,
            comment="Tokens or searches of the usage report; NULL where there are none to count",
        ),
        sa.Column("analytics_quantity", sa.BigInteger, comment="Tokens or searches of the newer source; NULL likewise"),
        sa.Column(
            "analytics_extraction_id",
            sa.UUID,
            nullable=False,
            comment="The extraction of the newer source this row was read from",
        ),
        sa.Column(
            "loaded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row was written",
        ),
        *(
            sa.CheckConstraint(
                f"abs({name}) < 1e20 AND scale({name}) <= 18", name=op.f(f"source_comparison_{name}_check")
            )
            for name in DOLLARS
        ),
        sa.PrimaryKeyConstraint("usage_date", "tenant_id", *DIMENSIONS, name=op.f("source_comparison_pkey")),
        schema="stax",
        comment="The reports and the newer analytics source beside each other; with STAX_SOURCE=analytics only what is "
        "set aside",
    )


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
