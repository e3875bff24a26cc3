"""Everything, from the tables' metadata. It is the one migration until the first release, and never edited after it."""

from alembic import context, op

from stax_pipeline.warehouse.tables import metadata
from stax_pipeline.warehouse.vacuum import GROWS_FOR_YEARS
from stax_pipeline.warehouse.views import VIEWS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SECRET = ("admin_keys", "invites", "logins", "sessions")
"""Tables that no analyst reads."""


def upgrade() -> None:
    loader, analyst = (_quoted(context.config.attributes[name]) for name in ("loader", "analyst"))
    metadata.create_all(op.get_bind(), checkfirst=False)
    op.execute(f"grant usage on schema stax to {loader}, {analyst}")
    for table in metadata.tables.values():
        _close(table.name)
        op.execute(f"grant select, insert, update, delete on stax.{table.name} to {loader}")
        op.execute(f"create policy loader on stax.{table.name} to {loader} using (true) with check (true)")
        if "usage_date" in table.c:
            op.execute(f"alter table stax.{table.name} set ({GROWS_FOR_YEARS})")
        if table.name not in SECRET:
            op.execute(f"grant select on stax.{table.name} to {analyst}")
            if analyst != loader:
                op.execute(f"create policy analyst on stax.{table.name} for select to {analyst} using (true)")
    op.execute("create policy granted on stax.tenant_grants for select using (role_name = current_user)")
    _close("alembic_version")
    op.execute("create policy owner on stax.alembic_version to current_user using (true) with check (true)")
    op.execute("comment on table stax.alembic_version is 'The newest migration this database has'")
    op.execute("comment on column stax.alembic_version.version_num is 'Its number'")
    for view in VIEWS:
        view.create(op.get_bind(), {loader, analyst})


def _close(table: str) -> None:
    """Row-level security, forced on the owner too."""
    op.execute(f"alter table stax.{table} enable row level security")
    op.execute(f"alter table stax.{table} force row level security")


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
