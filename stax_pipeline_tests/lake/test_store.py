"""Objects of the lake: created once, whole or not at all, and nowhere but below its folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.lake.store import Lake, ObjectMissing, ObjectUnreadable


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
            with pytest.raises(ObjectUnreadable, match="is not a path in the lake"):
                use()
        assert not (tmp_path / "outside").exists()

    def test_no_path_leads_out_of_a_bucket(self) -> None:
        with pytest.raises(ObjectUnreadable, match="is not a path in the lake"):
            Lake("memory://").get("raw/../../outside")

    def test_a_folder_in_an_objects_place_is_that_objects_fault(self, lake: Lake) -> None:
        lake.put_new("raw/a/b", b"")
        with pytest.raises(ObjectUnreadable, match=r"The lake's raw/a cannot be read: Is a directory\."):
            lake.get("raw/a")


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


class Refusing(BaseHTTPRequestHandler):
    """Object storage that says no to everything, as S3 does where there is no such bucket or the key may do nothing."""

    answers: ClassVar[dict[str, tuple[int, str]]] = {
        "none": (404, "<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>"),
        "closed": (403, "<Error><Code>AccessDenied</Code><Message>denied</Message></Error>"),
    }

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        status, words = self.answers[self.path.split("/")[1].partition("?")[0]]
        self.send_response(status)
        self.send_header("content-length", str(len(words)))
        self.end_headers()
        self.wfile.write(words.encode())

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        """Nothing."""


class TestObjectStorageThatRefuses:
    @pytest.fixture(autouse=True)
    def storage(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
            monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
            monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                monkeypatch.setenv(name, "s3cr3t-canary")
            Thread(target=server.serve_forever, daemon=True).start()
            yield
            server.shutdown()

    @pytest.mark.parametrize("bucket", ["none", "closed"])
    def test_it_is_told_in_words(self, bucket: str, tmp_path: Path) -> None:
        lake, file = Lake(f"s3://{bucket}/stax", tmp_path), tmp_path / "file"
        file.write_bytes(b"")
        uses: list[Callable[[], object]] = [
            lambda: list(lake.paths("raw")), lambda: lake.put_new("raw/a", b""), lambda: lake.replace("t/a", file)
        ]  # fmt: skip
        for use in uses + ([lambda: lake.get("raw/a")] if bucket == "closed" else []):
            with pytest.raises(
                CannotStart, match=r"^The lake cannot be (read|written): .* Check STAX_LAKE_URL"
            ) as told:
                use()
            assert "canary" not in str(told.value)
            assert told.value.__cause__ is None

    def test_unfinished_files_lie_in_the_home_and_are_private(self, tmp_path: Path) -> None:
        folder = Lake("s3://none", tmp_path / "home").scratch()
        assert folder.is_relative_to(tmp_path / "home")
        assert {one.stat().st_mode & 0o777 for one in (folder, tmp_path / "home")} == {0o700}


def test_what_a_killed_process_left_is_swept_after_a_day_and_nothing_else(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    lake.put_new("raw/kept", b"whole")
    old, fresh = lake.scratch() / "old.parquet", lake.scratch() / "fresh.parquet"
    for file in (old, fresh):
        file.write_bytes(b"half")
    folder = lake.overflow() / "old"
    folder.mkdir()
    (folder / "spilled").write_bytes(b"half")
    yesterday = time.time() - timedelta(hours=25).total_seconds()
    for left in (old, folder):
        os.utime(left, (yesterday, yesterday))

    assert lake.sweep(timedelta(days=1)) == 2
    assert [file.name for file in lake.scratch().iterdir()] == ["fresh.parquet"]
    assert list(lake.overflow().iterdir()) == []
    assert lake.get("raw/kept") == b"whole"
