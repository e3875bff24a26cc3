"""Text in a CSV file that a spreadsheet may open: shown as it is, never run as a formula.

Stays out: how numbers and instants are written, which each writer of CSV decides.
"""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet takes for a formula at the start of a cell


def defused(text: str) -> str:
    """`text`, behind an apostrophe where a spreadsheet would run it: names and descriptions come from the source."""
    return f"'{text}" if text.startswith(FORMULA) else text
