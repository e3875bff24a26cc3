"""Prove that the Parquet files hold the rows of Postgres: every table, every day, every value."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import sqlalchemy as sa

from stax_pipeline.domain.extraction import Window
from stax_pipeline.lake.parquet import difference
from stax_pipeline.lake.store import Lake
from stax_pipeline.warehouse import tables


class Apart(NamedTuple):
    """A table's day whose file is not what Postgres holds."""

    table: str
    usage_date: date
    why: str


def parquet_gaps(connection: sa.Connection, lake: Lake, window: Window) -> Iterator[Apart]:
    """Days of the window on which a file differs from the rows of the connection's snapshot.

    A run that publishes meanwhile differs too, until it has written its files.
    """
    for table in tables.DAILY:
        counts = _counts(connection, table, window)
        for day in window.days:
            if why := difference(connection, lake, table, day, counts.get(day, 0)):
                yield Apart(table.name, day, why)


def _counts(connection: sa.Connection, table: sa.Table, window: Window) -> dict[date, int]:
    day = table.c.usage_date
    query = sa.select(day, sa.func.count()).where(day >= window.start, day < window.end).group_by(day)
    return {row[0]: row[1] for row in connection.execute(query)}
