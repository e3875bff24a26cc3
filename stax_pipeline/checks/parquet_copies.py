"""Prove that the Parquet files hold the rows of Postgres: every table, every day, every value, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import sqlalchemy as sa

from stax_pipeline.domain.extraction import Window
from stax_pipeline.lake.parquet import File, difference, files_of
from stax_pipeline.lake.store import Lake
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.parquet_due import BUCKETS, bucket_of, buckets_now


class Apart(NamedTuple):
    """A file that is not what Postgres holds."""

    table: str
    usage_date: date
    why: str


def parquet_gaps(connection: sa.Connection, lake: Lake, window: Window) -> Iterator[Apart]:
    """Days of the window on which a file differs from the rows of the connection's snapshot.

    A run that publishes meanwhile differs too, until it has written its files.
    """
    for table in tables.DAILY:
        buckets = buckets_now(connection, table)
        counts = _counts(connection, table, window, buckets)
        for day in window.days:
            files = [File(day, bucket) for bucket in range(buckets)]
            for file in files:
                if why := difference(connection, lake, table, file, buckets, counts[file]):
                    yield Apart(table.name, day, f"bucket {file.bucket:02}: {why}" if buckets > 1 else why)
            for path in sorted(files_of(lake, table, day) - {file.path(table) for file in files}):
                yield Apart(table.name, day, f"{path} is not a file of this installation")


def _counts(connection: sa.Connection, table: sa.Table, window: Window, buckets: int) -> Counter[File]:
    """Rows in each file."""
    day, tenant = table.c.usage_date, table.c.tenant_id
    query = sa.select(day, tenant, sa.func.count()).where(day >= window.start, day < window.end).group_by(day, tenant)
    counts: Counter[File] = Counter()
    for usage_date, tenant_id, rows in connection.execute(query):
        counts[File(usage_date, bucket_of(tenant_id) * buckets // BUCKETS)] += rows
    return counts
