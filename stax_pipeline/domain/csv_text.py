"""Text in a CSV file that a spreadsheet may open: shown as it is, never run as a formula.

A spreadsheet may take `;`, `|` or a tab for the separator, and a line break inside a cell for the end of the row: what
follows one of them begins a cell too. What is not seen (blanks of every kind, controls, a byte order mark) hides no
sign. Stays out: how numbers and instants are written, which each writer decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SIGNS = (
    r"\-=+@\u2212\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20"  # look-alikes are read as the plain ones by some
)
_SEPARATORS = r";|\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029"
_UNSEEN = r" \x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\xa0\xad\u1680\u2000-\u200f\u202a-\u202f\u205f-\u206f\u3000\ufeff"
_QUOTE = '"'
_TO_QUOTE = re.compile('[,;"\t\r\n]')
_BEGINNING = re.compile(rf"^(?=[{_UNSEEN}]*[{_SIGNS}]|[\t\r\n])")
_INSIDE = re.compile(rf"([{_SEPARATORS}][{_UNSEEN}\"']*)(?=[{_SIGNS}])")


def defused(text: str) -> str:
    """`text`, with an apostrophe wherever a spreadsheet would begin to run it: names come from the source."""
    return _BEGINNING.sub("'", _INSIDE.sub(r"\1'", text))


def csv_line(cells: Iterable[str]) -> str:
    """One row. Python's own writer leaves a lone CR without quotes, which begins another row for most readers."""
    row = ",".join(f'"{cell.replace(_QUOTE, _QUOTE * 2)}"' if _TO_QUOTE.search(cell) else cell for cell in cells)
    return f"{row or _QUOTE * 2}\n"
