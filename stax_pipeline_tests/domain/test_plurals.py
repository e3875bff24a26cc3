"""Counts in words."""

from __future__ import annotations

import pytest

from stax_pipeline.domain.plurals import count_of


@pytest.mark.parametrize(
    ("number", "words", "told"),
    [
        (0, ("stored key",), "0 stored keys"),
        (1, ("violation",), "1 violation"),
        (1234, ("row",), "1,234 rows"),
        (1, ("process", "processes"), "1 process"),
        (2, ("process", "processes"), "2 processes"),
    ],
)
def test_one_is_one_and_the_rest_are_many(number: int, words: tuple[str, ...], told: str) -> None:
    assert count_of(number, *words) == told
