"""Rows that this process has just written, kept in memory for their Parquet files.

They are kept by the note of `parquet_due` that was made with them, in one transaction. The note proves them: as long as
it stands and nobody else's note is about the same file, the table holds these rows and no others of those tenants.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from datetime import date, datetime
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from stax_pipeline.warehouse.arrow_copy import Slot, arrow_type
from stax_pipeline.warehouse.parquet_due import Written, bucket_of


class Fresh(NamedTuple):
    """What a transaction wrote of one note's table, day and tenants: all rows of `tenants`, sorted as the table's key,
    text dictionary-encoded; None where they were not kept.
    """

    tenants: frozenset[UUID]
    rows: pa.Table | None


class FreshRows:
    """Rows by table and note. What does not fit into `limit` bytes is let go: it can be read from the table."""

    def __init__(self, limit: int = 80 << 20) -> None:
        self._limit = limit
        self._sizes: Counter[sa.Table] = Counter()
        self._held: dict[sa.Table, dict[UUID, Fresh]] = defaultdict(dict)

    def put(self, table: sa.Table, written: Written, slots: Collection[Slot], rows: pa.Table) -> None:
        """Keep the rows that a transaction wrote of these tenant-days of `table`, with its notes.

        What `rows` leaves out is NULL, and `loaded_at` the moment of the transaction. Rows with fields that no
        documentation lists are not kept: Postgres writes their JSON its own way.
        """
        notes = [note for name, note in written.notes if name == table.name]
        if not notes:
            return
        tenants: dict[tuple[date, int], set[UUID]] = defaultdict(set)
        for tenant_id, day in slots:
            tenants[day, bucket_of(tenant_id)].add(tenant_id)
        kept = None if _has_extras(rows) else self._fitting(table, _compact(table, _sorted(table, rows), written.at))
        cut = {} if kept is None else _by_note(kept)
        for note in notes:
            place = note.usage_date, note.bucket
            none = None if kept is None else kept.slice(0, 0)
            self._held[table][note.mark_id] = Fresh(frozenset(tenants[place]), cut.get(place, none))

    def _fitting(self, table: sa.Table, rows: pa.Table) -> pa.Table | None:
        if self._sizes.total() + rows.nbytes > self._limit:
            return None
        self._sizes[table] += rows.nbytes
        return rows

    def take(self, table: sa.Table) -> Mapping[UUID, Fresh]:
        """What is kept of `table` by the id of its note, in the order of writing; none of it is kept any longer."""
        self._sizes.pop(table, None)
        return self._held.pop(table, {})


def _has_extras(rows: pa.Table) -> bool:
    return "extras" in rows.column_names and pc.unique(rows["extras"]).to_pylist() not in ([], ["{}"])


def _sorted(table: sa.Table, rows: pa.Table) -> pa.Table:
    """In the order of the key, in which rows come that were numbered while they were loaded."""
    if table.info.get("apart"):
        return rows
    return rows.sort_by([(column.name, "ascending") for column in table.primary_key.columns])


def _compact(table: sa.Table, rows: pa.Table, written_at: datetime) -> pa.Table:
    """The rows as the table has them, what they leave out too, and each text once: that takes a third of the memory."""
    columns: dict[str, Any] = {
        name: column.dictionary_encode() if pa.types.is_string(column.type) else column
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    }
    for column in table.columns:
        if column.name not in columns:
            value = written_at if column.name == "loaded_at" else None
            scalar: Any = pa.scalar(value, arrow_type(column))
            columns[column.name] = pa.repeat(scalar, rows.num_rows)
    return pa.table(columns).combine_chunks()


def _by_note(rows: pa.Table) -> dict[tuple[date, int], pa.Table]:
    """The rows by day and bucket of tenants. Raises ValueError where they are not sorted by day and tenant."""
    counts: dict[tuple[date, int], int] = defaultdict(int)
    days = rows.group_by(["usage_date", "tenant_id"], use_threads=False).aggregate([([], "count_all")])
    if not _is_by_day_and_tenant(rows):
        raise ValueError("rows that were written are not in the order of the table's key")
    for day, tenant_id, count in sorted(zip(*(column.to_pylist() for column in days.columns), strict=True)):
        counts[day, bucket_of(UUID(tenant_id))] += count
    ends = accumulate(counts.values())
    return {place: rows.slice(end - counts[place], counts[place]) for place, end in zip(counts, ends, strict=True)}


def _is_by_day_and_tenant(rows: pa.Table) -> bool:
    days, tenants = rows["usage_date"].combine_chunks(), rows["tenant_id"].cast(pa.string()).combine_chunks()
    this_day, next_day = days[:-1], days[1:]
    same_day: Any = pc.and_(pc.equal(this_day, next_day), pc.less_equal(tenants[:-1], tenants[1:]))
    return pc.all(pc.or_(pc.less(this_day, next_day), same_day)).as_py() is not False
