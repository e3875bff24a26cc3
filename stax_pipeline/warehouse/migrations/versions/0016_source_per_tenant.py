"""Which of Anthropic's two sources is read is a matter of the tenant; one that has no newer source is told once.

A day whose usage by key the source did not answer for is told from one without such use.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

REFUSED = "When Anthropic said that this organisation has no newer source; it is not compared from then on"

COMPARED = (
    "The reports and the newer source beside each other; for tenants read from the newer one alone what is set aside"
)


def upgrade() -> None:
    source = "reports, analytics or both: what this tenant is read from; NULL for STAX_SOURCE"
    op.add_column("tenants", sa.Column("source", sa.Text(), nullable=True, comment=source), schema="stax")
    op.add_column(
        "tenants",
        sa.Column("newer_source_refused_at", sa.TIMESTAMP(timezone=True), nullable=True, comment=REFUSED),
        schema="stax",
    )
    op.create_check_constraint(
        op.f("tenants_source_check"), "tenants", "source in ('reports', 'analytics', 'both')", schema="stax"
    )
    keyed = "Whether that extraction read usage by key for the day; true for cost"
    op.add_column(
        "coverage",
        sa.Column("by_key", sa.Boolean(), nullable=False, server_default=sa.true(), comment=keyed),
        schema="stax",
    )
    op.create_table_comment("source_comparison", COMPARED, schema="stax")
