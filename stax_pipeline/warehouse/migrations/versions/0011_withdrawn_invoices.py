"""An invoice recorded by mistake can be taken back: a row without an amount, recorded last, holds."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column(
        "invoices",
        "amount_usd",
        existing_type=sa.NUMERIC(),
        nullable=True,
        comment="USD of the invoice; NULL takes back what was recorded before",
        existing_comment="USD of the invoice",
        schema="stax",
    )
    op.execute(
        "comment on column stax.invoice_check.invoice_usd is "
        "'USD of the invoice recorded last; NULL without one, and where it was withdrawn'"
    )
