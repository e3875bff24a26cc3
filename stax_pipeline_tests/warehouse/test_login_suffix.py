"""A pooler that wants `role.project` as a user: every login goes in by that form, and every role keeps its name."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.tenants.grant import drop, grant
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.granted_logins import granted_login
from stax_pipeline.warehouse.migrate import found_revision, known_revisions, upgrade
from stax_pipeline.warehouse.roles import logins

DATABASE, PROJECT = "suffixed", ".project-ref"
TLS, GSS = 80877103, 80877104


class Front(socketserver.BaseRequestHandler):
    """Takes `role.project-ref` from a client and tells the server `role`; everything after that is passed on."""

    socket_of_server = ""

    def handle(self) -> None:
        start = self._message()
        while struct.unpack("!I", start[:4])[0] in (TLS, GSS):
            self.request.sendall(b"N")
            start = self._message()
        words = start[4:].split(b"\0")
        user = words.index(b"user") + 1
        if not words[user].endswith(PROJECT.encode()):
            return
        words[user] = words[user].removesuffix(PROJECT.encode())
        changed = start[:4] + b"\0".join(words)
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(self.socket_of_server)
            server.sendall(struct.pack("!I", len(changed) + 4) + changed)
            back = threading.Thread(target=_pass_on, args=(server, self.request), daemon=True)
            back.start()
            _pass_on(self.request, server)
            back.join(5)

    def _message(self) -> bytes:
        with self.request.makefile("rb", buffering=0) as read:
            return bytes(read.read(struct.unpack("!I", read.read(4))[0] - 4))


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture
def server(stax_home: Path) -> Iterator[str]:
    """The address of an empty database; the installation of the other tests is as before afterwards."""
    whole = read_settings({"STAX_HOME": str(stax_home)})
    admin = sa.create_engine(logins(whole).admin, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"create database {DATABASE}")
        try:
            yield admin.url.set(database=DATABASE).render_as_string(hide_password=False)
        finally:
            upgrade(whole)
            connection.exec_driver_sql(f"drop database {DATABASE} with (force)")
    admin.dispose()


@contextmanager
def fronted(url: str, home: Path) -> Iterator[Settings]:
    parts = urlsplit(url)

    class Here(Front):
        socket_of_server = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Here) as front:
        front.daemon_threads = True
        threading.Thread(target=front.serve_forever, daemon=True).start()
        address = (
            f"postgresql://{parts.username}{PROJECT}:{parts.password}@127.0.0.1:{front.server_address[1]}/{DATABASE}"
        )
        yield read_settings({"STAX_HOME": str(home), "STAX_DATABASE_URL": address})
        front.shutdown()


def user_of(url: str) -> tuple[str, str]:
    """How the login goes in, and which role it is."""
    engine = connect_engine(url)
    with engine.connect() as connection:
        role = str(connection.exec_driver_sql("select current_user").scalar_one())
    engine.dispose()
    return str(sa.make_url(url).username), role


def test_every_login_keeps_the_suffix_and_every_role_its_name(server: str, stax_home: Path) -> None:
    with fronted(server, stax_home) as settings:
        upgrade(settings)
        upgrade(settings)
        assert found_revision(settings) == known_revisions()[0]
        found = logins(settings)
        for url, role in (
            (found.owner, "stax_owner"), (found.loader, "stax_loader"), (found.analyst, "stax_analyst"),
            (found.dagster, "stax_dagster"),
        ):  # fmt: skip
            assert user_of(url) == (f"{role}{PROJECT}", role)
            assert found.role_in(url) == role
        engine = connect_engine(found.loader)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "insert into stax.tenants (tenant_id, slug, name, organization_id, status, created_at) "
                "values ('00000000-0000-0000-0000-000000000ace', 'acme', 'Acme', 'org', 'connected', now())"
            )
        engine.dispose()
        grant(settings, "suffixed_reader", ["acme"])
        assert user_of(granted_login(settings, "suffixed_reader")) == (f"suffixed_reader{PROJECT}", "suffixed_reader")
        drop(settings, "suffixed_reader")


def test_a_role_with_a_dot_in_its_own_name_has_no_suffix(server: str, stax_home: Path) -> None:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("create role \"ops.admin\" superuser login password 'x'")
        try:
            own = engine.url.set(username="ops.admin", password="x").render_as_string(hide_password=False)
            settings = read_settings({"STAX_HOME": str(stax_home), "STAX_DATABASE_URL": own})
            upgrade(settings)
            assert logins(settings).suffix == ""
            assert user_of(logins(settings).loader) == ("stax_loader", "stax_loader")
            assert logins(settings).role_in(own) == "ops.admin"
        finally:
            connection.exec_driver_sql("drop schema if exists stax, dagster cascade")
            connection.exec_driver_sql('drop owned by "ops.admin" cascade')
            connection.exec_driver_sql('drop role "ops.admin"')
    engine.dispose()
