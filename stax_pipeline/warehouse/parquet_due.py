"""Which Parquet files there are, and which are older than their rows: noted by whoever changes rows, in the same
transaction.

Notes are only ever added, one for each change, and removed by the writer of the file that read them: publishers of two
tenants never wait for each other here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.warehouse.arrow_copy import Slot
from stax_pipeline.warehouse.tables import DAILY, parquet_due, parquet_layout, tenants

BUCKETS = 16
MANY_TENANTS = 50


class Due(NamedTuple):
    """A note that rows of one bucket's tenants changed on a day."""

    mark_id: UUID
    usage_date: date
    bucket: int


def bucket_of(tenant_id: UUID) -> int:
    """The bucket of a tenant, 0 to 15: its random id's first hexadecimal digit, so that a bucket is a range of ids."""
    return tenant_id.int >> 124


class Written(NamedTuple):
    """The notes of one transaction, each with the name of its table, and the `loaded_at` of its rows."""

    at: datetime
    notes: list[tuple[str, Due]]


def mark_due(connection: sa.Connection, tables: Iterable[sa.Table], slots: Collection[Slot]) -> Written | None:
    """Note that rows of these tenant-days changed in `tables`; those without a Parquet copy are left out. None where
    there was nothing to note.
    """
    copied = [table.name for table in tables if table in DAILY]
    due = sorted({(day, bucket_of(tenant)) for tenant, day in slots})
    if not (copied and due):
        return None
    noted = connection.execute(
        sa.text(
            "insert into stax.parquet_due (table_name, usage_date, bucket) select * "
            "from unnest(cast(:tables as text[])) named, "
            "unnest(cast(:days as date[]), cast(:buckets as bigint[])) changed "
            "returning now(), table_name, mark_id, usage_date, bucket"
        ),
        {"tables": copied, "days": [day for day, _ in due], "buckets": [bucket for _, bucket in due]},
    ).all()
    return Written(noted[0][0], [(name, Due(*note)) for _, name, *note in noted])


def due_of(connection: sa.Connection, table: sa.Table) -> list[Due]:
    """The notes about a table."""
    columns = (parquet_due.c[name] for name in Due._fields)
    return [Due(*row) for row in connection.execute(sa.select(*columns).where(parquet_due.c.table_name == table.name))]


def forget_due(connection: sa.Connection, notes: Collection[Due]) -> None:
    """These files hold what was noted; what was noted since stays."""
    connection.execute(parquet_due.delete().where(parquet_due.c.mark_id == sa.func.any([n.mark_id for n in notes])))


def buckets_now(connection: sa.Connection, table: sa.Table) -> int:
    """How many files a day of the table has in this installation: 1 or 16."""
    layout = sa.select(parquet_layout.c.buckets).where(parquet_layout.c.table_name == table.name)
    return connection.execute(layout).scalar() or 1


def divide_once_many(connection: sa.Connection, table: sa.Table) -> set[UUID]:
    """The first time that there are 50 tenants: sixteen files a day for good, and all of the table's are due.

    Returns the ids of the notes that say so: they tell of no row that changed.
    """
    many = sa.select(sa.func.count() >= MANY_TENANTS).select_from(tenants)
    if buckets_now(connection, table) == BUCKETS or not connection.execute(many).scalar_one():
        return set()
    connection.execute(parquet_layout.insert().values(table_name=table.name, buckets=BUCKETS))
    noted = connection.execute(
        sa.text(
            "insert into stax.parquet_due (table_name, usage_date, bucket) select :table, usage_date, bucket "
            "from (select distinct usage_date from stax.coverage) days, generate_series(0, :last) bucket "
            "returning mark_id"
        ),
        {"table": table.name, "last": BUCKETS - 1},
    )
    return set(noted.scalars())
