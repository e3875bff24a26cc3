"""The number of a row within its tenant's day: the narrow key of tables whose rows are told apart by many columns."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from stax_pipeline.warehouse.engine import WarehouseFault

_SLOT = ("usage_date", "tenant_id")


def numbered(table: sa.Table, rows: pa.Table) -> pa.Table:
    """The rows sorted by day, tenant and the dimensions that tell rows of `table` apart, and `line` 1, 2, … in each
    tenant's day. Tables whose rows have their number already are left as they are.

    Raises WarehouseFault where two rows of a tenant's day are equal in all of those dimensions.
    """
    apart: Sequence[str] = table.info.get("apart", ())
    if not apart:
        return rows
    if not rows.num_rows:
        return rows.append_column("line", pa.array([], pa.int64()))
    ordered = rows.sort_by([(name, "ascending") for name in (*_SLOT, *apart)]).combine_chunks()
    same_day = _as_before(ordered, _SLOT)
    if pc.any(pc.and_(same_day, _as_before(ordered, apart))).as_py():
        raise WarehouseFault(f"{table.name}: two rows of a tenant's day are equal in every dimension.")
    place = pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), ordered.num_rows))
    first = pc.cumulative_max(pc.if_else(same_day, 0, place))
    return ordered.append_column("line", pc.add(pc.subtract(place, first), 1))


def _as_before(rows: pa.Table, names: Sequence[str]) -> pa.BooleanArray:
    """Whether each row equals the one before it in these columns; the first row does not."""
    equal = pa.repeat(pa.scalar(True), rows.num_rows - 1)
    for name in names:
        values = rows[name].chunk(0)
        equal = pc.and_(equal, pc.equal(values[1:], values[:-1]))
    return pa.concat_arrays([pa.array([False]), equal])
