"""Parquet copies: files by table, day and bucket of tenants, equal to Postgres, exact, checked, never half written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline.checks import parquet_copies
from stax_pipeline.checks.parquet_copies import difference
from stax_pipeline.domain.extraction import Window
from stax_pipeline.lake import parquet
from stax_pipeline.lake.parquet import rebuild
from stax_pipeline.lake.parquet_rows import File
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.copy import copy_in
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import DAYS, TODAY, execute, query, sync, two_tenants
from stax_pipeline_tests.warehouse.test_copy import COLUMNS, TEXT, USD, row

DAILY = [
    tables.cost_lines, tables.usage_lines, tables.usage_by_key, tables.spend, tables.spend_by_key,
    tables.reconciliation,
]  # fmt: skip
ONE_DAY = Window(date(2026, 11, 20), date(2026, 11, 21))


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        sync(installation)
        for table in DAILY:
            rebuild(installation.engine, installation.lake, table, DAYS)
        yield installation


def file_of(made: Installation, table: sa.Table, day: date) -> Path:
    return made.home / "lake" / table.name / f"usage_date={day}" / "bucket=00" / "part-0.parquet"


def plain(value: Any) -> Any:
    """Values that are equal are written alike, whichever side they come from."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


@pytest.mark.parametrize("table", DAILY, ids=lambda table: table.name)
def test_every_file_equals_its_days_in_postgres(made: Installation, table: sa.Table) -> None:
    for day in DAYS.days:
        if day == TODAY and table in (tables.cost_lines, tables.reconciliation):
            assert not file_of(made, table, day).exists()
            assert not query(made, f"select from stax.{table.name} where usage_date = '{day}'")
            continue
        found = pq.read_table(file_of(made, table, day), page_checksum_verification=True, partitioning=None)
        columns = [c.name for c in table.columns if c.name != "usage_date"]
        assert found.schema.names == columns
        held = query(made, f"select {', '.join(columns)} from stax.{table.name} where usage_date = '{day}'")
        expected = sorted(repr([plain(value) for value in line]) for line in held)
        read = []
        for line in found.to_pylist():
            if "extras" in line:
                line["extras"] = json.loads(line["extras"])
            read.append(repr([plain(line[name]) for name in columns]))
        assert sorted(read) == expected
        assert held
        tenants = found.column("tenant_id").to_pylist()
        assert tenants == sorted(tenants)
        assert len(set(tenants)) == 2


def test_loaded_at_is_the_instant_of_the_warehouse(made: Installation) -> None:
    found = pq.read_table(file_of(made, tables.spend, DAYS.start), partitioning=None).column("loaded_at").to_pylist()
    held = query(made, f"select distinct loaded_at from stax.spend where usage_date = '{DAYS.start}'")
    assert set(found) == {r.loaded_at for r in held}


def test_types_are_exact_and_pages_have_checksums(made: Installation) -> None:
    schema = pq.read_schema(file_of(made, tables.spend, DAYS.start))
    assert schema.field("cost_usd").type == pa.decimal128(38, 18)
    assert schema.field("quantity").type == pa.int64()
    assert schema.field("loaded_at").type == pa.timestamp("us", tz="UTC")
    held = pq.ParquetFile(file_of(made, tables.spend, DAYS.start)).metadata.row_group(0).column(0)
    assert held.compression == "ZSTD"


