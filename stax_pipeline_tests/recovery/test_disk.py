"""No room, and no permission: the run says so, leaves no half file and loses nothing, and the next run is whole.

The kernel itself refuses: by a limit on the size of files, and where a tmpfs may be mounted (as root) by a real
full disk and a read-only one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.rig.oracle import Content, everything, recovers, run, unfinished, unnamed_raw
from stax_pipeline_tests.rig.stages import Stage, without_room
from stax_pipeline_tests.steps.support import content, query

RAW = Stage("stax_pipeline_tests.rig.oracle:sync")
FILES = Stage("stax_pipeline_tests.rig.oracle:rebuild", nth=4)


@pytest.mark.parametrize(("stage", "published"), [(RAW, False), (FILES, True)], ids=["raw", "Parquet"])
def test_files_that_cannot_grow(made: Installation, expected: Content, stage: Stage, published: bool) -> None:
    assert without_room(stage, 1500)
    assert unfinished(made) == []
    assert unnamed_raw(made) == []
    assert bool(content(made)["spend"]) == published
    assert bool(query(made, "select 1 from stax.extractions")) == published
    run(made)
    assert everything(made) == expected


@pytest.fixture
def disk(made: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of its own for the lake, 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "stax", folder], capture_output=True).returncode:
        pytest.skip("no file system may be mounted here; the limit on the size of files stands for the full disk")
    monkeypatch.setenv("STAX_LAKE_URL", str(folder / "lake"))
    yield folder
    subprocess.run(["umount", folder], check=True)


@contextmanager
def remounted(disk: Path, options: str, back: str) -> Iterator[None]:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", f"remount,{back}", disk], check=True)


def test_a_full_disk(made: Installation, expected: Content, disk: Path) -> None:
    run(made)

    @contextmanager
    def full(_: Installation) -> Iterator[None]:
        filler = disk / "filler"
        with filler.open("wb") as out:
            try:
                while out.write(b"x" * 4096):
                    out.flush()
            except OSError:
                os.truncate(filler, filler.stat().st_size - 8192)
        with pytest.raises(CannotStart, match="No space left"):
            run(made)
        assert unfinished(made) == []
        yield
        filler.unlink()

    between = recovers(made, full, expected)
    assert between == {name: rows for name, rows in expected.items() if "/" not in name}


def test_a_read_only_disk(made: Installation, expected: Content, disk: Path) -> None:
    run(made)

    @contextmanager
    def read_only(_: Installation) -> Iterator[None]:
        with remounted(disk, "ro", "rw"):
            with pytest.raises(CannotStart, match="Read-only file system"):
                run(made)
            yield

    between = recovers(made, read_only, expected)
    assert between == {name: rows for name, rows in expected.items() if "/" not in name}
