"""As root the server has an account of its own, or at least a group: no other program reads or changes its files."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest

from stax_pipeline import embedded_postgres
from stax_pipeline.embedded_postgres import account
from stax_pipeline.embedded_postgres.account import NAME, account_for, release
from stax_pipeline_tests.embedded_postgres.test_server import (
    HOLD,
    USERS_ENVIRONMENT,
    ask,
    data_of,
    empty_home,
    end_user,
    eventually,
    home,
    postmaster,
    template,
    url_of,
)

__all__ = ["empty_home", "home", "template"]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="others run the server as themselves")
NOBODY = pwd.getpwnam("nobody")
NO_USERADD = """
set -e
grep -v ^stax-postgres: /etc/passwd > "$1"
mount --bind "$1" /etc/passwd
mount --bind /dev/null /usr/sbin/useradd
shift
exec "$@"
"""


def as_nobody(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, user=NOBODY.pw_uid, group=NOBODY.pw_gid, extra_groups=[], cwd="/", capture_output=True, text=True
    )  # fmt: skip


def ways_to(data: Path, pid: int) -> list[str]:
    """Where another program might find the file that says who may come in without a password."""
    found = [str(data), f"/proc/{pid}/cwd", f"/proc/{pid}/root{data}"]
    return [f"{place}/pg_hba.conf" for place in found]


def refuse_others(home: Path) -> None:
    server = postmaster(home)
    lasting = ("checkpointer", "walwriter", "autovacuum launcher")  # others come and go
    children = [child for child in server.children() if any(word in " ".join(child.cmdline()) for word in lasting)]
    assert len(children) == len(lasting)
    for pid in (server.pid, *(child.pid for child in children)):
        for path in ways_to(data_of(home), pid):
            assert Path(path).exists()
            assert "Permission denied" in as_nobody("head", "-c1", path).stderr, path
            assert "Permission denied" in as_nobody("sh", "-c", f"echo '# trust' >> {path}").stderr, path
        assert "Permission denied" in as_nobody("head", "-c1", f"/proc/{pid}/environ").stderr
        assert "Permission denied" in as_nobody("head", "-c1", f"/proc/{pid}/mem").stderr
        assert as_nobody("sh", "-c", f"readlink /proc/{pid}/fd/*").stdout == ""


def test_the_server_runs_as_an_account_of_its_own(empty_home: Path) -> None:
    with embedded_postgres.running(empty_home) as url:
        own = pwd.getpwnam(NAME)
        assert postmaster(empty_home).uids().real == data_of(empty_home).stat().st_uid == own.pw_uid
        assert own.pw_uid not in (0, NOBODY.pw_uid) and own.pw_shell.endswith("nologin")
        assert embedded_postgres.risk(empty_home) is None
        refuse_others(empty_home)
        assert ask(url, "select 1") == [(1,)]


def test_where_no_account_can_be_made_nobody_has_a_group_of_its_own(empty_home: Path, tmp_path: Path) -> None:
    command = ["unshare", "--mount", "sh", "-c", NO_USERADD, "sh", tmp_path / "passwd"]
    command += [sys.executable, "-B", "-c", HOLD]
    user = subprocess.Popen(
        [*command, empty_home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=USERS_ENVIRONMENT, cwd="/"
    )
    try:
        url = url_of(user)
        server = postmaster(empty_home)
        assert server.uids().real == NOBODY.pw_uid
        assert server.gids().real != NOBODY.pw_gid
        refuse_others(empty_home)
        assert ask(url, "select 1") == [(1,)]
        risk = str(embedded_postgres.risk(empty_home))
        assert risk.startswith("The embedded Postgres runs as nobody, since") and "\n" not in risk
    finally:
        end_user(user)
    with embedded_postgres.running(empty_home) as again:  # once an account can be made
        assert postmaster(empty_home).uids().real == pwd.getpwnam(NAME).pw_uid
        assert ask(again, "select 1") == [(1,)]
        assert embedded_postgres.risk(empty_home) is None


@pytest.mark.parametrize("is_cut_short", [False, True])
def test_data_of_an_older_version_is_handed_over(home: Path, tmp_path: Path, is_cut_short: bool) -> None:
    data = data_of(home)
    strangers = tmp_path / "strangers"
    strangers.write_text("not the server's")
    os.chown(strangers, NOBODY.pw_uid, NOBODY.pw_gid)
    os.link(strangers, data / "lent")
    for top in (data, home / "socket"):
        subprocess.run(["chown", "-R", "nobody", top], check=True)
    if is_cut_short:
        os.chown(data / "base", pwd.getpwnam(NAME).pw_uid, -1)
        os.chown(data, 0, 0)
    home.chmod(0o711)
    with embedded_postgres.running(home) as url:
        own = pwd.getpwnam(NAME).pw_uid
        assert ask(url, "select 1") == [(1,)]
        assert {path.lstat().st_uid for path in data.rglob("*") if path.name != "lent"} == {own}
        assert strangers.stat().st_uid == NOBODY.pw_uid
        refuse_others(home)


@pytest.fixture
def another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The account's name and the folder of who uses it, for this test alone."""
    name = f"stax-test-{secrets.token_hex(4)}"
    monkeypatch.setattr(account, "NAME", name)
    monkeypatch.setattr(account, "SHARED_STATE", tmp_path / "state")
    yield name
    with suppress(KeyError):
        pwd.getpwnam(name)
        subprocess.run(["userdel", name], check=True, stderr=subprocess.DEVNULL)


