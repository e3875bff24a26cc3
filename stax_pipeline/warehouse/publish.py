"""Replace a tenant's days in the daily tables: one transaction, one advisory lock per tenant, whole days only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

import pyarrow as pa
import sqlalchemy as sa

from stax_pipeline.domain.extraction import Report
from stax_pipeline.warehouse.arrow_copy import Slot, copy_arrow
from stax_pipeline.warehouse.copy import copy_in, to_arrow
from stax_pipeline.warehouse.engine import WarehouseFault
from stax_pipeline.warehouse.extractions import Covered
from stax_pipeline.warehouse.fresh_rows import FreshRows
from stax_pipeline.warehouse.line_numbers import numbered
from stax_pipeline.warehouse.parquet_due import mark_due
from stax_pipeline.warehouse.tables import coverage

Lines = Iterable[tuple[Any, ...]]


class TableRows(NamedTuple):
    """Rows for one table, the usage date first in each; `columns` names them in order."""

    table: sa.Table
    columns: Sequence[str]
    rows: Lines


def lock_tenant(connection: sa.Connection, tenant_id: UUID) -> None:
    """Publishers of one tenant take turns until the transaction ends; a killed one frees the lock at once."""
    connection.execute(
        sa.text("select pg_advisory_xact_lock(hashtextextended(:tenant, 0))"), {"tenant": str(tenant_id)}
    )


def try_lock(connection: sa.Connection, tenant_ids: Collection[UUID]) -> set[UUID]:
    """Take the locks that are free, in the order of ids; whose they are. Nobody is waited for."""
    query = sa.text(
        "select id from unnest(cast(:tenants as uuid[])) id "
        "where pg_try_advisory_xact_lock(hashtextextended(id::text, 0)) order by id"
    )
    return set(connection.execute(query, {"tenants": sorted(str(tenant_id) for tenant_id in tenant_ids)}).scalars())


def replace_days(connection: sa.Connection, tenant_id: UUID, days: Sequence[date], content: Iterable[TableRows]) -> int:
    """Make the tenant's `days` in each table hold exactly `content`; returns the rows written."""
    chosen = set(days)
    contents = {
        table: to_arrow(table, ["tenant_id", *columns], ((tenant_id, *row) for row in rows if row[0] in chosen))
        for table, columns, rows in content
    }
    return sum(replace_tenant_days(connection, contents, {(tenant_id, day) for day in chosen}).values())


def replace_tenant_days(
    connection: sa.Connection, contents: Mapping[sa.Table, pa.Table], slots: Collection[Slot],
    fresh: FreshRows | None = None,
) -> dict[sa.Table, int]:  # fmt: skip
    """Make the tenant-days `slots` in each table hold exactly these rows, in the caller's transaction; their Parquet
    files become due. The rows are kept in `fresh` for those files.

    Returns the rows written to each table. Raises WarehouseFault where a row belongs to none of `slots`, or two rows of
    a tenant's day are equal in every dimension.
    """
    for table, rows in contents.items():
        _refuse_rows_outside(table, rows, slots)
    tenants, days = zip(*set(slots), strict=True) if slots else ((), ())
    noted = mark_due(connection, contents, slots)
    written = {}
    for table, unnumbered in contents.items():
        connection.execute(
            sa.text(
                f"delete from stax.{table.name} t "  # noqa: S608 names come from our own schema
                "using unnest(cast(:tenants as uuid[]), cast(:days as date[])) slot (tenant_id, usage_date) "
                "where t.tenant_id = slot.tenant_id and t.usage_date = slot.usage_date"
            ),
            {"tenants": [str(tenant) for tenant in tenants], "days": list(days)},
        )
        rows = numbered(table, unnumbered)
        written[table] = copy_arrow(connection, table, rows)
        if fresh and noted:
            fresh.put(table, noted, slots, rows)
    return written


def _refuse_rows_outside(table: sa.Table, rows: pa.Table, slots: Collection[Slot]) -> None:
    found = rows.group_by(["tenant_id", "usage_date"]).aggregate([]).to_pylist()
    chosen = {(str(tenant), day) for tenant, day in slots}
    if not chosen.issuperset((row["tenant_id"], row["usage_date"]) for row in found):
        raise WarehouseFault(f"{table.name}: rows of other tenants or days than those to be replaced were refused.")


def cover(
    connection: sa.Connection, tenant_id: UUID, report: Report, days: Sequence[date], rows: Sequence[Covered]
) -> None:
    """Point the tenant's `days` at the extractions that `rows` name; a day without a row is not covered."""
    connection.execute(
        coverage.delete().where(
            coverage.c.tenant_id == tenant_id,
            coverage.c.report == report,
            coverage.c.usage_date == sa.func.any(list(days)),
        )
    )
    copy_in(connection, coverage, list(Covered._fields), rows)


def cover_slots(connection: sa.Connection, report: Report, rows: Sequence[Covered]) -> None:
    """Make these the rows of `coverage` of their tenants' days."""
    connection.execute(
        sa.text(
            "delete from stax.coverage c using unnest(cast(:tenants as uuid[]), cast(:days as date[])) "
            "slot (tenant_id, usage_date) where c.report = :report "
            "and c.tenant_id = slot.tenant_id and c.usage_date = slot.usage_date"
        ),
        {"report": report, "tenants": [str(r.tenant_id) for r in rows], "days": [r.usage_date for r in rows]},
    )
    copy_in(connection, coverage, list(Covered._fields), rows)


def read_days(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str], tenant_id: UUID, start: date, end: date
) -> list[Any]:
    """A tenant's rows of the days from `start` to `end` (exclusive), as plain tuples in the order of `columns`."""
    chosen = [sa.cast(table.c[name], sa.Text) if name == "extras" else table.c[name] for name in columns]
    query = sa.select(*chosen).where(
        table.c.tenant_id == tenant_id, table.c.usage_date >= start, table.c.usage_date < end
    )
    return list(connection.execute(query))
