"""What Python's JSON reader bends in silence is refused; what is whole comes back exactly."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.anthropic.strict_json import MAX_DEPTH, loads
from stax_pipeline.domain.errors import ContractBroken

storable_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25) + 1, 10**25 - 1) | storable_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(storable_text, inner, max_size=4),
    max_leaves=20,
)


@given(documents, st.booleans())
def test_a_sound_document_comes_back_as_it_was(document: object, ascii_only: bool) -> None:
    assert loads(json.dumps(document, ensure_ascii=ascii_only)) == document


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12))
def test_a_number_with_a_point_keeps_every_digit(number: Decimal) -> None:
    assert str(loads(f"{number:f}")) == str(Decimal(f"{number:f}"))


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        loads(text)
    except ContractBroken as broken:
        assert len(str(broken)) < 200
        assert broken.__context__ is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "NaN"),
        ('{"a": -Infinity}', "-Infinity"),
        ('{"a": 1, "b": 2, "a": 1}', "'a' occurs twice"),
        ('[{"x": {"a": 1, "a": 2}}]', "'a' occurs twice"),
        ("1" * 26, "more than 25 digits"),
        ("-" + "1" * 26, "more than 25 digits"),
        ("1" * 5000, "more than 25 digits"),
        ("1." + "1" * 200, "a number of 202 characters"),
        ("1e999999999999999999999", "out of range"),
        ("[" * 100_000 + "]" * 100_000, "nested deeper"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested deeper"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested deeper"),
        (r'["\ud800"]', "half a surrogate"),
        (r'{"\udc00": 1}', "half a surrogate"),
        (r'["\u0000"]', "NUL"),
        ("", "not valid JSON"),
        ('{"a": 1', "not valid JSON"),
        ("<html>", "not valid JSON"),
        ("\ufeff{}", "not valid JSON"),
    ],
)
def test_refuses(text: str, reason: str) -> None:
    with pytest.raises(ContractBroken, match=reason) as caught:
        loads(text)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("text", ["1" * 25, "-" + "1" * 25, "[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH, r'"\ud83d\ude00"'])
def test_accepts_the_largest_that_is_allowed(text: str) -> None:
    assert loads(text) is not None


def test_a_reason_holds_a_short_excerpt_at_most() -> None:
    with pytest.raises(ContractBroken) as caught:
        loads(json.dumps({"x" * 1000: 1})[:-1] + ',"' + "x" * 1000 + '": 2}')
    assert "x" * 41 not in str(caught.value)
