"""What migrations of views since 0012 share: change the text of an earlier one, and publish it with comments and grants."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa
from alembic import context, op

from stax_pipeline.warehouse.migrations.views_0005.view import View


def changed(
    view: View, *changes: tuple[str, str], columns: dict[str, str] | None = None, comment: str = "", times: int = 1
) -> View:
    """`view` with passages of its query replaced, each of which stands there so many times; columns are only appended."""
    query = view.query
    for old, new in changes:
        if query.count(old) != times:
            raise ValueError(f"view {view.name}: {old!r} stands {query.count(old)} times in it")
        query = query.replace(old, new)
    return replace(
        view, query=query, columns=view.columns | (columns or {}), comment=comment or view.comment, replaces=True
    )


def publish(view: View) -> None:
    """Create the view, or replace the one of before, and say what it and its columns mean."""
    readers = ", ".join(_quoted(context.config.attributes[name]) for name in ("analyst", "loader"))
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
