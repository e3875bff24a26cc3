"""Days that are over and not reported yet have a state; freshness speaks of the newest days, gaps are completeness's."""

import sqlalchemy as sa
from alembic import op

from stax_pipeline.warehouse.migrations.views import publish
from stax_pipeline.warehouse.migrations.views_0005.view import View

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

ASKED_END = (
    "The day after the last one asked for, where the source had nothing yet of those from window_end on; else NULL"
)
RATIO = "priced_usd ÷ reported_usd; NULL where nothing was reported, or nothing used"
STATE = "open, provisional, complete, or not reported yet: over, and asked for in vain"
STATE_OF = STATE + "; NULL where the {} report was not read"

FRESHNESS = View(
    "freshness",
    "How far each tenant's newest data reaches, whatever is missing before it: completeness has the gaps; data_through "
    "is the usage report's",
    """
    with known as (
        select tenant_id, report, max(data_through) as data_through
        from stax.coverage
        where data_through > (usage_date::timestamp at time zone 'UTC')
        group by tenant_id, report
    ),
    whole as (
        select tenant_id, max(usage_date) as day
        from (select tenant_id, usage_date from stax.coverage where state = 'complete'
              group by tenant_id, usage_date having count(*) = 2) d
        group by tenant_id
    )
    select t.slug, t.tenant_id, u.data_through as usage_data_through, c.data_through as cost_data_through,
           w.day as complete_through, u.data_through as data_through
    from stax.tenants t
    left join known u on u.tenant_id = t.tenant_id and u.report = 'usage_report'
    left join known c on c.tenant_id = t.tenant_id and c.report = 'cost_report'
    left join whole w on w.tenant_id = t.tenant_id
    where t.status <> 'disconnected'
    """,
    {
        "usage_data_through": "Instant up to which token usage is known on the newest day read",
        "cost_data_through": "Instant up to which cost is known on the newest day read",
        "complete_through": "The newest day of which both reports are complete",
        "data_through": "Same as usage_data_through: what people are shown",
    },
    replaces=True,
)


def upgrade() -> None:
    op.add_column("extractions", sa.Column("asked_end", sa.Date(), nullable=True, comment=ASKED_END), schema="stax")
    _comment("column stax.extractions.window_end", "The day after the last one that the source answered for")
    op.drop_constraint(op.f("coverage_state_check"), "coverage", schema="stax")
    op.create_check_constraint(
        op.f("coverage_state_check"),
        "coverage",
        "state in ('open', 'provisional', 'complete', 'not reported yet')",
        schema="stax",
    )
    _comment("column stax.coverage.state", STATE)
    for report in ("cost", "usage"):
        _comment(f"column stax.completeness.{report}_state", STATE_OF.format(report))
    _comment("column stax.reconciliation.ratio", RATIO)
    publish(FRESHNESS)


def _comment(on: str, words: str) -> None:
    op.execute(f"comment on {on} is $c${words}$c$")
