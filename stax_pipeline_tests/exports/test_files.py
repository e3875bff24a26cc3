"""Files appear whole or not at all, and hold every digit."""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.domain.errors import StaxError, WrongUse
from stax_pipeline.exports.files import Column, Format, Kind, Row, cell, decimal_text, write_file
from stax_pipeline_tests.derive.builders import scaled

COLUMNS = [Column(kind.name.lower(), kind) for kind in Kind]
ROW = ("=1+1", Decimal("4"), 2**62, date(2026, 11, 1), datetime(2026, 11, 1, 2, tzinfo=UTC), True)
EMPTY = (None,) * len(COLUMNS)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (Decimal("4"), "4.0"),
        (Decimal("4.500"), "4.5"),
        (Decimal("0E-18"), "0.0"),
        (Decimal("-1E-7"), "-0.0000001"),
        (Decimal("12345678901234567890.123456789012345678"), "12345678901234567890.123456789012345678"),
        (7, "7"),
        (True, "true"),
        (datetime(2026, 11, 1, tzinfo=UTC), "2026-11-01T00:00:00Z"),
        ({"b": 1, "a": "ü"}, '{"a": "ü", "b": 1}'),
        ("plain", "plain"),
        ("=cmd()", "'=cmd()"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@sum", "'@sum"),
        ("\tx", "'\tx"),
        ("\n=x", "'\n'=x"),
        ("a=b", "a=b"),
        ("a;=1+1", "a;'=1+1"),
        ("a\t+1", "a\t'+1"),
        ("a\r\n@x", "a\r\n'@x"),
        ('a; "=1"', 'a; "\'=1"'),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("a;\uff0b1;\uff0d1\n\uff20x", "a;'\uff0b1;'\uff0d1\n'\uff20x"),
        ({"a;=1": ";-1"}, '{"a;\'=1": ";\'-1"}'),
        ("a; b, c = -1", "a; b, c = -1"),
    ],
)
def test_cells(value: Any, text: str) -> None:
    assert cell(value) == text


@given(st.integers(-(10**38) + 1, 10**38 - 1))
def test_decimals_keep_every_digit_and_a_point(units: int) -> None:
    text = decimal_text(scaled(units))
    assert Decimal(text) == scaled(units)
    assert "." in text
    assert "E" not in text


def test_csv_has_its_names_first(tmp_path: Path) -> None:
    assert write_file(tmp_path / "f.csv", Format.CSV, COLUMNS, [ROW, EMPTY]) == 2
    with (tmp_path / "f.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["text", "numeric", "count", "day", "instant", "flag"],
            ["'=1+1", "4.0", str(2**62), "2026-11-01", "2026-11-01T02:00:00Z", "true"],
            [""] * 6,
        ]


def test_a_file_that_is_written_again_keeps_its_mode(tmp_path: Path) -> None:
    """So that others may go on reading a nightly export, which is made private."""
    file = tmp_path / "f.csv"
    file.touch()
    file.chmod(0o640)
    write_file(file, Format.CSV, COLUMNS, [ROW])
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("umask", [0, 0o077])
def test_a_file_of_another_account_is_replaced_by_a_private_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    """He may have made it, open to himself, where the export was expected; and he may hold it open."""
    file = tmp_path / "f.csv"
    file.write_text("his")
    file.chmod(0o666)
    monkeypatch.setattr("os.geteuid", lambda: file.stat().st_uid + 4242)
    before = os.umask(umask)
    try:
        with file.open() as held:
            write_file(file, Format.CSV, COLUMNS, [ROW])
            assert held.read() == "his"
    finally:
        os.umask(before)
    assert file.read_text().startswith("text,")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_link_is_replaced_and_lends_no_mode(tmp_path: Path) -> None:
    other, link = tmp_path / "other", tmp_path / "f.csv"
    other.write_text("before")
    other.chmod(0o644)
    link.symlink_to(other)
    write_file(link, Format.CSV, COLUMNS, [ROW])
    assert other.read_text() == "before"
    assert not link.is_symlink()
    assert link.stat().st_mode & 0o777 == 0o600


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    """As root, `--out /dev/null` would be the end of it."""
    pipe = tmp_path / "f.csv"
    os.mkfifo(pipe)
    with pytest.raises(WrongUse, match="is a device or a pipe, which a file would replace"):
        write_file(pipe, Format.CSV, COLUMNS, [ROW])
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def rows_during(act: Callable[[], object]) -> Iterator[Row]:
    """Rows of which one is written before something happens to the target or its folder."""
    yield ("a",)
    act()
    yield ("b",)


