"""The first UTC day that an installation may fetch: a file in its home, written once, moved back when somebody asks.

The UI's partitions begin there. It is never read from the database, so that Dagster's processes start without one.
Reading it is the settings' business, where STAX_START_DATE goes before it.
"""

from __future__ import annotations

from datetime import date
from uuid import uuid4

from stax_pipeline.installation.settings import Settings, first_day_file


def note_first_day(settings: Settings) -> None:
    """Keep the installation's first day from now on, if none is kept."""
    if not first_day_file(settings.home).exists():
        _write(settings, settings.start_date)


def move_first_day(settings: Settings, day: date) -> None:
    """Begin at `day`, if the installation does not begin before it."""
    if day < settings.start_date:
        _write(settings, day)


def _write(settings: Settings, day: date) -> None:
    """The whole file or none."""
    file = first_day_file(settings.home)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = file.with_name(f".{file.name}.{uuid4().hex}")
    beside.write_text(f"{day}\n")
    beside.replace(file)
