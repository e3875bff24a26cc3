"""Views for analysts: invoices, commitments, keys, tiers, prices, the cache, the error bar, restated days."""

import sqlalchemy as sa
from alembic import context, op

from stax_pipeline.warehouse.migrations.views_0005 import VIEWS, View

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    readers = ", ".join(_quoted(context.config.attributes[name]) for name in ("analyst", "loader"))
    for view in VIEWS:
        _create(view, readers)


def _create(view: View, readers: str) -> None:
    verb = "create or replace" if view.replaces else "create"
    op.execute(f"{verb} view stax.{view.name} with (security_invoker = true) as {view.query}")
    op.execute(f"grant select on stax.{view.name} to {readers}")
    _comment(f"view stax.{view.name}", view.comment)
    for column in sa.inspect(op.get_bind()).get_columns(view.name, schema="stax"):
        _comment(f"column stax.{view.name}.{column['name']}", view.comment_of(column["name"]))


def _comment(on: str, words: str) -> None:
    op.execute(f"comment on {on} is $c${words}$c$")


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
