"""Counts in words, the same wherever people read them."""

from __future__ import annotations


def count_of(number: int, one: str, many: str | None = None) -> str:
    """Such as `1 row`, `1,234 rows` or `2 processes`; `many` where the plural is not `one` and an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
