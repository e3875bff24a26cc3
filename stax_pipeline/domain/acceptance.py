"""Findings that an operator accepts for a tenant: known, explained by a note, and no longer told for these days."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple


class Acceptance(NamedTuple):
    """One check's finding on these UTC days, both included; `effective_to` is None without an end."""

    check_name: str
    effective_from: date
    effective_to: date | None
    note: str

    def covers(self, day: date) -> bool:
        return self.effective_from <= day and (self.effective_to is None or day <= self.effective_to)
