"""What Python's JSON reader bends in silence is refused; what is whole comes back exactly."""

from __future__ import annotations

import json
import subprocess
import sys
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


@pytest.mark.parametrize(
    "unit", ["{}", "[]", '""', '{"a":1}', '{"a":{"a":[]}}', '{"starting_at":"","ending_at":"","results":[]}']
)
def test_a_page_that_would_unfold_to_more_than_it_weighs_is_refused_before_it_does(unit: str) -> None:
    """64 MB of empty objects would be 1.5 GB of Python's: a run for everybody must not die of one tenant's page."""
    limited = (
        "import resource, sys\n"
        "from stax_pipeline.anthropic import typed_pages\n"
        "from stax_pipeline.anthropic.strict_json import loads\n"
        "from stax_pipeline.domain.errors import ContractBroken\n"
        "from stax_pipeline.domain.extraction import QueryName, Window\n"
        "from datetime import date\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)\n"
        "unit = sys.argv[1]\n"
        "body = '{\"data\":[' + ','.join([unit] * (60_000_000 // (len(unit) + 1))) + '],\"has_more\":false}'\n"
        "window = Window(date(2026, 11, 1), date(2026, 11, 2))\n"
        "for read in (loads, lambda text: typed_pages.read_report_page(text, window, QueryName.COST)):\n"
        "    try:\n"
        "        read(body)\n"
        "    except ContractBroken as refused:\n"
        "        print(refused)\n"
    )
    ended = subprocess.run([sys.executable, "-c", limited, unit], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    first, second = ended.stdout.splitlines()
    assert first == second
    assert "values, more than the 3000000 that one page may have" in first


def test_a_large_honest_page_is_read() -> None:
    row = {"amount": "1.5", "model": None, "token_type": None, "workspace_id": None, "cost_type": None}
    document = {"data": [row] * 200_000}
    assert loads(json.dumps(document)) == document
