"""Credits get a column wherever dollars are summed; `spend_summary` tells billed, reconstructed and estimated apart."""

import sqlalchemy as sa
from alembic import op

from stax_pipeline.warehouse.migrations.views import publish
from stax_pipeline.warehouse.migrations.views_0012 import VIEWS

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COMMENT = "Negative part of reported cost_usd, which holds it already; 0 without credits"


def upgrade() -> None:
    op.add_column(
        "spend",
        sa.Column("credits_usd", sa.Numeric(), nullable=False, server_default="0", comment=COMMENT),
        schema="stax",
    )
    op.create_check_constraint(
        op.f("spend_credits_usd_check"), "spend", "abs(credits_usd) < 1e20 AND scale(credits_usd) <= 18", schema="stax"
    )
    op.execute("alter table stax.spend no force row level security")
    op.execute("update stax.spend set credits_usd = cost_usd where cost_source = 'reported' and cost_usd < 0")
    op.execute("alter table stax.spend force row level security")
    for view in VIEWS:
        publish(view)