ONE_COLUMN = [Column("name", Kind.TEXT)]


def test_a_file_that_is_written_again_keeps_no_setuid(tmp_path: Path) -> None:
    file = tmp_path / "spend.csv"
    file.touch()
    file.chmod(0o4777)
    write_file(file, Format.CSV, ONE_COLUMN, [("a",)])
    assert stat.S_IMODE(file.stat().st_mode) == 0o777


def test_a_pipe_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "spend.csv"
    with pytest.raises(WrongUse, match="a device or a pipe"):
        write_file(pipe, Format.CSV, ONE_COLUMN, rows_during(lambda: os.mkfifo(pipe)))
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_that_appears_meanwhile_lends_no_mode(tmp_path: Path) -> None:
    file, other = tmp_path / "spend.csv", tmp_path / "other"
    file.touch(0o644)
    other.touch()
    other.chmod(0o666)

    def swap() -> None:
        file.unlink()
        file.symlink_to(other)

    write_file(file, Format.CSV, ONE_COLUMN, rows_during(swap))
    assert (stat.S_IMODE(file.lstat().st_mode), file.is_symlink()) == (0o600, False)
    assert other.read_bytes() == b""


def test_a_folder_that_is_swapped_meanwhile_keeps_no_rows(tmp_path: Path) -> None:
    folder, moved = tmp_path / "out", tmp_path / "moved"
    folder.mkdir()

    def swap() -> None:
        folder.rename(moved)
        folder.mkdir()

    with pytest.raises(StaxError, match="its folder was moved or replaced"):
        write_file(folder / "spend.csv", Format.CSV, ONE_COLUMN, rows_during(swap))
    assert [*folder.iterdir(), *moved.iterdir()] == []


def test_parquet_has_exact_types(tmp_path: Path) -> None:
    write_file(tmp_path / "f.parquet", Format.PARQUET, COLUMNS, [ROW, EMPTY])
    table = pq.read_table(tmp_path / "f.parquet")
    assert table.schema.types == [
        pa.string(), pa.decimal128(38, 18), pa.int64(), pa.date32(), pa.timestamp("us", tz="UTC"), pa.bool_(),
    ]  # fmt: skip
    assert [tuple(row.values()) for row in table.to_pylist()] == [ROW, EMPTY]


@pytest.mark.parametrize("form", Format)
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, form: Format) -> None:
    def broken() -> Iterator[Any]:
        yield ROW
        raise KeyboardInterrupt

    target = tmp_path / "f"
    target.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write_file(target, form, COLUMNS, broken())
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]
    write_file(target, form, COLUMNS, [ROW])
    assert b"=1+1" in target.read_bytes()
    assert list(tmp_path.iterdir()) == [target]


def test_where_no_file_can_be_is_said_before_any_row_is_read(tmp_path: Path) -> None:
    def never() -> Iterator[Any]:
        pytest.fail("a row was read")
        yield ROW

    with pytest.raises(WrongUse, match="is a folder"):
        write_file(tmp_path, Format.CSV, COLUMNS, never())
    with pytest.raises(WrongUse, match="there is no folder"):
        write_file(tmp_path / "missing" / "f.csv", Format.CSV, COLUMNS, never())


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    def full() -> Iterator[Any]:
        raise OSError(28, "No space left on device")
        yield ROW

    with pytest.raises(StaxError, match=r"f.csv cannot be written: No space left on device\.$"):
        write_file(tmp_path / "f.csv", Format.CSV, COLUMNS, full())
