"""What a check finds of a tenant can be accepted, by date and with a note; tokens without cost have one cause in words."""

import sqlalchemy as sa
from alembic import context, op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

CAUSE = "tokens without cost: blocked, or billed to another organization"


def upgrade() -> None:
    op.create_table(
        "accepted_findings",
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column("check_name", sa.Text(), nullable=False, comment="The check, such as every_usage_billed"),
        sa.Column("effective_from", sa.Date(), nullable=False, comment="First UTC day"),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), nullable=False, comment="When the row was recorded"
        ),
        sa.Column("effective_to", sa.Date(), nullable=True, comment="Last UTC day; NULL without an end"),
        sa.Column("note", sa.Text(), nullable=False, comment="Why it is accepted, in the operator's words"),
        sa.Column(
            "superseded_at", sa.DateTime(timezone=True), nullable=True,
            comment="When a later row replaced it, or it was withdrawn; NULL while in force",
        ),
        sa.CheckConstraint("effective_to >= effective_from", name=op.f("accepted_findings_dates_check")),
        sa.CheckConstraint("note <> ''", name=op.f("accepted_findings_note_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["stax.tenants.tenant_id"], name=op.f("accepted_findings_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id", "check_name", "effective_from", "recorded_at", name=op.f("accepted_findings_pkey")
        ),
        schema="stax",
        comment="What a check finds of a tenant and the operator accepts, by date: it is not told again, and silences "
        "nothing else",
    )  # fmt: skip
    loader, analyst = (_quoted(context.config.attributes[name]) for name in ("loader", "analyst"))
    table = "stax.accepted_findings"
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"alter table {table} force row level security")
    op.execute(f"grant select, insert, update, delete on {table} to {loader}")
    op.execute(f"create policy loader on {table} to {loader} using (true) with check (true)")
    op.execute(f"grant select on {table} to {analyst}")
    if analyst != loader:
        op.execute(f"create policy analyst on {table} for select to {analyst} using (true)")
    op.execute("alter table stax.reconciliation no force row level security")
    op.execute(f"update stax.reconciliation set cause = '{CAUSE}' where cause = 'unbilled tokens'")
    op.execute("alter table stax.reconciliation force row level security")


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
