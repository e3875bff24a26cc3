"""Where an installation lives, that reading makes none, and that one can be removed whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline import embedded_postgres
from stax_pipeline.cli.database import database
from stax_pipeline.cli.homes import require_simulator
from stax_pipeline.embedded_postgres import account
from stax_pipeline.embedded_postgres.layout import Home, read_record
from stax_pipeline.installation import homes
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.cli.support import Stax
from stax_pipeline_tests.conftest import Installation, passable_home
from stax_pipeline_tests.warehouse.next_schema import NEWER, OLDER, add_a_migration

READS = [
    ("status",), ("status", "--json"), ("tenants",), ("sql", "select 1"), ("url",), ("verify",), ("prices",),
    ("prices", "check"), ("rates",), ("rates", "suggest"), ("commitments",), ("alerts",), ("grant",),
    ("export", "spend"), ("export", "focus"), ("backup", "copy.stax"), ("login", "list"),
]  # fmt: skip
CHANGES = [
    ("sync",), ("replay",), ("rotate-master-key",), ("disconnect", "acme"), ("grant", "reader", "acme"),
    ("revoke", "reader", "acme"), ("alerts", "check"), ("invoice", "acme", "2026-10", "1"),
    ("prices", "withdraw", "m", "2026-10-01"), ("commitments", "withdraw", "c"),
    ("login", "remove", "anna"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("STAX_", "XDG_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that was installed from a wheel, a user with an empty home directory, and a folder to call it from."""
    monkeypatch.setattr(homes, "CHECKOUT", tmp_path / "site-packages")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    for folder in ("user", "called-from"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "called-from")
    return tmp_path


