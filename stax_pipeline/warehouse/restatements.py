"""Restatements as the warehouse keeps them: added as they happen, rebuilt whole by a replay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.derive.restatement import Restatement, RestatementKind
from stax_pipeline.domain.extraction import Window
from stax_pipeline.warehouse.copy import copy_in
from stax_pipeline.warehouse.tables import restatements


def add_restatements(connection: sa.Connection, tenant_id: UUID, rows: Iterable[Restatement]) -> int:
    """Record what changed, in the transaction that changes it; returns how many figures did."""
    return copy_in(connection, restatements, ["tenant_id", *Restatement._fields], ((tenant_id, *row) for row in rows))


def usage_changes(connection: sa.Connection, tenant_id: UUID, window: Window) -> dict[date, list[datetime]]:
    """When counts of each of the window's days were restated."""
    table = restatements
    query = (
        sa.select(table.c.usage_date, table.c.seen_at)
        .where(
            table.c.tenant_id == tenant_id, table.c.kind == RestatementKind.USAGE,
            table.c.usage_date >= window.start, table.c.usage_date < window.end,
        )
        .distinct()
    )  # fmt: skip
    found: dict[date, list[datetime]] = defaultdict(list)
    for day, seen_at in connection.execute(query):
        found[day].append(seen_at)
    return found


def replace_restatements(
    connection: sa.Connection, tenant_id: UUID, days: Sequence[date], kind: RestatementKind, rows: Iterable[Restatement]
) -> int:
    """Make the tenant's `days` hold exactly these restatements of `kind`."""
    table = restatements
    connection.execute(
        table.delete().where(
            table.c.tenant_id == tenant_id, table.c.kind == kind, table.c.usage_date == sa.func.any(list(days))
        )
    )
    return add_restatements(connection, tenant_id, rows)
