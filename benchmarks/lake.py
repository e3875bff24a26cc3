"""One tenant's year out of a lake of many tenants, as analysts read it: the recipes of `docs/examples`, timed.

Usage: python -m benchmarks.lake [--tenants N] [--days N] [--times N]. Writes a lake of made-up spend by the product's
own writer, in buckets, and prints for each reader the median of CPU and wall seconds, the lake's files being in the
machine's cache. All must give the same sums, to the last digit. A reader that is not installed is NOT MEASURED.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import NamedTuple
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.lake.parquet import unfinished
from stax_pipeline.lake.parquet_names import path_of
from stax_pipeline.lake.parquet_rows import File, arrow_schema
from stax_pipeline.lake.store import Lake
from stax_pipeline.warehouse.parquet_due import BUCKETS, bucket_of
from stax_pipeline.warehouse.tables import spend, tenants

READERS = ("duckdb", "polars", "pandas")
LINES = 500  # spend lines of a tenant's day
YEAR = 2025
Months = list[tuple[int, Decimal]]


class Took(NamedTuple):
    """Seconds of one reading."""

    cpu: float
    wall: float


def make(lake: Lake, number: int, days: int) -> None:
    """So many tenants with so many days of spend, and their names."""
    ids = sorted((UUID(int=(n % BUCKETS << 124) + n) for n in range(number)), key=str)
    names = [{"tenant_id": str(one), "slug": f"tenant-{one.int & 0xFFFF:04d}"} for one in ids]
    _put(lake, tenants, path_of(tenants), _filled(arrow_schema(tenants), pa.Table.from_pylist(names)))
    for bucket in range(BUCKETS):
        of_bucket = [str(one) for one in ids if bucket_of(one) == bucket]
        if of_bucket:
            rows = _lines(of_bucket)
            for day in range(days):
                _put(lake, spend, File(date(YEAR, 1, 1) + timedelta(day), bucket).path(spend), rows)


def _lines(ids: list[str]) -> pa.Table:
    numbers = pa.array(range(1, LINES + 1), pa.int64())
    usd = pc.multiply(numbers.cast(pa.decimal128(19, 0)), pa.scalar(Decimal("0.000123456789012345"))).cast(
        pa.decimal128(38, 18)
    )
    texts = {name: pa.array([f"{name}-{n % kinds}" for n in range(LINES)]) for name, kinds in _KINDS.items()}
    day = pa.table({"line": numbers, "quantity": numbers, "cost_usd": usd, "list_cost_usd": usd, **texts})
    one = pa.concat_tables([day.append_column("tenant_id", pa.array([each] * LINES)) for each in ids])
    return _filled(arrow_schema(spend), one)


_KINDS = {"workspace_id": 10, "model": 6, "token_type": 5, "description": 30, "service_tier": 2, "cost_source": 3}


def _filled(schema: pa.Schema, rows: pa.Table) -> pa.Table:
    """The rows with the columns that they lack."""
    now = datetime.now(UTC)
    columns = []
    for field in schema:
        empty = now if pa.types.is_timestamp(field.type) else "" if pa.types.is_string(field.type) else None
        lacking = pa.array([None if field.nullable else (0 if empty is None else empty)] * rows.num_rows, field.type)
        columns.append(rows[field.name] if field.name in rows.column_names else lacking)
    return pa.table(columns, schema=schema)


def _put(lake: Lake, table: object, path: str, rows: pa.Table) -> None:
    with unfinished(lake, table, [rows]) as (file, _):  # type: ignore[arg-type]
        lake.replace(path, file)


def recipe(reader: str) -> Callable[[str, str, int], Months] | None:
    """`months` of the example for this reader; None where it is not installed."""
    if importlib.util.find_spec(reader) is None:
        return None
    found = importlib.util.spec_from_file_location(reader, CHECKOUT / f"docs/examples/tenant_year_{reader}.py")
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    months: Callable[[str, str, int], Months] = module.months
    return months


def measure(lake: Path, times: int) -> Iterator[tuple[str, list[Took] | None]]:
    """What each reader took, the first reading of all left out. Raises AssertionError where sums differ."""
    expected: Months | None = None
    for reader in READERS:
        months = recipe(reader)
        took = []
        for turn in range(times + 1 if months else 0):
            assert months
            cpu, wall = time.process_time(), time.perf_counter()
            found = months(str(lake), "tenant-0000", YEAR)
            if turn:
                took.append(Took(time.process_time() - cpu, time.perf_counter() - wall))
            assert found == (expected or found), f"{reader} gives other sums"
            expected = found
        yield reader, took or None


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.lake")
    parser.add_argument("--tenants", type=int, default=64)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stax-bench-") as folder:
        print(f"writing {options.tenants * options.days * LINES:,} rows of spend", file=sys.stderr)
        make(Lake(folder), options.tenants, options.days)
        for reader, took in measure(Path(folder), options.times):
            if took is None:
                print(f"{reader:8} NOT MEASURED: not installed")
            else:
                cpu, wall = (median(values) for values in zip(*took, strict=True))
                print(f"{reader:8} {cpu:.2f} s CPU, {wall:.2f} s wall")


if __name__ == "__main__":
    main()