@pytest.fixture
def server(stax_home: Path) -> Iterator[str]:
    """The address of an empty database."""
    embedded = logins(read_settings({"STAX_HOME": str(stax_home)})).admin
    admin = sa.create_engine(embedded, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("create database of_nobody")
        yield sa.make_url(embedded).set(database="of_nobody").render_as_string(hide_password=False)
        connection.exec_driver_sql("drop database of_nobody with (force)")
    admin.dispose()


@pytest.fixture(scope="module")
def used() -> Iterator[Path]:
    """A home of its own whose server is down."""
    with passable_home() as home:
        with database(read_settings({"STAX_HOME": str(home)}), make=True):
            pass
        yield home


@pytest.fixture
def copied(used: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="stax-tests-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        subprocess.run(["cp", "-a", used, home], check=True)
        yield home


class TestPlace:
    def test_with_a_wheel_it_is_the_users_data_folder_from_every_folder(
        self, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = set()
        for folder in ("user", "called-from"):
            monkeypatch.chdir(elsewhere / folder)
            found.add(read_settings({}).home)
        below = "Library/Application Support" if sys.platform == "darwin" else ".local/share"
        assert found == {elsewhere / "user" / below / "stax-pipeline"}

    @pytest.mark.skipif(sys.platform == "darwin", reason="XDG is not of macOS")
    @pytest.mark.parametrize(("named", "is_taken"), [("/data", True), ("data", False), ("", False)])
    def test_xdg_names_the_data_folder(
        self, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, named: str, is_taken: bool
    ) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", named)
        usual = elsewhere / "user/.local/share"
        assert read_settings({}).home == (Path(named) if is_taken else usual) / "stax-pipeline"

    def test_in_a_checkout_it_lies_beside_it_from_every_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert read_settings({}).home == homes.CHECKOUT / ".stax"

    @pytest.mark.parametrize("below", ["", "below"])
    @pytest.mark.parametrize("command", ["status", "sync", "up", "down", "env", "demo", "connect acme"])
    def test_a_file_is_named_as_what_it_is(
        self, stax: Stax, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, below: str
    ) -> None:
        file = tmp_path / "file"
        file.write_text("mine\n")
        monkeypatch.setenv("STAX_HOME", str(file / below))
        ended = stax(*command.split())
        what = "it" if not below else file
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == f"stax: STAX_HOME {file / below} is not usable: {what} is a file, not a folder.\n"
        assert file.read_text() == "mine\n"

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that even root cannot write to")
    @pytest.mark.parametrize("command", ["up", "env", "demo"])
    def test_a_place_that_cannot_be_written_to_is_named(
        self, stax: Stax, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        monkeypatch.setenv("STAX_HOME", "/proc/stax")
        ended = stax(command)
        assert (ended.code, ended.out) == (3, "")
        assert ended.err.startswith("stax: /proc/stax")
        assert "Set STAX_HOME to a writable place." in ended.err


class TestNothingHalfDone:
    @pytest.mark.parametrize("command", ["up", "env", "connect acme --key-file key"])
    def test_a_database_that_does_not_answer_leaves_no_home(
        self, stax: Stax, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        key = Path("key")
        key.write_text(f"sk-ant-admin01-{'a' * 90}AA\n")
        key.chmod(0o600)
        monkeypatch.setenv("STAX_DATABASE_URL", "postgresql://a:b@127.0.0.1:1/none")
        ended = stax(*command.split())
        assert ended.code == 3
        assert ended.err.count("the database") == 1
        assert ended.err.startswith("stax: cannot start: the database is not reachable (")
        assert not read_settings().home.exists()


class TestReading:
    @pytest.mark.parametrize("arguments", READS + CHANGES, ids=" ".join)
    def test_without_an_installation_nothing_is_made_and_it_says_so(
        self, stax: Stax, elsewhere: Path, arguments: tuple[str, ...]
    ) -> None:
        ended = stax(*arguments)
        assert (ended.code, ended.out) == (3, "")
        assert ended.err.count("\n") == 1
        assert f"There is no installation in {read_settings({}).home}, and nothing was made." in ended.err
        assert not [path for path in elsewhere.rglob("*") if path.name not in ("user", "called-from")]

    @pytest.mark.parametrize("arguments", READS + CHANGES, ids=" ".join)
    def test_an_empty_database_of_ones_own_stays_empty(
        self, stax: Stax, elsewhere: Path, server: str, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STAX_DATABASE_URL", server)
        ended = stax(*arguments)
        assert ended.code == 3
        assert "There is no installation in the database of STAX_DATABASE_URL, and nothing was made." in ended.err
        assert not [path for path in elsewhere.rglob("*") if path.name not in ("user", "called-from")]
        with sa.create_engine(server).connect() as connection:
            schemas = connection.exec_driver_sql("select nspname from pg_namespace where nspname !~ '^pg_'").scalars()
            assert set(schemas) == {"information_schema", "public"}

    def test_the_homes_that_exist_are_named(self, stax: Stax, elsewhere: Path, used: Path) -> None:
        demo = read_settings({}).home / "demo"
        demo.parent.mkdir(parents=True)
        shutil.copytree(used, demo, ignore=shutil.ignore_patterns("data"))
        ended = stax("status")
        assert ended.code == 3
        assert f"This machine has: {demo} (STAX_HOME={demo} stax status)." in ended.err

    def test_a_schema_of_another_version_is_left_as_it_is_and_named(
        self, stax: Stax, copied: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STAX_HOME", str(copied))
        settings = read_settings()
        add_a_migration(copied.with_name("migrations"), monkeypatch)
        set_revision = "update stax.alembic_version set version_num = '{}' where version_num <> '{}'"
        with embedded_postgres.running(settings.postgres_home):
            engine = sa.create_engine(logins(settings).owner)
            for revision, words in (
                (OLDER, f"older schema ({OLDER}) than this stax ({NEWER})"),
                ("9999", "newer stax"),
            ):
                with engine.begin() as connection:
                    connection.exec_driver_sql(set_revision.format(revision, revision))
                ended = stax("status")
                assert (ended.code, ended.out) == (3, "")
                assert words in ended.err
                with engine.connect() as connection:
                    assert (
                        connection.exec_driver_sql("select version_num from stax.alembic_version").scalar() == revision
                    )
            engine.dispose()

    def test_alerts_open_no_storage_that_was_not_there(
        self, stax: Stax, copied: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STAX_HOME", str(copied))
        before = sorted(path.name for path in copied.iterdir())
        assert "The sensor never looked" in stax("alerts").err
        assert sorted(path.name for path in copied.iterdir()) == before
        tables = "select count(*) from pg_tables where schemaname = 'dagster'"
        settings = read_settings()
        with embedded_postgres.running(settings.postgres_home), sa.create_engine(logins(settings).admin).connect() as c:
            assert c.exec_driver_sql(tables).scalar() == 0

    def test_a_reader_without_its_password_does_not_read_as_the_administrator(
        self, stax: Stax, copied: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STAX_HOME", str(copied))
        (copied / "passwords" / "stax_analyst").unlink()
        ended = stax("sql", "select current_user")
        assert (ended.code, ended.out) == (3, "")
        assert "stax_analyst is missing" in ended.err


class TestPurge:
    def test_it_asks_and_without_a_yes_changes_nothing(
        self, stax: Stax, copied: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STAX_HOME", str(copied))
        before = sorted(copied.rglob("*"))
        refused = stax("down", "--purge")
        assert (refused.code, "needs --yes without a terminal" in refused.err) == (2, True)
        said_no = stax("down", "--purge", typed="n\n", at_terminal=True)
        assert (said_no.code, f"Remove the installation in {copied} for good" in said_no.err) == (1, True)
        assert sorted(copied.rglob("*")) == before

    def test_a_running_installation_is_stopped_and_nothing_of_it_is_left(
        self, stax: Stax, copied: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STAX_HOME", str(copied))
        shutil.copytree(copied, copied / "demo", ignore=shutil.ignore_patterns("data"))
        (copied / "demo" / "papers").mkdir()
        (copied / "demo" / "simulator").write_text("http://127.0.0.1:9")
        for name in ("master.key", ".master.key.0123.tmp", ".first_day.0123", "stax.log"):
            (copied / name).write_text("k")
        (copied / "lake/raw").mkdir(parents=True)
        assert stax("url").code == 0
        assert embedded_postgres.is_running(copied / "postgres")
        ended = stax("down", "--purge", "--yes")
        assert ended.code == 0, ended.err
        assert f"Removed {copied}." in ended.out
        assert not copied.exists()
        again = stax("down", "--purge", "--yes")
        assert (again.code, "There is no installation in" in again.err) == (3, True)

    def test_a_folder_of_somebody_elses_things_keeps_them(
        self, stax: Stax, copied: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STAX_HOME", str(copied))
        (copied / "thesis.tex").write_text("mine")
        (copied / "linked").mkdir()
        (copied / "linked" / "kept").write_text("mine")
        (copied / "lake").symlink_to(copied / "linked")
        ended = stax("down", "--purge", "--yes")
        assert ended.code == 0
        assert f"{copied} stays: it holds what is not stax's (linked, thesis.tex)." in ended.out
        assert sorted(path.name for path in copied.rglob("*")) == ["kept", "linked", "thesis.tex"]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root keeps data outside of the home")
    def test_roots_data_outside_of_the_home_goes_too(
        self, stax: Stax, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tmp_path.chmod(0o700)
        home = tmp_path / "home"
        monkeypatch.setenv("STAX_HOME", str(home))
        with database(read_settings(), make=True):
            record = read_record(Home(home / "postgres"))
        assert record and record.outside and Path(record.outside).is_dir()
        note = account.SHARED_STATE / "homes"
        assert str(home / "postgres") in {one.read_text() for one in note.iterdir()}
        ended = stax("down", "--purge", "--yes")
        assert ended.code == 0, ended.err
        assert not note.exists() or str(home / "postgres") not in {one.read_text() for one in note.iterdir()}
        assert f"Removed {record.outside}." in ended.out
        assert not Path(record.outside).exists()
        assert not Path(record.socket_directory).exists()
        assert not home.exists()

    def test_what_lies_elsewhere_is_named(
        self, stax: Stax, copied: Path, server: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STAX_HOME", str(copied))
        monkeypatch.setenv("STAX_DATABASE_URL", server)
        monkeypatch.setenv("STAX_LAKE_URL", "s3://bucket/lake")
        ended = stax("down", "--purge", "--yes")
        assert ended.code == 0
        assert "The database of STAX_DATABASE_URL stays" in ended.out
        assert "The lake of STAX_LAKE_URL stays" in ended.out


class TestDemoThatEnded:
    @pytest.mark.parametrize("command", [("sync",), ("connect", "initech"), ("rotate-key", "acme")])
    def test_its_keys_are_sent_to_nobody(
        self, stax: Stax, copied: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
    ) -> None:
        monkeypatch.setenv("STAX_HOME", str(copied))
        monkeypatch.delenv("STAX_ANTHROPIC_BASE_URL", raising=False)
        (copied / "simulator").write_text("http://127.0.0.1:9\n")
        assert read_settings().anthropic_base_url == "http://127.0.0.1:9"
        ended = stax(*command)
        assert (ended.code, ended.out) == (3, "")
        assert f"The demo of {copied} has ended" in ended.err
        assert "`stax demo` starts both again" in ended.err

    @pytest.mark.parametrize("command", ["sync", "connect initech", "rotate-key acme", "up", "status"])
    def test_its_keys_are_sent_to_no_other_address_that_is_set(
        self, stax: Stax, copied: Path, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        monkeypatch.setenv("STAX_HOME", str(copied))
        (copied / "simulator").write_text("http://127.0.0.1:9\n")
        monkeypatch.setenv("STAX_ANTHROPIC_BASE_URL", "https://api.anthropic.com")
        ended = stax(*command.split())
        assert (ended.code, ended.out) == (2, "")
        assert f"{copied} is a demo's home, whose made-up keys go to its simulator alone" in ended.err

    def test_while_it_runs_its_simulator_is_asked(
        self, copied: Path, installation: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        address = installation.simulator.base_url
        monkeypatch.setenv("STAX_HOME", str(copied))
        monkeypatch.delenv("STAX_ANTHROPIC_BASE_URL")
        (copied / "simulator").write_text(f"{address}\n")
        require_simulator(read_settings())
        assert read_settings().anthropic_base_url == address
