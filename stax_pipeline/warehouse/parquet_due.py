"""Which Parquet files are older than their rows: noted by whoever changes rows, in the same transaction.

Notes are only ever added, one for each change, and removed by the writer of the file that read them: publishers of two
tenants never wait for each other here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.warehouse.arrow_copy import Slot
from stax_pipeline.warehouse.tables import DAILY

BUCKETS = 16


def bucket_of(tenant_id: UUID) -> int:
    """The bucket of a tenant, 0 to 15: its random id's first hexadecimal digit, so that a bucket is a range of ids."""
    return tenant_id.int >> 124


def mark_due(connection: sa.Connection, tables: Iterable[sa.Table], slots: Collection[Slot]) -> None:
    """Note that rows of these tenant-days changed in `tables`; those without a Parquet copy are left out."""
    copied = [table.name for table in tables if table in DAILY]
    due = sorted({(day, bucket_of(tenant)) for tenant, day in slots})
    if copied and due:
        connection.execute(
            sa.text(
                "insert into stax.parquet_due (table_name, usage_date, bucket) select * "
                "from unnest(cast(:tables as text[])) named, "
                "unnest(cast(:days as date[]), cast(:buckets as bigint[])) changed"
            ),
            {"tables": copied, "days": [day for day, _ in due], "buckets": [bucket for _, bucket in due]},
        )