def made(home: Path) -> Path:
    home.mkdir()
    (home / "server.json").touch()
    return home


def test_the_account_goes_with_the_last_home(another_name: str, tmp_path: Path) -> None:
    first, second, deleted = (made(tmp_path / name) for name in ("first", "second", "deleted"))
    assert account_for(first) == account_for(second) == account_for(deleted)
    own = pwd.getpwnam(another_name).pw_uid
    shutil.rmtree(deleted)
    shutil.rmtree(first)
    assert not release(first)
    assert pwd.getpwnam(another_name).pw_uid == own
    shutil.rmtree(second)
    left = tmp_path / "state" / "1234" / "data"
    left.mkdir(parents=True)
    os.chown(left, own, own)
    assert not release(second)  # its number must not go to another account
    left.rmdir()
    assert release(second)
    with pytest.raises(KeyError):
        pwd.getpwnam(another_name)
    assert not release(second)


def test_an_installation_that_is_removed_uses_the_account_no_more(empty_home: Path) -> None:
    with embedded_postgres.running(empty_home):
        note = account._note_of(empty_home)
        assert note.read_text() == str(empty_home)
    embedded_postgres.remove(empty_home)
    assert not note.exists()


def test_an_account_of_that_name_that_an_administrator_made_stays(another_name: str, tmp_path: Path) -> None:
    subprocess.run(["useradd", "--system", another_name], check=True)
    home = made(tmp_path / "home")
    assert account_for(home).uid == pwd.getpwnam(another_name).pw_uid
    shutil.rmtree(home)
    assert not release(home)
    assert pwd.getpwnam(another_name)


FALSE_SERVER = """
import os, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
listening.listen()
print("listens", flush=True)
client, _ = listening.accept()
print(client.recv(4096), flush=True)
"""


def test_a_false_server_in_the_shared_temporary_folder_is_told_nothing(empty_home: Path) -> None:
    deep = empty_home / ("a" * 60) / ("b" * 60) / "pg"
    with embedded_postgres.running(deep) as url:
        assert parse_qs(urlsplit(url).query)["requirepeer"] == [NAME]
        assert ask(url, "select 1") == [(1,)]
        directory = Path(parse_qs(urlsplit(url).query)["host"][0])
    assert directory.parent != deep
    eventually(lambda: not embedded_postgres.is_running(deep) and not any(directory.iterdir()))
    directory.rmdir()  # as a cleaner of temporary files does
    directory.mkdir()
    os.chown(directory, NOBODY.pw_uid, NOBODY.pw_gid)
    python = shutil.which("python3", path="/usr/bin") or sys.executable
    command = [python, "-c", FALSE_SERVER, directory / ".s.PGSQL.5432"]
    with subprocess.Popen(
        command, user=NOBODY.pw_uid, group=NOBODY.pw_gid, extra_groups=[], cwd="/", stdout=subprocess.PIPE, text=True
    ) as false:
        assert false.stdout is not None
        assert false.stdout.readline() == "listens\n"
        with pytest.raises(psycopg2.OperationalError, match=f'requirepeer specifies "{NAME}"'):
            psycopg2.connect(embedded_postgres.connection_url(deep).replace("+psycopg2", ""))
        assert false.stdout.readline() == "b''\n"
    shutil.rmtree(directory)


def test_the_socket_in_a_home_needs_no_proof_of_its_peer(home: Path) -> None:
    with embedded_postgres.running(home) as url:
        query = parse_qs(urlsplit(url).query)
    assert "requirepeer" not in query and query["require_auth"] == ["scram-sha-256"]
