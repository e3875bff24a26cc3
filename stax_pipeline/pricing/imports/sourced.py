"""Values with the rows they were read from, so that a mistake found later still names its row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

from stax_pipeline.domain.errors import Overlap
from stax_pipeline.pricing.imports.table import BadInput, Row

Value = TypeVar("Value", bound=tuple[Any, ...])


class Sourced(NamedTuple, Generic[Value]):
    """`note` says what was changed in the row, '' when nothing was; `tenant` is its slug, '' where none is named."""

    row: Row
    value: Value
    note: str = ""
    tenant: str = ""


def refuse_repeated(sourced: Iterable[Sourced[Any]], key: Callable[[Any], Any], words: str) -> None:
    """Raises BadInput when two rows are the same in what `key` takes from them; `words` name it."""
    seen: dict[object, int] = {}
    for one in sourced:
        first = seen.setdefault(key(one), one.row.number)
        if first != one.row.number:
            raise one.row.bad(None, f"each {words} once", f"the same as in row {first}")


def overlap_by_row(fault: Overlap, sourced: Sequence[Sourced[Any]]) -> BadInput:
    """An overlap by the rows of the file, or by what is on record where one of the two is not in it."""
    numbers = {one.value: one for one in sourced}
    later, earlier = sorted((fault.first, fault.second), key=lambda value: -_number(numbers.get(value)))
    here, other = numbers[later], numbers.get(earlier)
    where = f"row {other.row.number}" if other else "what is on record"
    found = f"{describe(later)}, which overlaps {where}, {describe(earlier)}: both {fault.why}"
    return here.row.bad(None, fault.advice, found)


def _number(one: Sourced[Any] | None) -> int:
    return one.row.number if one else 0


def describe(value: Any) -> str:
    """A row in words: its columns that hold something."""
    return "(" + ", ".join(f"{name} {plain(part)}" for name, part in value._asdict().items() if part is not None) + ")"


def plain(part: object) -> str:
    return f"{part:f}" if isinstance(part, Decimal) else str(part)
