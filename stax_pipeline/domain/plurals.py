"""Counts in words, the same wherever people read them."""

from __future__ import annotations


def count_of(number: int, one: str, many: str | None = None) -> str:
    """Such as `1 row`, `1,234 rows` or `2 processes`; `many` where the plural is not `one` and an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def progress_of(stage: str, done: int, total: int, unit: str, failed: int) -> str:
    """Such as `extracting cost_report: 9 of 10 pages, 1 tenant failed`."""
    told = f"{stage}: {done} of {total} {unit}"
    return f"{told}, {count_of(failed, 'tenant')} failed" if failed else told
