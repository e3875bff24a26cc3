"""No row of a tenant's day twice: a rule for each table whose key is a number, made of what tells its rows apart.

Loading refuses such rows (`warehouse.line_numbers`), so that no run asks again; `stax verify` does.
"""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.checks.rule import WINDOW, Rule
from stax_pipeline.warehouse.tables import metadata


def _rule(table: sa.Table) -> Rule:
    apart = ", ".join(table.info["apart"])
    return Rule(
        f"no_row_twice_in_{table.name}",
        table.name,
        "No two rows of a tenant's day are equal in every dimension.",
        ("tenant", "usage_date", "rows"),
        f"""
        select t.slug, usage_date, sum(rows)
        from (select tenant_id, usage_date, count(*) as rows from stax.{table.name}
              where {WINDOW} group by tenant_id, usage_date, {apart} having count(*) > 1) twice
        join stax.tenants t using (tenant_id)
        group by 1, 2 order by 1, 2
        """,
    )


DISTINCT_RULES = tuple(_rule(table) for table in metadata.sorted_tables if table.info.get("apart"))
