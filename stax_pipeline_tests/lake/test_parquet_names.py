"""Names and prices beside the daily files: the whole table, exact, written anew when it changed, and purged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from benchmarks.lake import READERS, recipe
from stax_pipeline.backup.restore import rebuild_parquet
from stax_pipeline.lake.parquet import rebuild
from stax_pipeline.lake.parquet_names import NAMES, copy_names, path_of
from stax_pipeline.lake.store import Lake
from stax_pipeline.tenants.disconnect import purge
from stax_pipeline.warehouse import tables
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.lake.test_parquet import plain
from stax_pipeline_tests.pipeline.support import DAYS, execute, query, sync, two_tenants


class Killed(BaseException):
    """The process dies here."""


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        sync(installation)
        rebuild(installation.engine, installation.lake, tables.spend, DAYS)
        copy_names(installation.engine, installation.lake)
        yield installation


def file_of(made: Installation, table: sa.Table) -> Path:
    return made.home / "lake" / path_of(table)


def ids_in_files(made: Installation) -> set[str]:
    """Tenants in any Parquet file."""
    files = list((made.home / "lake").rglob("*.parquet"))
    assert files
    columns = [pq.ParquetFile(file).read() for file in files]
    return {one for rows in columns if "tenant_id" in rows.column_names for one in rows["tenant_id"].to_pylist()}


@pytest.mark.parametrize("table", NAMES, ids=lambda table: table.name)
def test_a_file_is_its_whole_table(made: Installation, table: sa.Table) -> None:
    found = pq.read_table(file_of(made, table), page_checksum_verification=True)
    names = [column.name for column in table.columns]
    assert found.schema.names == names
    held = query(made, f"select {', '.join(names)} from stax.{table.name}")
    expected = sorted(repr([plain(value) for value in row]) for row in held)
    read = [{**row, "extras": json.loads(row["extras"])} if "extras" in row else row for row in found.to_pylist()]
    assert sorted(repr([plain(row[name]) for name in names]) for row in read) == expected
    assert held


def test_only_what_changed_is_written(made: Installation) -> None:
    before = {table: file_of(made, table).stat().st_mtime_ns for table in NAMES}
    assert copy_names(made.engine, made.lake) == []
    execute(made, "update stax.workspaces set name = name || ' ' where workspace_id <> 'default'")
    assert copy_names(made.engine, made.lake) == ["workspaces/part-0.parquet"]
    after = {table: file_of(made, table).stat().st_mtime_ns for table in NAMES}
    assert {table.name for table in NAMES if before[table] != after[table]} == {"workspaces"}


def test_a_damaged_file_is_written_anew(made: Installation) -> None:
    file_of(made, tables.tenants).write_bytes(b"damaged")
    assert copy_names(made.engine, made.lake) == ["tenants/part-0.parquet"]
    assert copy_names(made.engine, made.lake) == []


def test_no_secret_and_no_members_name_is_in_a_file(made: Installation) -> None:
    assert {table.name for table in NAMES} == {"tenants", "workspaces", "api_keys", "list_prices"}
    held = b"".join(file.read_bytes() for file in (made.home / "lake").rglob("*.parquet"))
    for key in made.simulator.keys.values():
        assert key.encode() not in held
    assert not (made.home / "lake" / "members").exists()


class TestPurge:
    def test_a_purged_tenant_is_in_no_file(self, made: Installation) -> None:
        gone = str(query(made, "select tenant_id from stax.tenants where slug = 'acme'")[0].tenant_id)
        assert gone in ids_in_files(made)
        assert purge(made.engine, made.lake, "acme").left == {}
        assert len(ids_in_files(made)) == 1
        assert gone not in ids_in_files(made)

    def test_killed_before_the_files_of_names_it_can_be_run_again(
        self, made: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def replace(lake: Lake, path: str, file: Path) -> None:
            if path.startswith("tenants"):
                raise Killed
            real(lake, path, file)

        real = Lake.replace
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(Lake, "replace", replace)
            purge(made.engine, made.lake, "acme")
        assert purge(made.engine, made.lake, "acme").left == {}
        assert len(ids_in_files(made)) == 1

    def test_a_name_that_stays_in_a_file_is_told(self, made: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stax_pipeline.tenants.disconnect._copy_names", lambda *_: None)
        left = purge(made.engine, made.lake, "acme").left
        assert left["Parquet tenants"] == 1
        assert left.keys() == {"Parquet tenants", "Parquet workspaces", "Parquet api_keys"}


def test_a_restore_writes_them(made: Installation) -> None:
    for table in NAMES:
        file_of(made, table).unlink()
    rebuild_parquet(made.engine, made.lake, lambda *_: None)
    assert all(file_of(made, table).exists() for table in NAMES)


@pytest.mark.parametrize("reader", READERS)
def test_the_examples_read_what_postgres_holds(made: Installation, reader: str) -> None:
    months = recipe(reader)
    if months is None:
        pytest.skip(f"{reader} is not installed")
    held = query(
        made,
        "select cast(extract(month from usage_date) as int) as month, sum(cost_usd) as usd from stax.spend "
        "join stax.tenants using (tenant_id) where slug = 'globex' group by 1 order by 1",
    )
    assert months(str(made.home / "lake"), "globex", 2026) == [(row.month, row.usd) for row in held]
    assert [row.month for row in held] == [11]
