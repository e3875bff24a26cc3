"""A real pgbouncer before a real Postgres: in transaction mode it is refused at the start, in session mode it works."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.pooler import refuse_transaction_pooler
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.cli.support import Stax

PGBOUNCER = shutil.which("pgbouncer")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")

__all__ = ["stax"]
DATABASE = "pooled"


@pytest.fixture
def stax(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Stax:
    return Stax(monkeypatch, capfd)


@pytest.fixture
def server(stax_home: Path) -> Iterator[str]:
    """The address of an empty database."""
    embedded = logins(read_settings({"STAX_HOME": str(stax_home)})).admin
    admin = sa.create_engine(embedded, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"create database {DATABASE}")
        yield sa.make_url(embedded).set(database=DATABASE).render_as_string(hide_password=False)
        connection.exec_driver_sql(f"drop database {DATABASE} with (force)")
    admin.dispose()


@contextmanager
def pooled(url: str, mode: str, **options: str) -> Iterator[str]:
    """The address of the same database behind pgbouncer, with the login of `url` for everybody."""
    parts = urlsplit(url)
    host = Path(parse_qs(parts.query)["host"][0])
    account = host.stat()
    with socket.socket() as free, tempfile.TemporaryDirectory(prefix="stax-pooler-") as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        target = f"host={host} port=5432 dbname={DATABASE} user={parts.username} password={parts.password}"
        settings = {
            "listen_addr": "127.0.0.1", "listen_port": str(port), "unix_socket_dir": "", "auth_type": "any",
            "pool_mode": mode, **options,
        }  # fmt: skip
        file = Path(folder) / "pgbouncer.ini"
        lines = [f"{name} = {value}" for name, value in settings.items()]
        file.write_text("\n".join(["[databases]", f"{DATABASE} = {target}", "[pgbouncer]", *lines, ""]))
        for path in (Path(folder), file):
            os.chown(path, account.st_uid, account.st_gid)
        identity = {"user": account.st_uid, "group": account.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        pooler = subprocess.Popen([str(PGBOUNCER), "-q", str(file)], stderr=subprocess.DEVNULL, cwd="/", **identity)  # type: ignore[call-overload]
        try:
            _wait_for(port)
            yield f"postgresql://stax:any@127.0.0.1:{port}/{DATABASE}?sslmode=disable"
        finally:
            pooler.terminate()
            pooler.wait(10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def of(home: Path, **urls: str) -> Settings:
    return read_settings({"STAX_HOME": str(home), **urls})


@pytest.mark.parametrize(
    "options", [{}, {"server_round_robin": "1"}, {"default_pool_size": "1"}, {"min_pool_size": "5"}]
)
def test_a_pooler_that_shares_sessions_is_refused_before_anything_is_made(
    server: str, tmp_path: Path, options: dict[str, str]
) -> None:
    with pooled(server, "transaction", **options) as url, pytest.raises(CannotStart) as refusal:
        upgrade(of(tmp_path, STAX_DATABASE_URL=url))
    assert str(refusal.value).startswith("STAX_DATABASE_URL leads to a connection pooler in transaction mode")
    assert str(refusal.value).count(". ") == 0
    assert list(tmp_path.iterdir()) == []
    with sa.create_engine(server).connect() as connection:
        assert not connection.exec_driver_sql("select 1 from pg_namespace where nspname in ('stax', 'dagster')").all()


@pytest.mark.parametrize("name", ["STAX_LOADER_URL", "STAX_ANALYST_URL", "STAX_DAGSTER_URL"])
def test_each_address_is_looked_at(server: str, tmp_path: Path, name: str) -> None:
    with pooled(server, "transaction") as url, pytest.raises(CannotStart, match=f"^{name} leads to"):
        refuse_transaction_pooler(of(tmp_path, **{"STAX_DATABASE_URL": server, name: url}))


def test_a_pool_in_session_mode_and_the_server_itself_are_taken(server: str, tmp_path: Path) -> None:
    with pooled(server, "session") as url:
        refuse_transaction_pooler(of(tmp_path, STAX_DATABASE_URL=url, STAX_ANALYST_URL=server))


def test_the_command_says_it_in_one_sentence(
    server: str, tmp_path: Path, stax: Stax, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAX_HOME", str(tmp_path))
    with pooled(server, "transaction") as url:
        monkeypatch.setenv("STAX_DATABASE_URL", url)
        ended = stax("connect", "acme", typed="sk-ant-admin01-" + "x" * 80)
    assert ended.code == 3
    assert ended.err.count("\n") == 1
    assert "STAX_DATABASE_URL leads to a connection pooler in transaction mode" in ended.err
