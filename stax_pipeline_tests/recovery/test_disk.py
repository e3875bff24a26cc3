"""No room, and no permission: the run says so, leaves no half file and loses nothing, and the next run is whole.

The kernel itself refuses: by a limit on the size of files, and where a tmpfs may be mounted (as root) by a real
full disk, under the lake and under the database's log, and a read-only one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline import embedded_postgres
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.conftest import Installation, passable_home
from stax_pipeline_tests.pipeline.support import content, query, two_tenants
from stax_pipeline_tests.recovery.test_database import wait_until
from stax_pipeline_tests.recovery.test_kill_points import half_published
from stax_pipeline_tests.rig.oracle import (
    Content,
    adopt,
    everything,
    recovers,
    run,
    sweep,
    tiny_organizations,
    unfinished,
    unnamed_raw,
)
from stax_pipeline_tests.rig.stages import SYNC_STAGES, Stage, at, without_room

RAW = Stage("stax_pipeline_tests.rig.oracle:sync")
FILES = Stage("stax_pipeline_tests.rig.oracle:rebuild", nth=4)
SEGMENT = 16 << 20  # of the write-ahead log
NO_START = "(?s)cannot start: the server ended while starting.*No space left on device"
NO_MOUNT = "no file system may be mounted here; the limit on the size of files stands for the full disk"


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
    with mounted(folder, "64m"):
        monkeypatch.setenv("STAX_LAKE_URL", str(folder / "lake"))
        yield folder


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A real disk of that size; the test is skipped where none may be mounted."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "stax", folder], capture_output=True).returncode:
        pytest.skip(NO_MOUNT)
    try:
        yield
    finally:
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


@pytest.fixture
def own_log() -> Iterator[tuple[Path, Path]]:
    """A home of its own, migrated and at rest, whose database writes its log to a disk of 48 MB; both of them."""
    with passable_home() as home:
        settings = read_settings({"STAX_HOME": str(home)})
        disk, log = home.parent / "disk", settings.postgres_home / "data" / "pg_wal"
        disk.mkdir()
        with mounted(disk, "48m"):
            with embedded_postgres.running(settings.postgres_home):
                upgrade(settings)
            subprocess.run(["cp", "-a", f"{log}/.", disk], check=True)
            shutil.rmtree(log)
            log.symlink_to(disk)
            try:
                yield home, disk
            finally:
                embedded_postgres.stop(settings.postgres_home)


def almost_all_written(made: Installation, disk: Path) -> None:
    """No room for another segment, and 16 to 24 kB left in those that are there."""
    free = os.statvfs(disk)
    with (disk / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, free.f_bavail * free.f_frsize)
    admin = sa.create_engine(logins(made.settings).admin, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        here = connection.exec_driver_sql("select pg_walfile_name(pg_current_wal_insert_lsn())").scalar_one()
        ahead = sum(1 for segment in disk.glob("0*") if segment.name > here)
        used = connection.exec_driver_sql("select pg_current_wal_insert_lsn() - '0/0'").scalar_one()
        left = (ahead + 1) * SEGMENT - int(used) % SEGMENT - 16_384
        message = "pg_logical_emit_message(false, 'stax', repeat('x', 8000))"
        connection.exec_driver_sql(f"select count({message}) from generate_series(1, {left // 8192})")
    admin.dispose()


def test_a_full_disk_under_the_databases_log(expected: Content, own_log: tuple[Path, Path]) -> None:
    """In mid-COPY: Postgres panics, cannot recover without room, says so, and is started again when there is some."""
    home, disk = own_log
    postgres = home / "postgres"
    with ExitStack() as server:
        server.enter_context(embedded_postgres.running(postgres))
        made = server.enter_context(two_tenants(home, *tiny_organizations()))
        with (
            at(SYNC_STAGES["in COPY"], lambda: almost_all_written(made, disk)),
            pytest.raises(CannotStart, match="the database is not reachable"),
        ):
            run(made)
        wait_until(lambda: not embedded_postgres.is_running(postgres))
        with pytest.raises(CannotStart, match=NO_START), embedded_postgres.running(postgres):
            pass
        (disk / "filler").unlink()
        server.enter_context(embedded_postgres.running(postgres))
        made.engine.dispose()
        between = content(made)
        assert half_published(between, expected) == []
        assert between["cost_lines"] == []
        sweep(made)
        adopt(made)
        run(made)
        assert everything(made) == expected
