"""Days, and how many of them, as options take them: types for click that refuse in our own words."""

from __future__ import annotations

from datetime import date

import click

from stax_pipeline.pricing.imports.table import excerpt, parse_day

MOST_DAYS = 365


def day(text: str) -> date:
    """A UTC day written YYYY-MM-DD. Raises BadParameter."""
    found = parse_day(text)
    if found is None:
        raise click.BadParameter(f"{excerpt(text)} is no day: expected a UTC day such as 2026-11-20.")
    return found


def days(text: str | int) -> int:
    """A number of days. Raises BadParameter."""
    shown = str(text)
    if not (shown.isascii() and shown.isdigit() and len(shown) < 5 and 1 <= int(shown) <= MOST_DAYS):
        raise click.BadParameter(f"{excerpt(shown)} is no number of days: expected 1 to {MOST_DAYS}.")
    return int(shown)
