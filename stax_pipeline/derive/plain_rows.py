"""Columns of a plain page to columns of lines, no row looked at: what is the same on every line is said once.

`cost_lines` and `usage_lines` say the same for one row, and more: how rows equal in every dimension are numbered or
added up, and what is kept beside the known fields. A plain page needs none of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from stax_pipeline.anthropic.fields import KNOWN_VALUES, unknown_value
from stax_pipeline.anthropic.typed_pages import PlainPage
from stax_pipeline.derive.cost_lines import GROUPED, CostLine
from stax_pipeline.derive.schemas import COST_LINES, USAGE_BY_KEY, USAGE_LINES
from stax_pipeline.derive.usage_lines import TOKEN_TYPES, Counted, Counts, KeyUsageLine, UsageLine
from stax_pipeline.domain.money import round_usd

Line = TypeVar("Line", CostLine, UsageLine, KeyUsageLine)
COSTS, USAGE, BY_KEY = (schema.remove(0) for schema in (COST_LINES, USAGE_LINES, USAGE_BY_KEY))  # without tenant_id
_PATHS = {column: path for path, column in TOKEN_TYPES.items()} | {
    "web_search_requests": "server_tool_use.web_search_requests"
}
_SAME_ON_EVERY_LINE = {"currency": "USD", "occurrence": 1, "speed": "", "extras": "{}"}


def lines_of_page(rows: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """The rows of a plain page as lines of COSTS, BY_KEY, or USAGE with every speed '' yet."""
    held = dict(zip(rows.schema.names, rows.columns, strict=True))
    columns = []
    for wanted in schema:
        name = _PATHS.get(wanted.name, wanted.name)
        if name in _SAME_ON_EVERY_LINE or name not in held:
            same = pa.scalar(_SAME_ON_EVERY_LINE.get(name, ""), wanted.type)
            columns.append(pa.repeat(same, rows.num_rows))
        else:
            columns.append(held[name])
    return pa.Table.from_arrays(columns, schema=schema)


def are_lines(page: PlainPage) -> bool:
    """Whether each row is a line as it stands: none to be numbered, added up or refused as not grouped."""
    grouped = [page.rows.column(name) for name in GROUPED if name in page.rows.schema.names]
    if len(grouped) < len(GROUPED) or any(pc.index(column, "").as_py() < 0 for column in grouped):
        return not page.repeats
    missing = [pc.equal(column, pa.scalar("")) for column in grouped]
    return not (page.repeats or pc.any(reduce(pc.and_, missing)).as_py())


def count_unknown_values(rows: pa.RecordBatch, unknown: Counter[str]) -> None:
    """Count enum values that the documentation does not list, as `fields.count_unknown` does for a row."""
    for name in KNOWN_VALUES.keys() & set(rows.schema.names):
        column: pa.Array[Any] = rows.column(name)
        new: set[Any] = set(pc.unique(column).to_pylist()) - KNOWN_VALUES[name] - {""}
        for value in new:
            unknown[unknown_value(name, value)] += column.to_pylist().count(value)


def counted_rows(lines: pa.Table) -> Counted:
    """Lines of USAGE as `usage_lines.count_rows` would have counted them."""
    found = zip(*(column.to_pylist() for column in lines.columns), strict=True)
    return {(day, tuple(values[:5])): (Counts(*values[6:12]), {}) for day, *values in found}


def table_of_lines(lines: Sequence[Line], schema: pa.Schema) -> pa.Table:
    """Plain lines as a table of COSTS, USAGE or BY_KEY, in their order."""
    columns: Iterable[Sequence[Any]] = zip(*lines, strict=True) if lines else [()] * len(schema)
    arrays = [pa.array(values, wanted.type) for values, wanted in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def lines_of_table(table: pa.Table, kind: type[Line]) -> list[Line]:
    """The table's rows as plain lines in a stable order, dollars without trailing zeros."""
    columns: list[list[Any]] = [table.column(name).to_pylist() for name in kind._fields]
    if kind is CostLine:
        columns[-2] = [round_usd(usd) for usd in columns[-2]]
    return sorted(kind(*values) for values in zip(*columns, strict=True))
