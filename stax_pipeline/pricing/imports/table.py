"""A table of named columns from CSV or YAML, strict in every value and tolerant of how spreadsheets save.

A row's number is that of a spreadsheet in CSV (the header is row 1), and the place in the list in YAML. YAML is read
as plain text, so that no number passes through a binary float; aliases, nesting and several documents are refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

from stax_pipeline.anthropic.fields import MAX_TEXT
from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.money import ZERO

MAX_BYTES = 10_000_000
MAX_USD_PER_UNIT = Decimal(10**6)
PLAIN = "a plain decimal such as 1234.56: no $, no thousands separators, no exponent, at most 18 decimals"
Named = tuple[int, Sequence[str], Sequence[str]]  # a row's number, the names of its cells, and the cells

_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,18})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MODEL = re.compile(r"[a-z0-9][a-z0-9.@:_-]{0,199}")
_SHAPE = "a list of rows, each `- column: value` (quote '*')"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class BadInput(WrongUse):
    """A mistake in what the operator handed in. `row` and `column` are None where the whole file, or row, is meant."""

    def __init__(self, file: str, row: int | None, column: str | None, expected: str, found: str = "") -> None:
        self.file, self.row, self.column = file, row, column
        places = [file, f"row {row}" if row else "", f"column {column}" if column else ""]
        stated = [f"found {found}" if found else "", f"expected {expected}" if expected else ""]
        place, problem = (", ".join(filter(None, parts)) for parts in (places, stated))
        super().__init__(f"{place}: {problem}. Nothing was changed.")


class Unreadable(BadInput):
    """The file as a whole says nothing: `problem` is the sentence to say of it."""

    def __init__(self, file: str, row: int | None, problem: str) -> None:
        self.file, self.row, self.column = file, row, None
        WrongUse.__init__(self, f"{file}{f', row {row}' if row else ''}: {problem}. Nothing was changed.")


@dataclass(frozen=True)
class Row:
    """One row's cells by column, '' where it is empty or left out."""

    file: str
    number: int
    cells: Mapping[str, str]

    def bad(self, column: str | None, expected: str, found: str = "") -> BadInput:
        shown = found or (excerpt(self.text(column)) if column else "")
        return BadInput(self.file, self.number, column, expected, shown)

    def text(self, column: str) -> str:
        return self.cells.get(column, "")

    def required(self, column: str, expected: str) -> str:
        if not self.text(column):
            raise self.bad(column, expected)
        return self.text(column)

    def choice(self, column: str, allowed: Collection[str], default: str = "") -> str:
        value = self.text(column) or default
        if value not in allowed:
            raise self.bad(column, f"one of {', '.join(sorted(allowed))}")
        return value

    def model(self, column: str = "model") -> str:
        if not _MODEL.fullmatch(self.text(column)):
            raise self.bad(column, "a model id such as claude-opus-5-5")
        return self.text(column)

    def day(self, column: str) -> date:
        found = parse_day(self.text(column))
        if found is None:
            no_such = f"{excerpt(self.text(column))}, no such day" if _DAY.fullmatch(self.text(column)) else ""
            raise self.bad(column, "a date YYYY-MM-DD", no_such)
        return found

    def decimal(self, column: str, *, most: Decimal | None = None, negative: bool = False) -> Decimal:
        """A plain decimal, from 0 to `most` unless it may be negative. Raises BadInput."""
        found = parse_decimal(self.text(column))
        if found is None or (found < 0 and not negative):
            raise self.bad(column, PLAIN if negative else f"{PLAIN}, not below 0")
        if most is not None and found > most:
            raise self.bad(column, f"at most {most:f}")
        return found

    def count(self, column: str, most: int) -> int:
        """A whole number from 0 to `most`. Raises BadInput."""
        value = self.text(column)
        if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= most):
            raise self.bad(column, f"a whole number from 0 to {most}, without separators")
        return int(value)


class Table(NamedTuple):
    """A file's rows, at least one, and the columns that were not asked for."""

    rows: list[Row]
    ignored: tuple[str, ...]


def parse_decimal(text: str) -> Decimal | None:
    """The exact value of a plain decimal; None for anything else."""
    if not _DECIMAL.fullmatch(text):
        return None
    value = Decimal(text)
    return ZERO if value.is_zero() else value


def parse_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def excerpt(text: str) -> str:
    """A short, harmless quotation."""
    shown = ascii(text if len(text) <= 40 else f"{text[:37]}...") if text else "nothing"
    return shown if len(shown) <= 100 else f"{shown[:97]}...'"


