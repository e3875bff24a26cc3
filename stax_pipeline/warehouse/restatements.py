"""Restatements as the warehouse keeps them: added as they happen, rebuilt whole by a replay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.derive.restatement import Restatement, RestatementKind
from stax_pipeline.domain.extraction import Window
from stax_pipeline.warehouse.arrow_copy import Slot
from stax_pipeline.warehouse.copy import copy_in
from stax_pipeline.warehouse.parquet_due import mark_due
from stax_pipeline.warehouse.tables import restatements

DIMENSIONS = (
    "workspace_id", "description", "cost_type", "token_type", "model", "service_tier", "context_window",
    "inference_geo", "speed",
)  # fmt: skip


def add_restatements(connection: sa.Connection, tenant_id: UUID, rows: Iterable[Restatement]) -> int:
    """Record what changed, in the transaction that changes it; returns how many figures did."""
    added = list(rows)
    mark_due(connection, [restatements], {(tenant_id, row.usage_date) for row in added})
    return copy_in(connection, restatements, ["tenant_id", *Restatement._fields], ((tenant_id, *row) for row in added))


def drop_round_trips(connection: sa.Connection, tenant_id: UUID, days: Sequence[date]) -> None:
    """Forget dollars of `days` that went away and came back, such as by a rate that was recorded and withdrawn: each
    figure of them says again what it said first. What the source itself took back stays.
    """
    table = restatements
    of_days = sa.and_(
        table.c.tenant_id == tenant_id, table.c.usage_date == sa.func.any(list(days)),
        table.c.kind.in_((RestatementKind.USAGE_DOLLARS, RestatementKind.PRICE)),
    )  # fmt: skip
    figure = [table.c[name] for name in ("usage_date", *DIMENSIONS)]
    back = sa.select(*figure).where(of_days).group_by(*figure).having(sa.func.sum(table.c.difference_usd) == 0)
    _delete(connection, tenant_id, sa.and_(of_days, sa.tuple_(*figure).in_(back)))


def restated_tokens(connection: sa.Connection, slots: Collection[Slot]) -> Iterator[tuple[UUID, Restatement]]:
    """Token dollars and counts of these tenant-days that a later extraction changed, each with its tenant."""
    columns = ", ".join(f"r.{name}" for name in Restatement._fields)
    query = sa.text(
        f"select r.tenant_id, {columns} "  # noqa: S608 names come from our own schema
        "from unnest(cast(:tenants as uuid[]), cast(:days as date[])) slot (tenant_id, usage_date) "
        "join stax.restatements r using (tenant_id, usage_date) "
        "where r.kind in ('cost', 'usage') and r.cost_type = 'tokens'"
    )
    values = {"tenants": [str(tenant_id) for tenant_id, _ in slots], "days": [day for _, day in slots]}
    for tenant_id, *row in connection.execute(query, values):
        yield tenant_id, Restatement(*row)


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
    of_kind = sa.and_(
        table.c.tenant_id == tenant_id, table.c.kind == kind, table.c.usage_date == sa.func.any(list(days))
    )
    _delete(connection, tenant_id, of_kind)
    return add_restatements(connection, tenant_id, rows)


def _delete(connection: sa.Connection, tenant_id: UUID, of_tenant: sa.ColumnElement[bool]) -> None:
    """Remove these of the tenant's rows; their Parquet files become due."""
    removed = connection.execute(restatements.delete().where(of_tenant).returning(restatements.c.usage_date))
    mark_due(connection, [restatements], {(tenant_id, day) for day in removed.scalars()})
