"""The first day of an installation: kept in its home, moved back on request, where the UI's partitions begin."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.installation.first_day import move_first_day, note_first_day
from stax_pipeline.installation.settings import Settings, first_day_file, read_settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def of(home: Path, **environment: str) -> Settings:
    return read_settings({"STAX_HOME": str(home), **environment})


def days_ago(days: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=days)


def test_a_new_installation_begins_62_days_before_it_is_made_and_stays_there(home: Path) -> None:
    before, found, after = days_ago(62), of(home).start_date, days_ago(62)
    assert before <= found <= after
    first_day_file(home).parent.mkdir()
    first_day_file(home).write_text("2026-01-31\n")
    note_first_day(of(home))
    assert of(home).start_date == date(2026, 1, 31)


def test_it_is_written_when_the_installation_is_made(home: Path) -> None:
    made = of(home)
    note_first_day(made)
    assert first_day_file(home).read_text() == f"{made.start_date}\n"
    assert [file.name for file in home.iterdir()] == ["first_day"]


def test_it_moves_back_and_never_forward(home: Path) -> None:
    move_first_day(of(home), days_ago(90))
    assert of(home).start_date == days_ago(90)
    move_first_day(of(home), days_ago(10))
    assert of(home).start_date <= days_ago(90)


def test_the_setting_goes_before_the_file(home: Path) -> None:
    move_first_day(of(home), date(2026, 1, 1))
    assert of(home, STAX_START_DATE="2026-03-01").start_date == date(2026, 3, 1)


@pytest.mark.parametrize("written", ["", "yesterday", "2026-02-30", "\x00"])
def test_a_damaged_file_is_named(home: Path, written: str) -> None:
    home.mkdir()
    first_day_file(home).write_text(written)
    with pytest.raises(WrongUse, match=r"first_day is not usable: it must hold a date like 2025-08-18"):
        of(home)


def test_partitions_begin_there_and_nobody_asks_a_database(home: Path) -> None:
    home.mkdir()
    first_day_file(home).write_text("2026-08-09\n")
    code = (
        "from stax_pipeline.assets.partitions import DAILY; print(DAILY.start.date(), DAILY.get_first_partition_key())"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STAX_")}
    environment = {**kept, "STAX_HOME": str(home), "STAX_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["2026-08-09", "2026-08-09"]
