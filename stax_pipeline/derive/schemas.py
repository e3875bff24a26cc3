"""The tables that rules read and make, as Arrow: every column's name and type, and the way to and from plain rows.

Columns are named as in the warehouse. A table holds rows of several tenants; `tenant_id` is a UUID as text, USD and
other exact figures are decimal128(38, 18), counts are int64.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import pyarrow as pa

from stax_pipeline.derive.arrow_alone import in_system_memory, without_pandas
from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.reconciliation import Reconciliation
from stax_pipeline.derive.spend import SpendLine
from stax_pipeline.derive.spend_totals import SpendDayTotal, SpendTotal
from stax_pipeline.derive.split_by_key import KeySpend
from stax_pipeline.derive.usage_lines import Counts, KeyUsageLine, UsageLine
from stax_pipeline.domain.money import SCALE

without_pandas()
in_system_memory()

Line = TypeVar(
    "Line", CostLine, UsageLine, KeyUsageLine, SpendLine, SpendTotal, SpendDayTotal, KeySpend, Reconciliation
)

USD = pa.decimal128(38, SCALE)
UNITS = pa.decimal128(38, 0)  # USD in whole units of 10^-18: the same bits
_COUNTS = frozenset({*Counts._fields, "occurrence", "line", "quantity", "tokens", "unpriced_tokens", "cost_line_count"})
_EXACT = frozenset({"pricing_quantity", "burndown_units", "ratio"})
# null where the source tells none
_UNKNOWN = frozenset({"quantity", "tokens", "pricing_quantity", "burndown_units", "ratio"})
_KNOWN = frozenset({"amount_usd", "credits_usd", "reported_usd", *SpendDayTotal._fields})


def _field(name: str) -> pa.Field[Any]:
    if name == "usage_date":
        return pa.field(name, pa.date32(), nullable=False)
    if name in _COUNTS:
        return pa.field(name, pa.int64(), nullable=name in _UNKNOWN)
    if name in _EXACT or name.endswith("_usd"):
        return pa.field(name, USD, nullable=name not in _KNOWN)
    return pa.field(name, pa.string(), nullable=False)


def _schema(*names: str) -> pa.Schema:
    return pa.schema([_field(name) for name in ("tenant_id", *names)])


def schema_of(**types: Any) -> pa.Schema:
    """A schema of columns that may be null."""
    return pa.schema([pa.field(name, kind) for name, kind in types.items()])


COST_LINES = _schema(*CostLine._fields)
USAGE_LINES = _schema(*UsageLine._fields)
USAGE_BY_KEY = _schema(*KeyUsageLine._fields)
SPEND = _schema("usage_date", "line", *SpendLine._fields[1:])
SPEND_TOTALS = _schema(*SpendTotal._fields)
SPEND_DAY_TOTALS = _schema(*SpendDayTotal._fields)
SPEND_BY_KEY = _schema(*KeySpend._fields)
RECONCILIATION = _schema(*Reconciliation._fields)
DAYS = pa.schema([
    _field("tenant_id"), _field("usage_date"), pa.field("settled", pa.bool_(), nullable=False),
    pa.field("minutes", pa.int64()),
])  # fmt: skip


def table_of(schema: pa.Schema, lines: Mapping[str, Iterable[Line]]) -> pa.Table:
    """An Arrow table of lines by tenant, in the order given.

    Args:
        schema: one of this module's; where it has `line`, lines are numbered from 1 within each tenant's day.
        lines: by `tenant_id`.

    Raises:
        pa.ArrowInvalid: a figure has more than 18 decimals or more than 20 whole digits.
    """
    columns: dict[str, list[object]] = {name: [] for name in schema.names}
    for tenant_id, rows in lines.items():
        number: dict[object, int] = defaultdict(int)
        for row in rows:
            number[row.usage_date] += 1
            own = {"tenant_id": tenant_id, "line": number[row.usage_date]}
            for name, values in columns.items():
                values.append(own[name] if name in own else getattr(row, name))
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def lines_of(table: pa.Table, kind: type[Line]) -> dict[str, list[Line]]:
    """The table's rows as lines of `kind` by `tenant_id`, in the order of the table."""
    found: dict[str, list[Line]] = defaultdict(list)
    columns = [table.column(name).to_pylist() for name in kind._fields]
    for tenant_id, *values in zip(table.column("tenant_id").to_pylist(), *columns, strict=True):
        found[tenant_id].append(kind(*values))
    return dict(found)


def table_of_rows(schema: pa.Schema, rows: list[tuple[Any, ...]]) -> pa.Table:
    """An Arrow table of rows in the order of the schema's columns."""
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
