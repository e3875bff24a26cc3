"""To a Postgres off this machine nobody but the proven server gets a password: Debian's, with TLS and without."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy as sa

from stax_pipeline.cli.database_urls import analyst_url
from stax_pipeline.dagster_instance.storage import PooledPostgresStorage
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.warehouse.engine import connect_engine, plain_faults
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.dagster_instance.internals import engine_of
from stax_pipeline_tests.warehouse.own_postgres import NAME, OwnPostgres, own_postgres

NAMES = ("STAX_DATABASE_URL", "STAX_LOADER_URL", "STAX_ANALYST_URL", "STAX_DAGSTER_URL")
PROVEN = "the database's server did not prove itself"


@pytest.fixture(scope="module")
def with_tls() -> Iterator[OwnPostgres]:
    with own_postgres(tls=True) as server:
        yield server


@pytest.fixture(scope="module")
def without_tls() -> Iterator[OwnPostgres]:
    with own_postgres(tls=False) as server:
        yield server


def of(server: OwnPostgres, home: Path, url: str, **others: str) -> Settings:
    return read_settings({
        "STAX_HOME": str(home), "STAX_DATABASE_URL": url, "STAX_DATABASE_CA_FILE": str(server.authority), **others
    })  # fmt: skip


def encrypted(url: str) -> bool:
    engine = connect_engine(url)
    try:
        with plain_faults("asking"), engine.connect() as connection:
            found = connection.exec_driver_sql("select ssl from pg_stat_ssl where pid = pg_backend_pid()").scalar_one()
            return bool(found)
    finally:
        engine.dispose()


def test_every_connection_of_an_installation_is_encrypted_and_proven(
    with_tls: OwnPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = of(with_tls, tmp_path, with_tls.url())
    assert upgrade(settings) == []
    urls = logins(settings)
    assert all(encrypted(url) for url in (urls.admin, urls.owner, urls.loader, urls.analyst, urls.dagster))
    monkeypatch.setenv("STAX_DATABASE_CA_FILE", str(with_tls.authority))
    bare = sa.make_url(urls.dagster).set(query={"hostaddr": "127.0.0.1"}).render_as_string(hide_password=False)
    for url in (urls.dagster, bare):
        with engine_of(PooledPostgresStorage(url).run_storage).connect() as connection:
            assert connection.exec_driver_sql("select ssl from pg_stat_ssl where pid = pg_backend_pid()").scalar_one()
    address = analyst_url(settings)
    assert "sslmode=verify-full" in address and "require_auth" not in address
    psycopg2.connect(address).close()


def test_a_certificate_of_another_name_or_authority_is_refused(with_tls: OwnPostgres, tmp_path: Path) -> None:
    other = with_tls.url().replace(NAME, "other.test")
    with pytest.raises(CannotStart, match=rf"{PROVEN} \(.*certificate.* does not match host name .*other\.test"):
        encrypted(of(with_tls, tmp_path, other).database_url)
    unknown = read_settings({"STAX_DATABASE_URL": with_tls.url()}).database_url  # the system's bundle
    with pytest.raises(CannotStart, match=rf"{PROVEN} \(.*certificate verify failed.*STAX_DATABASE_CA_FILE"):
        encrypted(unknown)


def test_a_server_without_tls_is_refused_unless_the_url_says_otherwise(
    without_tls: OwnPostgres, tmp_path: Path
) -> None:
    with pytest.raises(CannotStart, match=rf"{PROVEN} \(.*server does not support SSL.*sslmode= and require_auth="):
        encrypted(of(without_tls, tmp_path, without_tls.url()).database_url)
    settings = of(without_tls, tmp_path, without_tls.url("sslmode=disable"))
    upgrade(settings)
    urls = logins(settings)
    assert not any(encrypted(url) for url in (urls.admin, urls.loader, urls.dagster))


def test_a_server_that_asks_for_the_password_itself_is_refused_unless_the_url_says_otherwise(tmp_path: Path) -> None:
    with own_postgres(tls=True, asks="password") as server:
        with pytest.raises(CannotStart, match=rf"{PROVEN} \(.*authentication method requirement"):
            encrypted(of(server, tmp_path, server.url()).database_url)
        assert encrypted(of(server, tmp_path, server.url("require_auth=password")).database_url)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("host", "query"),
    [
        (NAME, "hostaddr=127.0.0.1"), (NAME, "hostaddr=127.0.0.1&sslmode=prefer"),
        (NAME, "hostaddr=127.0.0.1&sslmode=disable"),
        ("127.0.0.1", ""), ("localhost", "hostaddr=127.0.0.1&sslmode=prefer"),
    ],
)  # fmt: skip
def test_a_false_server_hears_no_password(name: str, host: str, query: str) -> None:
    with false_server() as (port, heard):
        url = f"postgresql://u:canary@{host}:{port}/d?{query}"
        found = read_settings({name: url, "STAX_DATABASE_CA_FILE": __file__})
        given = getattr(found, name.removeprefix("STAX_").lower())
        with pytest.raises(sa.exc.OperationalError):
            connect_engine(given).connect()
    assert b"canary" not in b"".join(heard)


@contextmanager
def false_server() -> Iterator[tuple[int, list[bytes]]]:
    """Has no TLS and asks for the password in clear; keeps what it hears."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    client.settimeout(5)
                    while said := client.recv(4096):
                        heard.append(said)
                        asks_for_tls = said[4:8] in (struct.pack("!i", 80877103), struct.pack("!i", 80877104))
                        client.sendall(b"N" if asks_for_tls else b"R" + struct.pack("!ii", 8, 3))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], heard
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)
