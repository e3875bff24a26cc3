"""The number of a row within its tenant's day: the narrow key of tables whose rows are told apart by many columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from stax_pipeline.warehouse.engine import WarehouseFault

_SLOT = ("usage_date", "tenant_id")
_LARGEST = 2**63 - 1


class _Places(NamedTuple):
    """A whole number for each row, from 0 to below `bound`: they sort, and are equal, as some columns of the rows."""

    numbers: pa.Array[Any]
    bound: int


def numbered(table: sa.Table, rows: pa.Table) -> pa.Table:
    """The rows sorted by day, tenant and the dimensions that tell rows of `table` apart, and `line` 1, 2, … in each
    tenant's day. Tables whose rows have their number already are left as they are.

    Raises WarehouseFault where two rows of a tenant's day are equal in all of those dimensions.
    """
    apart = table.info.get("apart", ())
    if not apart:
        return rows
    slots = _places(rows, _SLOT, _Places(pa.repeat(pa.scalar(0, pa.int64()), rows.num_rows), 1))
    places = _places(rows, apart, slots).numbers
    order = pc.array_sort_indices(places)
    if pc.any(_is_as_before(places.take(order))).as_py():
        raise WarehouseFault(f"{table.name}: two rows of a tenant's day are equal in every dimension.")
    count = pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), rows.num_rows))
    first = pc.cumulative_max(pc.if_else(_is_as_before(slots.numbers.take(order)), 0, count))
    return rows.take(order).append_column("line", pc.add(pc.subtract(count, first), 1))


def _places(rows: pa.Table, names: Iterable[str], within: _Places) -> _Places:
    """The places of rows by these columns, among those that are in one place already."""
    places = within
    for name in names:
        values = _ranked(rows[name].combine_chunks())
        if places.bound * values.bound > _LARGEST:
            places = _ranked(places.numbers)
        numbers = pc.add(pc.multiply(places.numbers, values.bound), values.numbers)
        places = _Places(numbers, places.bound * values.bound)
    return places


def _ranked(values: pa.Array[Any]) -> _Places:
    held: Any = values.dictionary_encode()
    ranks = pc.rank(held.dictionary, tiebreaker="dense").cast(pa.int64())
    return _Places(pc.subtract(ranks, 1).take(held.indices), len(held.dictionary))


def _is_as_before(numbers: pa.Array[Any]) -> pa.Array[Any]:
    """Whether each number equals the one before it; the first does not."""
    return pa.concat_arrays([pa.array([False] * min(1, len(numbers)), pa.bool_()), pc.equal(numbers[1:], numbers[:-1])])
