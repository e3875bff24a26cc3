"""What is handed from fetching to publishing is bounded by the memory that it takes, of many small tenants too."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import pyarrow as pa
import pytest

from stax_pipeline.derive.normalise import Normalised
from stax_pipeline.pipeline.arrived import COLUMN_BYTES, Arrived

DAY, NEXT = date(2026, 11, 1), date(2026, 11, 2)


def lines(rows: int, columns: int = 20) -> Normalised:
    """The same table four times, half of its rows of each day."""
    days = pa.array([DAY, NEXT] * (rows // 2), pa.date32())
    table = pa.table({"usage_date": days, **{f"c{n}": pa.array(["text"] * rows) for n in range(columns - 1)}})
    return Normalised(table, table, table, table, frozenset({DAY}))


def test_lines_are_handed_on_once_and_for_the_days_asked_for() -> None:
    arrived, key = Arrived(), UUID(int=1)
    arrived.put(key, lines(4))
    found = arrived.take(key, [NEXT])
    assert found and found.usage_lines["usage_date"].to_pylist() == [NEXT, NEXT]
    assert found.key_days == frozenset()
    assert arrived.take(key, [DAY]) is None


@pytest.mark.parametrize("rows", [0, 2, 2_000])
def test_what_is_held_stays_within_the_limit_however_small_its_parts_are(rows: int) -> None:
    made, limit = lines(rows), 8 << 20
    arrived = Arrived(limit)
    for n in range(300):
        arrived.put(UUID(int=n), made)
    held = sum(arrived.take(UUID(int=n), [DAY]) is not None for n in range(300))
    each = made.nbytes + COLUMN_BYTES * 4 * 20
    assert held == limit // each < 300


def test_what_was_taken_makes_room() -> None:
    made = lines(2)
    arrived = Arrived(COLUMN_BYTES * 4 * 20 + made.nbytes)
    for n in range(5):
        arrived.put(UUID(int=n), made)
        assert arrived.take(UUID(int=n), [DAY])
