"""Views: committed units by the minutes read, an invoice's differences told once, workspaces of one name apart."""

from alembic import op

from stax_pipeline.warehouse.migrations.views import publish
from stax_pipeline.warehouse.migrations.views_0015 import VIEWS

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

PRICE_SOURCE = (
    "Where the price comes from; contract for an absolute contract price, band-lower for the lower bound of an unseen "
    "step"
)


def upgrade() -> None:
    op.execute(f"comment on column stax.spend.price_source is '{PRICE_SOURCE}'")
    for view in VIEWS:
        publish(view)
