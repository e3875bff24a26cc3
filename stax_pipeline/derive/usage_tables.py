"""The three queries of usage put together, as tables: speed by the difference of two, and where two disagree.

Most lines are no fast use and pass as columns; the others go through `usage_lines` row by row.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stax_pipeline.anthropic.queries import USAGE_DIMENSIONS
from stax_pipeline.derive.plain_rows import counted_rows, lines_of_table
from stax_pipeline.derive.usage_lines import Counted, Counts, KeyUsageLine, UsageLine, disagreements, usage_lines
from stax_pipeline.domain.money import MAX_COUNT

_MET_BY = ["usage_date", "workspace_id", "model", "service_tier"]


def with_speed(
    whole: pa.Table, every: Counted, quick: Counted | None, fast_days: Collection[date]
) -> tuple[pa.Table, list[UsageLine]]:
    """Usage lines with speed: those of `whole` that `quick` does not touch, then those made row by row.

    Args:
        whole: rows of the query `all`, of the USAGE schema.
        every: more of its rows; none has a key of `whole`.
        quick: the rows of the query `fast`, None where it was refused altogether.
        fast_days: the days that `fast` was read for.

    Raises:
        NegativeSpeedDifference: the two queries contradict each other.
    """
    if quick:
        met = pa.array({"\0".join(values) for _, values in quick})
        dimensions: list[Any] = [*whole.select(USAGE_DIMENSIONS).columns, "\0"]  # no text holds a NUL
        keys: Any = pc.binary_join_element_wise(*dimensions)
        is_met = pc.is_in(keys, met)
        every = every | counted_rows(whole.filter(is_met))
        whole = whole.filter(pc.invert(is_met))
    speeds = pa.repeat(pa.scalar(""), whole.num_rows)
    if quick is not None:
        is_known = pc.is_in(whole.column("usage_date"), pa.array(sorted(fast_days), pa.date32()))
        speeds = pc.if_else(is_known, "standard", "")
    at = whole.schema.get_field_index("speed")
    return whole.set_column(at, whole.schema.field(at), speeds), usage_lines(every, quick, fast_days)


def days_apart(lines: pa.Table, by_key: pa.Table) -> set[date]:
    """The days on which usage lines and usage by key do not add up to the same, by workspace, model and tier."""
    largest = [pc.max(table.column(name)).as_py() or 0 for table in (lines, by_key) for name in Counts._fields]
    if max(largest) * (lines.num_rows + by_key.num_rows) > MAX_COUNT:  # Arrow's sums would wrap silently
        apart = disagreements(lines_of_table(lines, UsageLine), lines_of_table(by_key, KeyUsageLine))
        return {day for day, _ in apart}
    taken = by_key.select([*_MET_BY, *Counts._fields])
    for at, name in enumerate(Counts._fields, start=len(_MET_BY)):
        taken = taken.set_column(at, taken.schema.field(at), pc.negate(taken.column(name)))
    both = pa.concat_tables([lines.select(taken.column_names), taken])
    sums = both.group_by(_MET_BY, use_threads=False).aggregate([(name, "sum") for name in Counts._fields])
    differs = reduce(pc.or_, [pc.not_equal(sums.column(f"{name}_sum"), pa.scalar(0)) for name in Counts._fields])
    days: list[date] = sums.filter(differs).column("usage_date").to_pylist()  # type: ignore[assignment]
    return set(days)
