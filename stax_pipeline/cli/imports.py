"""What the operator hands in: opened, and what came of it shown row by row."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import click

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.pricing.imports.sourced import describe, plain
from stax_pipeline.pricing.imports.table import MAX_BYTES, excerpt, parse_day
from stax_pipeline.tenants.agreements import Imported
from stax_pipeline.warehouse.versioned_rows import Recorded

STANDARD_INPUT = "standard input"


class Content(NamedTuple):
    """A file's name, as messages call it, and its bytes: one more than may be, when it is too large."""

    name: str
    bytes: bytes


def read_file(file: str, expected: str = "a CSV or YAML file") -> Content:
    """The content of a file, `-` for standard input. Raises WrongUse for one that cannot be read."""
    if file == "-":
        return Content(STANDARD_INPUT, sys.stdin.buffer.read(MAX_BYTES + 1))
    try:
        with Path(file).open("rb") as opened:
            return Content(file, opened.read(MAX_BYTES + 1))
    except (OSError, ValueError) as fault:
        failure = getattr(fault, "strerror", None) or "no such name"
    raise WrongUse(f"{file}: cannot be read ({failure}), expected {expected}. Nothing was changed.")


def show_import(imported: Imported[Any]) -> None:
    """Every row that was written, how many there were, and what makes past days follow."""
    for note in imported.notes:
        click.echo(note, err=True)
    for slug, recorded in imported.recorded.items():
        for line in changes(recorded):
            click.echo(f"{slug}: {line}" if slug else line)
    if any(recorded.changed for recorded in imported.recorded.values()):
        _report_replay()


def show_withdrawn(closed: Sequence[Any], back: Sequence[Any] = ()) -> None:
    """What no longer holds, what holds in its stead, and what makes past days follow."""
    for row in closed:
        click.echo(f"withdrawn {describe(row)}")
    for row in back:
        click.echo(f"shipped again {describe(row)}")
    _report_replay()


def _report_replay() -> None:
    click.echo("Days that are built already keep their figures until `stax replay` prices them anew.", err=True)


def first_day(text: str) -> date:
    """The day FROM of a command line. Raises WrongUse."""
    found = parse_day(text)
    if found is None:
        raise WrongUse(f"FROM {excerpt(text)} is no day: expected YYYY-MM-DD. Nothing was changed.")
    return found


def changes(recorded: Recorded[Any]) -> Iterator[str]:
    for row in recorded.added:
        yield f"added {describe(row)}"
    for old, new in recorded.replaced:
        pairs = zip(new._fields, old, new, strict=True)
        differences = ", ".join(
            f"{name} {_shown(before)} → {_shown(after)}" for name, before, after in pairs if before != after
        )
        yield f"replaced {describe(old)}: {differences}"
    yield f"{len(recorded.added)} added, {len(recorded.replaced)} replaced, {len(recorded.unchanged)} left as they were"


def _shown(part: object) -> str:
    return "none" if part is None else plain(part)


def require_folder(file: str) -> None:
    """Raises WrongUse for a file in a folder that does not exist, before any work for it is done."""
    if not Path(file).parent.is_dir():
        raise WrongUse(f"{file}: cannot be written (its folder does not exist).")


def write_new(file: str, text: str) -> None:
    """Write a file that is not there yet, whole or not at all. Raises WrongUse."""
    path = Path(file)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("x", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.link(temporary, path)
        return
    except OSError as fault:
        failure = fault.strerror or type(fault).__name__
    finally:
        temporary.unlink(missing_ok=True)
    raise WrongUse(f"{file}: cannot be written ({failure}).")
