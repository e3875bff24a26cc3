"""Objects of the lake: created once, whole or not at all, and nowhere but below its folder."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.resources.lake.store import Lake, ObjectMissing


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def left_over(tmp_path: Path) -> list[Path]:
    return [file for file in (tmp_path / "lake" / ".tmp").rglob("*") if file.is_file()]


class TestPut:
    def test_what_was_put_is_got(self, lake: Lake, tmp_path: Path) -> None:
        lake.put_new("raw/a/b.zst", b"\x00 data")
        assert lake.get("raw/a/b.zst") == b"\x00 data"
        assert left_over(tmp_path) == []

    def test_an_object_is_never_overwritten(self, lake: Lake, tmp_path: Path) -> None:
        lake.put_new("raw/a", b"first")
        with pytest.raises(FileExistsError):
            lake.put_new("raw/a", b"second")
        assert lake.get("raw/a") == b"first"
        assert left_over(tmp_path) == []

    def test_replace_moves_the_finished_file(self, lake: Lake, tmp_path: Path) -> None:
        for content in (b"old", b"new"):
            file = lake.scratch() / "unfinished"
            file.write_bytes(content)
            lake.replace("t/part-0.parquet", file)
        assert lake.get("t/part-0.parquet") == b"new"
        assert left_over(tmp_path) == []

    def test_a_write_that_breaks_leaves_nothing(
        self, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            lake.put_new("raw/a", b"data")
        with pytest.raises(ObjectMissing):
            lake.get("raw/a")
        assert left_over(tmp_path) == []

    def test_a_folder_that_cannot_be_made_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(CannotStart, match="STAX_LAKE_URL"):
            Lake(str(tmp_path / "file" / "lake")).put_new("raw/a", b"")

    def test_folders_are_private(self, lake: Lake, tmp_path: Path) -> None:
        lake.put_new("raw/a", b"")
        assert (tmp_path / "lake").stat().st_mode & 0o077 == 0


class TestPaths:
    @pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "raw/../../outside", "raw/../../../x/y"])
    def test_no_path_leads_out(self, lake: Lake, tmp_path: Path, path: str) -> None:
        for use in (lambda: lake.put_new(path, b"x"), lambda: lake.get(path), lambda: lake.delete_folder(path)):
            with pytest.raises(ValueError, match="not a lake path"):
                use()
        assert not (tmp_path / "outside").exists()


class TestDelete:
    def test_a_folder_goes_with_all_its_objects_and_no_other(self, lake: Lake) -> None:
        for path in ("raw/r/tenant=a/1", "raw/r/tenant=a/x/2", "raw/r/tenant=ab/1"):
            lake.put_new(path, b"")
        assert lake.delete_folder("raw/r/tenant=a") == 2
        assert lake.delete_folder("raw/r/tenant=a") == 0
        assert lake.get("raw/r/tenant=ab/1") == b""
        with pytest.raises(ObjectMissing, match="restore it"):
            lake.get("raw/r/tenant=a/1")


class TestObjectStorage:
    """`memory://` stands for a bucket: the same rules by the same calls."""

    def test_put_get_and_refusal(self) -> None:
        lake = Lake("memory://")
        lake.put_new("raw/a", b"first")
        with pytest.raises(FileExistsError):
            lake.put_new("raw/a", b"second")
        assert lake.get("raw/a") == b"first"
        with pytest.raises(ObjectMissing):
            lake.get("raw/b")
        assert lake.delete_folder("raw") == 1


def test_what_a_killed_process_left_is_swept_after_a_day_and_nothing_else(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    lake.put_new("raw/kept", b"whole")
    old, fresh = lake.scratch() / "old.parquet", lake.scratch() / "fresh.parquet"
    for file in (old, fresh):
        file.write_bytes(b"half")
    yesterday = time.time() - timedelta(hours=25).total_seconds()
    os.utime(old, (yesterday, yesterday))

    assert lake.sweep(timedelta(days=1)) == 1
    assert [file.name for file in lake.scratch().iterdir()] == ["fresh.parquet"]
    assert lake.get("raw/kept") == b"whole"