def read_table(
    file: str,
    content: bytes,
    required: Sequence[str],
    optional: Sequence[str] = (),
    *,
    synonyms: Mapping[str, str] | None = None,
    ignore_others: bool = False,
) -> Table:
    """The rows of a CSV, or of a YAML list if `file` ends in .yaml or .yml. `synonyms` are other names of columns.

    Raises BadInput for a file that is too large, not UTF-8, empty, malformed, or whose columns are not those.
    """
    text = _decoded(file, content)
    columns = _Columns(file, required, optional, synonyms or {}, ignore_others)
    rows: list[Row] = []
    ignored: dict[str, None] = {}
    for number, names, values in (_yaml if _is_yaml(file) else _csv)(columns, text):
        cells = dict(zip(names, map(str.strip, values), strict=True))
        for name, value in cells.items():
            if name in columns.asked and not (value.isprintable() and len(value) <= MAX_TEXT):
                raise BadInput(file, number, name, f"at most {MAX_TEXT} printable characters", excerpt(value))
        ignored |= dict.fromkeys(name for name in names if name not in columns.asked)
        if any(cells.values()):
            rows.append(Row(file, number, cells))
    if not rows:
        found = "has a header and no rows" if text.strip() and not _is_yaml(file) else "is empty"
        raise Unreadable(file, None, f"the file {found}: expected at least one row with {', '.join(required)}")
    return Table(rows, tuple(ignored))


def _is_yaml(file: str) -> bool:
    return file.endswith((".yaml", ".yml"))


def _decoded(file: str, content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise BadInput(file, None, None, "a file of at most 10 MB", "a larger one")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        place = content.count(b"\n", 0, fault.start) + 1
    raise Unreadable(file, place, "this is not UTF-8 text (in a spreadsheet: save as CSV UTF-8)")


@dataclass(frozen=True)
class _Columns:
    """Which columns a file may and must have."""

    file: str
    required: Sequence[str]
    optional: Sequence[str]
    synonyms: Mapping[str, str]
    ignore_others: bool

    @cached_property
    def asked(self) -> tuple[str, ...]:
        return (*self.required, *self.optional)

    def checked(self, number: int, given: Sequence[str]) -> list[str]:
        """The names that were given, synonyms replaced. Raises BadInput for one twice, unknown, missing or empty."""
        names = [self.synonyms.get(name, name) for name in map(str.strip, given)]
        held, before = frozenset(names), set[str]()
        for name in names:
            if not name:
                raise BadInput(self.file, number, None, "a name for every column", "an empty one")
            if name in before:
                raise BadInput(self.file, number, excerpt(name), "each column once", "it twice")
            before.add(name)
            right = self.synonyms.get(name.lower(), name.lower())
            if name not in self.asked and right in self.asked and right not in held:
                raise BadInput(self.file, number, None, f"another spelling: write {name.lower()}", excerpt(name))
            if name not in self.asked and not self.ignore_others:
                raise BadInput(self.file, number, excerpt(name), f"only the columns {', '.join(self.asked)}", "another")
        for name in self.required:
            if name not in held:
                raise BadInput(self.file, number, name, f"the columns {', '.join(self.required)}", "no such column")
        return names


def _csv(columns: _Columns, text: str) -> Iterator[Named]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] = []
    number = 0
    try:
        for number, cells in enumerate(reader, start=1):
            if not names and cells:
                if len(cells) == 1 and any(mark in cells[0] for mark in ";\t|"):
                    raise BadInput(columns.file, number, None, "commas between the columns", "another separator")
                names = columns.checked(number, cells)
            elif any(cells):
                if len(cells) != len(names):
                    raise BadInput(columns.file, number, None, f"{len(names)} cells as in the header", f"{len(cells)}")
                yield number, names, cells
        return
    except csv.Error as fault:
        problem = str(fault)
    raise BadInput(columns.file, number + 1, None, "CSV with commas between cells and closed quotes", problem)


def _yaml(columns: _Columns, text: str) -> Iterator[Named]:
    import yaml

    try:
        events = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        next(events)  # the stream's start
        if isinstance(next(events), yaml.DocumentStartEvent):
            yield from _yaml_rows(columns, events)
            next(events)  # the document's end
            if not isinstance(next(events), yaml.StreamEndEvent):
                raise BadInput(columns.file, None, None, f"{_SHAPE}, in one document", "several")
        return
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        problem = f"{str(getattr(fault, 'problem', None) or 'characters that YAML does not allow')[:80]}{line}"
    raise BadInput(columns.file, None, None, _SHAPE, problem)


def _yaml_rows(columns: _Columns, events: Iterator[Any]) -> Iterator[Named]:
    import yaml

    if not isinstance(next(events), yaml.SequenceStartEvent):
        raise BadInput(columns.file, None, None, _SHAPE, "something else")
    number = 0
    while not isinstance(event := next(events), yaml.SequenceEndEvent):
        number += 1
        if not isinstance(event, yaml.MappingStartEvent):
            raise BadInput(columns.file, number, None, _SHAPE, "something else")
        names, values = [], []
        while not isinstance(name := next(events), yaml.MappingEndEvent):
            value = next(events)
            if not isinstance(name, yaml.ScalarEvent) or not isinstance(value, yaml.ScalarEvent):
                raise BadInput(columns.file, number, None, _SHAPE, "a nested value or an alias")
            names.append(name.value)
            values.append("" if value.implicit[0] and value.value in _NULLS else value.value)
        yield number, columns.checked(number, names), values
