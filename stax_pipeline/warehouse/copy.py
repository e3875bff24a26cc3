"""A few rows of Python values into Postgres, such as coverage and restatements; what is many comes in Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import pyarrow as pa
import sqlalchemy as sa

from stax_pipeline.warehouse.arrow_copy import arrow_type, copy_arrow
from stax_pipeline.warehouse.engine import WarehouseFault


def copy_in(connection: sa.Connection, table: sa.Table, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> int:
    """Append rows whose values stand in the order of `columns`; returns how many there were. Raises WarehouseFault."""
    return copy_arrow(connection, table, to_arrow(table, columns, rows))


def to_arrow(table: sa.Table, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> pa.Table:
    """The rows as Arrow, typed as the columns of `table` are. Raises WarehouseFault where a value fits no column."""
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    schema = pa.schema([(name, arrow_type(table.c[name])) for name in columns])
    try:
        return pa.table(
            [pa.array(map(_plain, held), kind) for held, kind in zip(values, schema.types, strict=True)], schema=schema
        )
    except (pa.ArrowException, UnicodeEncodeError):  # its words quote the value
        raise WarehouseFault(f"{table.name}: a value that does not fit its column was refused.") from None


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value
