"""`stax backup` and `stax restore` as an operator uses them: what they say, their exit codes, and the way back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.extraction import Window
from stax_pipeline_tests.cli.support import Stax
from stax_pipeline_tests.conftest import Installation, passable_home
from stax_pipeline_tests.pipeline.support import content, query, sync, two_tenants

NOW = datetime.now(UTC)
RECENT = Window(NOW.date() - timedelta(days=2), NOW.date() + timedelta(days=1))


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    """Two tenants, synced, and the environment set to them."""
    with two_tenants(stax_home, now=NOW) as installation:
        assert sync(installation, RECENT).failures == {}
        yield installation


def test_the_way_there_and_back(
    stax: Stax, made: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stax("grant", "kept_finance", "globex", "acme").code == 0
    kept, before = tmp_path / "stax.tar.zst", content(made)
    written = stax("backup", str(kept))
    assert written.code == 0, written.err
    assert f"Wrote {kept}: 2 tenants, " in written.out
    assert "is NOT in it. Keep a copy of " + str(made.home / "master.key") in written.out

    refused = stax("restore", str(kept))
    assert (refused.code, refused.out) == (2, "")
    assert "There are tenants here already" in refused.err
    assert content(made) == before

    with passable_home() as home:
        monkeypatch.setenv("STAX_HOME", str(home))
        restored = stax("restore", str(kept))
        assert restored.code == 0, restored.err
        assert "Put the master key back (" in restored.out
        assert "to have it again: stax grant kept_finance acme globex\n" in restored.out
        assert "Run `stax verify`" in restored.out
        assert not (home / "master.key").exists()
        verified = stax("verify")
        assert (verified.code, verified.out.splitlines()[-1]) == (0, "Everything holds."), verified.said
        shutil.rmtree(home / "lake" / "spend")
        lacking = stax("verify")
        assert lacking.code == 1
        assert f"parquet_holds_the_rows: table spend, usage_date {RECENT.start}: there is no file" in lacking.err
        [command] = re.findall(r"parquet_holds_the_rows: `stax (.*?)` writes these files anew", lacking.err)
        assert stax(*command.split()).code == 0
        assert stax("verify").out.endswith("Everything holds.\n")
        shutil.copy(made.home / "master.key", home / "master.key")
        assert stax("tenants").code == 0
        assert stax("grant", "kept_finance", "acme", "globex").code == 0
        with sa.create_engine(stax("url", "--role", "kept_finance").out.strip()).connect() as reader:
            assert set(reader.exec_driver_sql("select slug from stax.tenants").scalars()) == {"acme", "globex"}


def test_a_raw_object_that_is_gone_is_named_and_the_rest_is_kept(
    stax: Stax, made: Installation, tmp_path: Path
) -> None:
    [name, *_] = sorted(row[0] for row in query(made, "select raw_uri from stax.extractions"))
    raw = Path(made.settings.lake) / name
    data = raw.read_bytes()
    raw.unlink()
    try:
        ended = stax("backup", str(tmp_path / "one"))
    finally:
        raw.write_bytes(data)
    assert ended.code == 1
    assert f"failed: {name}: it was missing from the lake" in ended.err
    assert (tmp_path / "one").exists()


def test_without_raw_objects_it_says_so(
    stax: Stax, made: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = stax("backup", str(tmp_path / "lean"), "--no-raw")
    assert ended.code == 0
    assert "no raw objects (--no-raw)" in ended.out
    with passable_home() as home:
        monkeypatch.setenv("STAX_HOME", str(home))
        lacking = stax("restore", str(tmp_path / "lean"))
        monkeypatch.setenv("STAX_HOME", str(made.home))
    assert lacking.code == 1
    assert re.search(r"failed: raw/\S+: left out on request\n", lacking.err)
    assert "made with --no-raw: set STAX_LAKE_URL to the lake that holds its raw objects, then verify." in lacking.err
    assert stax("backup", str(tmp_path / "whole")).code == 0
    assert (tmp_path / "lean").stat().st_size < (tmp_path / "whole").stat().st_size


@pytest.mark.usefixtures("made")
def test_a_file_that_is_there_is_not_replaced(stax: Stax, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    ended = stax("backup", str(tmp_path / "mine"))
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_backup_of_nothing_is_refused_and_makes_nothing(
    stax: Stax, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAX_HOME", str(tmp_path / "home"))
    ended = stax("backup", str(tmp_path / "one"))
    assert ended.code == 3
    assert "There is no installation in" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["a text", None])
def test_a_file_that_is_no_backup_is_refused_in_one_line_before_anything_is_made(
    stax: Stax, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.setenv("STAX_HOME", str(tmp_path / "home"))
    if given:
        (tmp_path / "other").write_text(given)
    ended = stax("restore", str(tmp_path / "other"))
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "home").exists()


def test_what_is_restored_can_be_fetched_again(
    stax: Stax, made: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The days of a new home begin 62 days before; those of the backup may begin earlier."""
    old = Window(NOW.date() - timedelta(days=100), NOW.date() - timedelta(days=99))
    assert sync(made, old).failures == {}
    kept = tmp_path / "stax.tar.zst"
    assert stax("backup", str(kept)).code == 0
    with passable_home() as home:
        monkeypatch.setenv("STAX_HOME", str(home))
        restored = stax("restore", str(kept))
        assert restored.code == 0, restored.err
        assert (home / "first_day").read_text() == f"{old.start}\n"
