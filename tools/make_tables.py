"""The reference of tables, from a migrated database: python tools/make_tables.py > docs/reference/tables.md

The warehouse is the one description; a test compares this text with the file.
"""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.warehouse.columns import SCHEMA

HEAD = """# Tables and views

Schema `stax` in Postgres, made from the comments in the database itself (`python tools/make_tables.py`). Dollars are
exact `numeric`, days are UTC days, `''` in a table means "does not apply" (views show NULL). Views come last.
"""
QUERY = """
select c.relname, c.relkind, obj_description(c.oid), a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       col_description(c.oid, a.attnum),
       exists (select 1 from pg_index i where i.indrelid = c.oid and i.indisprimary and a.attnum = any(i.indkey))
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = cast(:schema as regnamespace) and c.relkind in ('r', 'v') and c.relname <> 'alembic_version'
order by c.relkind, c.relname, a.attnum
"""


def tables_markdown(connection: sa.Connection) -> str:
    """The reference of every table and view. `🔑` marks the columns of the key."""
    parts = [HEAD]
    shown = ""
    for name, kind, comment, column, sql_type, required, description, key in connection.execute(
        sa.text(QUERY), {"schema": SCHEMA}
    ):
        if name != shown:
            shown = name
            heading = f"\n## {'View' if kind == 'v' else 'Table'} `{name}`\n\n{comment}.\n\n"
            parts.append(heading + "| column | type | meaning |\n| --- | --- | --- |\n")
        null = "" if required or kind == "v" else ", null"
        parts.append(f"| `{column}`{' 🔑' if key else ''} | {sql_type}{null} | {description} |\n")
    return "".join(parts)


def main() -> None:
    from stax_pipeline import embedded_postgres
    from stax_pipeline.installation.settings import read_settings
    from stax_pipeline.resources.dagster import loader_engine
    from stax_pipeline.warehouse.migrate import upgrade

    settings = read_settings()
    with embedded_postgres.running(settings.postgres_home):
        upgrade(settings)
        with loader_engine(settings).connect() as connection:
            print(tables_markdown(connection), end="")
        loader_engine(settings).dispose()


if __name__ == "__main__":
    main()
