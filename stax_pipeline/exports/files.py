"""Rows into one Parquet or CSV file that appears whole or not at all.

Belongs here: how each kind of value is written, and the way from a temporary file to its name. Stays out: which rows
(`exports.contents`) and the lake's daily files (`lake.parquet`).
"""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from stax_pipeline.domain.csv_text import csv_line, defused
from stax_pipeline.domain.errors import StaxError, WrongUse
from stax_pipeline.domain.money import SCALE
from stax_pipeline.installation.ownership import is_ours

BATCH = 10_000
PRIVATE, PERMISSIONS = 0o600, 0o777


class Format(StrEnum):
    PARQUET = "parquet"
    CSV = "csv"


class Kind(StrEnum):
    """What a column holds; the name is that of the type in Postgres."""

    TEXT = "text"
    NUMERIC = "numeric"
    COUNT = "bigint"
    DAY = "date"
    INSTANT = "timestamptz"
    FLAG = "boolean"


class Column(NamedTuple):
    name: str
    kind: Kind


ARROW = {
    Kind.TEXT: pa.string(),
    Kind.NUMERIC: pa.decimal128(38, SCALE),
    Kind.COUNT: pa.int64(),
    Kind.DAY: pa.date32(),
    Kind.INSTANT: pa.timestamp("us", tz="UTC"),
    Kind.FLAG: pa.bool_(),
}
Row = Sequence[Any]
Write = Callable[[list[Row]], None]


def write_file(target: Path, form: Format, columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """Write `rows` to `target`, in the place of whatever file was there; returns how many there were.

    A file of our own keeps its mode; any other is private, and nothing is ever written into a file that was there.
    Raises WrongUse where there can be no such file, StaxError when writing fails; the old file then stands.
    """
    if target.is_dir():
        raise WrongUse(f"--out {target} is a folder; name a file in it.")
    if not target.parent.is_dir():
        raise WrongUse(f"--out {target}: there is no folder {target.parent}.")
    name, temporary = target.name, f".{target.name}.{uuid.uuid4().hex}"
    with _folder(target) as folder:
        _mode_for(target, folder)
        try:
            with _plain(target), _private(temporary, folder) as out:
                count = _write(out, form, columns, rows)
                out.flush()
                os.fsync(out.fileno())
                _same_folder(target, folder)
                os.fchmod(out.fileno(), _mode_for(target, folder))
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
    return count


@contextmanager
def _folder(target: Path) -> Iterator[int]:
    """The folder itself, whatever becomes of its name meanwhile."""
    with _plain(target):
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


def _same_folder(target: Path, folder: int) -> None:
    try:
        same = os.path.samestat(target.parent.stat(), os.fstat(folder))
    except FileNotFoundError:
        same = False
    if not same:
        raise StaxError(f"{target} was not written: its folder was moved or replaced meanwhile. Run it again.")


def _mode_for(target: Path, folder: int) -> int:
    """That of a file of our own, without setuid and its like; private for a new one, another account's or a link.

    Raises WrongUse for what is no file.
    """
    try:
        found = os.stat(target.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return PRIVATE
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        raise WrongUse(
            f"--out {target} is a device or a pipe, which a file would replace; without --out, or with "
            "--out -, CSV goes to standard output."
        )
    return found.st_mode & PERMISSIONS if stat.S_ISREG(found.st_mode) and is_ours(found) else PRIVATE


def _private(name: str, folder: int) -> IO[bytes]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.fdopen(os.open(name, flags, PRIVATE, dir_fd=folder), "wb")


def write_standard_output(columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """Write `rows` as CSV to standard output, once they are all there; returns how many there were."""
    with tempfile.TemporaryFile() as out:
        count = _write(out, Format.CSV, columns, rows)
        out.seek(0)
        shutil.copyfileobj(out, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    return count


def _write(out: IO[bytes], form: Format, columns: Sequence[Column], rows: Iterable[Row]) -> int:
    count = 0
    add = _parquet if form is Format.PARQUET else _csv
    with add(out, columns) as write:
        remaining = iter(rows)
        while batch := list(islice(remaining, BATCH)):
            write(batch)
            count += len(batch)
    return count


@contextmanager
def _parquet(out: IO[bytes], columns: Sequence[Column]) -> Iterator[Write]:
    schema = pa.schema([pa.field(column.name, ARROW[column.kind]) for column in columns])
    with pq.ParquetWriter(out, schema, compression="zstd", write_page_checksum=True) as writer:

        def write(batch: list[Row]) -> None:
            values = zip(*batch, strict=True)
            arrays = [
                pa.array([_text(value) for value in of_column] if kind is Kind.TEXT else of_column, type=ARROW[kind])
                for (_, kind), of_column in zip(columns, values, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))

        yield write


@contextmanager
def _csv(out: IO[bytes], columns: Sequence[Column]) -> Iterator[Write]:
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    text.write(csv_line(column.name for column in columns))
    try:
        yield lambda batch: text.writelines(csv_line(map(cell, row)) for row in batch)
    finally:
        text.detach()  # flushes, and leaves the file open


def cell(value: Any) -> str:
    """A value as CSV holds it: NULL empty, decimals in full with a point, UTC instants, no formulas."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date | int):
        return str(value)
    return defused(_text(value) or "")


def decimal_text(value: Decimal) -> str:
    """All digits and no exponent; a whole number keeps `.0`, so that readers see a decimal column."""
    whole, _, decimals = f"{value:f}".partition(".")
    return f"{whole}.{decimals.rstrip('0') or '0'}"


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, dict | list) else str(value)


@contextmanager
def _plain(target: Path) -> Iterator[None]:
    """A full disk or a closed folder in one line."""
    try:
        yield
    except OSError as fault:
        raise StaxError(f"{target} cannot be written: {fault.strerror or fault}.") from None
