"""Who reads what: grants and row-level security by database role, forced on the owner too."""

from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SECRET = ("admin_keys",)
SHARED = (
    "tenants", "extractions", "coverage", "cost_lines", "usage_lines", "usage_by_key", "spend", "spend_by_key",
    "reconciliation", "workspaces", "api_keys", "members", "list_prices",
)  # fmt: skip


def upgrade() -> None:
    loader, analyst = (_quoted(context.config.attributes[name]) for name in ("loader", "analyst"))
    op.execute(f"grant usage on schema stax to {loader}, {analyst}")
    for table in (*SECRET, *SHARED):
        op.execute(f"alter table stax.{table} enable row level security")
        op.execute(f"alter table stax.{table} force row level security")
        op.execute(f"grant select, insert, update, delete on stax.{table} to {loader}")
        op.execute(f"create policy loader on stax.{table} to {loader} using (true) with check (true)")
    for table in SHARED:
        op.execute(f"grant select on stax.{table} to {analyst}")
        if analyst != loader:
            op.execute(f"create policy analyst on stax.{table} for select to {analyst} using (true)")


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
