"""No cell of a CSV file runs as a formula, whichever separator the spreadsheet takes."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stax_pipeline.domain.csv_text import csv_line, defused

SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"
TEXT = st.text(st.sampled_from("=-+@\uff1d;\t\r\n \"'a1"), max_size=12)
OTHER_SPREADSHEETS = {"semicolons": r"[;\r\n]", "tabs": r"[\t\r\n]", "both": r"[;\t\r\n]"}


def pieces(text: str, separators: str) -> list[str]:
    """The cells of a file as a spreadsheet sees them that takes other separators and so no quotation for one."""
    return [piece.lstrip(' "') for piece in re.split(separators, text)]


@given(TEXT)
@example("a;=1+1")
@example('x;"=1+1"')
@example("a\n=1")
@example("\uff1d1")
def test_no_beginning_of_a_cell_is_a_sign(text: str) -> None:
    line = csv_line(["name", defused(text)])
    [[_, cell]] = csv.reader(io.StringIO(line, newline=""))
    assert not cell.startswith(tuple(SIGNS))
    for separators in OTHER_SPREADSHEETS.values():
        assert [one for one in pieces(line, separators) if one.startswith(tuple(SIGNS))] == []


@given(TEXT)
def test_nothing_but_apostrophes_is_added(text: str) -> None:
    assert defused(text).replace("'", "") == text.replace("'", "")


@pytest.mark.parametrize("unseen", ["\xa0", "\ufeff", "\u200b", "\0", "\v", "\u2028", " ", "\xa0\ufeff", "\u3000"])
@pytest.mark.parametrize("before", ["", "a;", "a\n", "a|"])
def test_nothing_unseen_hides_a_sign(unseen: str, before: str) -> None:
    for sign in SIGNS:
        told = defused(f"{before}{unseen}{sign}1")
        assert told.startswith("'") or f"'{sign}1" in told


@pytest.mark.parametrize("separator", ["|", "\v", "\f", "\u2028", "\u2029", "\x85", ";", "\t"])
def test_a_sign_after_any_separator_is_defused(separator: str) -> None:
    assert defused(f"a{separator}=1") == f"a{separator}'=1"


@pytest.mark.parametrize("sign", ["\u2212", "\ufe66", "\ufe62", "\ufe63", "\ufe6b"])
def test_look_alikes_of_signs_are_defused(sign: str) -> None:
    assert defused(f"{sign}1+1") == f"'{sign}1+1"


@pytest.mark.parametrize(
    "text", ["", "Acme", "a-b", "1 = 1", "x@example.org", "a; b", "a|b", "a\xa0= 1", "Jan\nFeb", '{"a": "-b"}']
)
def test_what_no_spreadsheet_runs_stays_as_it_is(text: str) -> None:
    assert defused(text) == text


@given(st.lists(TEXT, min_size=1, max_size=3))
@example([""])
@example(["a\rb"])
def test_a_row_is_one_row_for_every_reader(cells: list[str]) -> None:
    assert list(csv.reader(io.StringIO(csv_line(cells), newline=""), strict=True)) == [cells]
