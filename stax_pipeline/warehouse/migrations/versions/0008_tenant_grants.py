"""Which login may read which tenants; and the table of migrations is closed like every other."""

import sqlalchemy as sa
from alembic import context, op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tenant_grants",
        sa.Column("role_name", sa.Text(), nullable=False, comment="The login, as Postgres knows it"),
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column(
            "granted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the login was tied to the tenant",
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"], name=op.f("tenant_grants_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("role_name", "tenant_id", name=op.f("tenant_grants_pkey")),
        schema="stax",
        comment="Which login reads which tenants beside the analyst, who reads all; a login sees its own rows alone",
    )
    _close("tenant_grants")
    loader, analyst = (_quoted(context.config.attributes[name]) for name in ("loader", "analyst"))
    op.execute(f"grant select, insert, update, delete on stax.tenant_grants to {loader}")
    op.execute(f"create policy loader on stax.tenant_grants to {loader} using (true) with check (true)")
    op.execute(f"grant select on stax.tenant_grants to {analyst}")
    if analyst != loader:
        op.execute(f"create policy analyst on stax.tenant_grants for select to {analyst} using (true)")
    op.execute("create policy granted on stax.tenant_grants for select using (role_name = current_user)")

    _close("alembic_version")
    op.execute("create policy owner on stax.alembic_version to current_user using (true) with check (true)")
    op.execute("comment on table stax.alembic_version is 'The newest migration this database has'")
    op.execute("comment on column stax.alembic_version.version_num is 'Its number'")


def _close(table: str) -> None:
    op.execute(f"alter table stax.{table} enable row level security")
    op.execute(f"alter table stax.{table} force row level security")


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
