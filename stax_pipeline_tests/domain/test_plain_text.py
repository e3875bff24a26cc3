"""No text draws on a terminal, and what was escaped can still be read."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.domain.plain_text import plain

OBEYED = ["\x1b[2J", "\x9b1m", "\x07", "\r", "\x7f", "\u202e", "\u2066", "\u200f", "\u2028", "\U000e0041", "\ud800"]


def test_nothing_that_a_terminal_obeys_is_left() -> None:
    for odd in OBEYED:
        assert plain(f"a{odd}b").isprintable()
    assert plain("Łódź 株式 ü – …") == "Łódź 株式 ü – …"
    assert plain("a\n\tb\r", keep="\n\t") == "a\n\tb\\r"


@given(st.text())
def test_json_stays_json_and_says_the_same(text: str) -> None:
    written = plain(json.dumps({"name": text}, ensure_ascii=False))
    assert json.loads(written) == {"name": text}
    assert written.isprintable()
