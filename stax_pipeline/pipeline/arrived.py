"""What a run fetched and has not published yet, handed from the one step to the other."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from stax_pipeline.derive.normalise import Normalised

COLUMN_BYTES = 1_700
"""What a column takes beside its values, however few they are (measured of Arrow 26)."""


class Arrived:
    """The lines of extractions of this run that were not published yet, so that their pages are read once.

    What does not fit into `limit` bytes is let go and read again from the raw pages.
    """

    def __init__(self, limit: int = 128 << 20) -> None:
        self._free = limit
        self._held: dict[UUID, tuple[int, Normalised]] = {}

    def put(self, extraction_id: UUID, lines: Normalised) -> None:
        """Keep the lines if there is room for them."""
        size = _size(lines)
        if size <= self._free:
            self._free -= size
            self._held[extraction_id] = size, lines

    def take(self, extraction_id: UUID, days: list[date]) -> Normalised | None:
        """The extraction's lines of these days, once; None where they are not here."""
        if extraction_id not in self._held:
            return None
        size, lines = self._held.pop(extraction_id)
        self._free += size
        return lines.on(days)


def _size(lines: Normalised) -> int:
    """Bytes of memory: of many small tenants the columns themselves are the most of it."""
    return lines.nbytes + COLUMN_BYTES * sum(table.num_columns for table in lines[:4])