def test_a_flipped_byte_is_an_error(made: Installation, tmp_path: Path) -> None:
    source = file_of(made, tables.spend, DAYS.start)
    column = pq.ParquetFile(source).metadata.row_group(0).column(pq.read_schema(source).names.index("cost_usd"))
    data = bytearray(source.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(data)
    with pytest.raises(OSError, match=r"(?i)crc|checksum|corrupt"):
        pq.read_table(damaged, page_checksum_verification=True)


class TestDifference:
    """What `stax verify` says of a file; whatever a test does to it is mended by writing it anew."""

    @pytest.fixture(autouse=True)
    def mended(self, made: Installation) -> Iterator[None]:
        yield
        rebuild(made.engine, made.lake, tables.spend, DAYS, whole=True)
        assert self.said(made) is None

    @staticmethod
    def said(made: Installation, day: date = DAYS.start, table: sa.Table = tables.spend) -> str | None:
        with made.engine.connect() as connection:
            query = f"select count(*) from stax.{table.name} where usage_date = '{day}'"
            count = connection.exec_driver_sql(query).scalar_one()
            return difference(connection, made.lake, table, File(day, 0), 1, count)

    def test_files_of_good_data_differ_in_nothing(self, made: Installation) -> None:
        assert {self.said(made, day, table) for day in DAYS.days for table in DAILY} == {None}

    def test_cut_into_other_batches_it_is_the_same_file(
        self, made: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(parquet_copies, "BLOCK", 7)
        assert self.said(made) is None

    def test_a_day_without_rows_needs_no_file(self, made: Installation) -> None:
        assert self.said(made, date(2026, 1, 1)) is None

    def test_a_file_that_is_gone(self, made: Installation) -> None:
        file_of(made, tables.spend, DAYS.start).unlink()
        assert re.fullmatch(r"there is no file, Postgres holds \d[\d,]+ rows", self.said(made) or "")

    @pytest.mark.parametrize(
        "change",
        ["cost_usd = cost_usd + 0.000000000000000001", "description = description || ' '", "loaded_at = now()",
         "contracted_cost_usd = null"],
    )  # fmt: skip
    def test_one_other_value(self, made: Installation, change: str) -> None:
        of_day = f"usage_date = '{DAYS.start}'"
        last = f"select max(ctid) from stax.spend where {of_day} and contracted_cost_usd is not null"
        execute(made, f"update stax.spend set {change} where ctid = ({last})")
        assert self.said(made) == "the file does not hold Postgres' values"

    def test_another_days_file(self, made: Installation) -> None:
        execute(made, f"delete from stax.spend where usage_date = '{DAYS.days[1]}' and line = 1")
        rebuild(made.engine, made.lake, tables.spend, DAYS, whole=True)
        shutil.copy(file_of(made, tables.spend, DAYS.days[1]), file_of(made, tables.spend, DAYS.start))
        assert re.fullmatch(r"the file holds [\d,]+ rows?, Postgres [\d,]+", self.said(made) or "")

    def test_other_columns(self, made: Installation) -> None:
        file = file_of(made, tables.spend, DAYS.start)
        pq.write_table(pq.read_table(file, partitioning=None).drop_columns(["description"]), file)
        assert self.said(made) == "the file's columns are not those of the table"

    @pytest.mark.parametrize("length", [0, 100, -100])
    def test_a_file_that_is_cut(self, made: Installation, length: int) -> None:
        file = file_of(made, tables.spend, DAYS.start)
        file.write_bytes(file.read_bytes()[:length])
        assert "the file cannot be read" in (self.said(made) or "")

    def test_a_flipped_byte(self, made: Installation) -> None:
        file = file_of(made, tables.spend, DAYS.start)
        column = pq.ParquetFile(file).metadata.row_group(0).column(pq.read_schema(file).names.index("cost_usd"))
        data = bytearray(file.read_bytes())
        data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
        file.write_bytes(data)
        assert self.said(made) == "the file cannot be read (OSError)"

    def test_a_folder_in_its_place(self, made: Installation) -> None:
        file = file_of(made, tables.spend, DAYS.start)
        file.unlink()
        file.mkdir()
        assert self.said(made) == "the file cannot be read (ObjectUnreadable)"
        file.rmdir()


def test_one_file_per_day_and_nothing_unfinished(made: Installation) -> None:
    for table in DAILY:
        files = [f for f in (made.home / "lake" / table.name).rglob("*") if f.is_file()]
        days = [day for day in DAYS.days if day != TODAY or table not in (tables.cost_lines, tables.reconciliation)]
        assert sorted(files) == [file_of(made, table, day) for day in days]
    assert list((made.home / "lake" / ".tmp").iterdir()) == []


def test_a_day_that_loses_its_rows_gets_a_file_without_rows(made: Installation) -> None:
    window = Window(date(2026, 11, 1), date(2026, 11, 2))
    file = file_of(made, tables.spend, window.start)
    file.parent.mkdir(parents=True)
    shutil.copy(file_of(made, tables.spend, DAYS.start), file)
    assert rebuild(made.engine, made.lake, tables.spend, window, whole=True) == 0
    assert pq.read_table(file, partitioning=None).num_rows == 0
    file.unlink()


def test_a_day_that_never_had_rows_has_no_file(made: Installation) -> None:
    window = Window(date(2026, 11, 1), date(2026, 11, 2))
    for whole in (False, True):
        assert rebuild(made.engine, made.lake, tables.spend, window, whole=whole) == 0
        assert not file_of(made, tables.spend, window.start).exists()


@pytest.mark.parametrize("where", ["write_table", "close"])
def test_a_broken_write_leaves_the_old_file_and_nothing_unfinished(
    made: Installation, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before = {day: file_of(made, tables.spend, day).read_bytes() for day in DAYS.days}

    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(pq.ParquetWriter, where, broken)
        rebuild(made.engine, made.lake, tables.spend, DAYS, whole=True)
    assert {day: file_of(made, tables.spend, day).read_bytes() for day in DAYS.days} == before
    assert list((made.home / "lake" / ".tmp").iterdir()) == []
    assert rebuild(made.engine, made.lake, tables.spend, DAYS, whole=True) > 0


def test_rows_across_blocks_and_row_groups_are_all_there(made: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP", 10)
    written = rebuild(made.engine, made.lake, tables.spend, DAYS, whole=True)
    files = [pq.read_table(file_of(made, tables.spend, day), partitioning=None) for day in DAYS.days]
    assert written == sum(f.num_rows for f in files) == query(made, "select count(*) as n from stax.spend")[0].n
    assert pq.ParquetFile(file_of(made, tables.spend, DAYS.start)).num_row_groups > 1


@settings(max_examples=25, deadline=None)
@given(rows=st.dictionaries(TEXT, st.tuples(TEXT, USD), min_size=1, max_size=5))
def test_any_text_and_decimal_survives_into_the_file(
    made: Installation, rows: dict[str, tuple[str, Decimal | None]]
) -> None:
    tenant = query(made, "select tenant_id from stax.tenants limit 1")[0].tenant_id
    execute(made, "delete from stax.reconciliation where usage_date = '2026-11-20'")
    with made.engine.begin() as connection:
        sent = [(d, tenant, *rest) for model, (c, p) in rows.items() for d, _, *rest in [row(model, c, p)]]
        copy_in(connection, tables.reconciliation, COLUMNS, iter(sent))
    assert rebuild(made.engine, made.lake, tables.reconciliation, ONE_DAY, whole=True) == len(rows)
    file = file_of(made, tables.reconciliation, ONE_DAY.start)
    found = pq.read_table(file, columns=["model", "cause", "priced_usd"], partitioning=None).to_pylist()
    assert {line["model"]: (line["cause"], line["priced_usd"]) for line in found} == rows
