"""Addresses for other programs: each form is understood by its reader, and shows a password only when asked to."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn

from stax_pipeline import embedded_postgres
from stax_pipeline.cli.connection_strings import Form, _of_odbc, connection_string
from stax_pipeline.cli.database import database
from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline_tests.cli.support import Stax
from stax_pipeline_tests.conftest import forget_outside


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def by_tcp() -> Iterator[Settings]:
    """An installation whose embedded server listens on loopback, held while the tests run."""
    home = Path(tempfile.mkdtemp(prefix="stax-tcp-"))
    home.chmod(0o711)
    settings = read_settings({"STAX_HOME": str(home), "STAX_POSTGRES_PORT": str(free_port())})
    with ExitStack() as held:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("STAX_POSTGRES_PORT", str(settings.postgres_port))
            held.enter_context(database(settings, make=True))
        yield settings
    forget_outside(home)
    shutil.rmtree(home, ignore_errors=True)


def password(settings: Settings) -> str:
    return (settings.home / "passwords" / "stax_analyst").read_text()


def told(settings: Settings, form: Form, *, with_password: bool = False) -> str:
    return connection_string(settings, None, form, with_password=with_password)


def odbc(text: str) -> dict[str, str]:
    """The fields of an ODBC connection string, read as a driver manager does."""
    found = re.findall(r"([A-Za-z]+)=(\{(?:[^}]|\}\})*\}|[^;]*)(?:;|$)", text)
    return {name: value[1:-1].replace("}}", "}") if value.startswith("{") else value for name, value in found}


@pytest.mark.parametrize("form", Form)
def test_no_password_is_shown_unless_it_is_asked_for(by_tcp: Settings, form: Form) -> None:
    assert password(by_tcp) not in told(by_tcp, form)
    assert password(by_tcp) in told(by_tcp, form, with_password=True)


@pytest.mark.parametrize("with_password", [False, True])
def test_the_form_of_psql_works_as_it_is(by_tcp: Settings, with_password: bool) -> None:
    """Over TCP, as the analyst, who reads alone."""
    connection = psycopg2.connect(told(by_tcp, Form.PSQL, with_password=with_password))
    with connection, connection.cursor() as cursor:
        cursor.execute("select current_user, inet_server_addr()::text, inet_server_port(), count(*) from tenants")
        assert cursor.fetchone() == ("stax_analyst", "127.0.0.1/32", by_tcp.postgres_port, 0)
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("delete from stax.tenants")
    connection.close()
    kept = by_tcp.home / "passwords" / "stax_analyst.pgpass"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_the_fields_of_odbc_lead_to_the_server(by_tcp: Settings) -> None:
    fields = odbc(told(by_tcp, Form.ODBC, with_password=True))
    assert fields["Driver"] == "PostgreSQL Unicode"
    connection = psycopg2.connect(
        host=fields["Server"], port=fields["Port"], dbname=fields["Database"], user=fields["Uid"],
        password=fields["Pwd"],
    )  # fmt: skip
    with connection, connection.cursor() as cursor:
        cursor.execute(fields["ConnSettings"])
        cursor.execute("select count(*) from tenants")
        assert cursor.fetchone() == (0,)
    connection.close()
    assert "Pwd" not in odbc(told(by_tcp, Form.ODBC))


def test_the_fields_of_jdbc_lead_to_the_server(by_tcp: Settings) -> None:
    address = urlsplit(told(by_tcp, Form.JDBC, with_password=True).removeprefix("jdbc:"))
    fields = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert (address.scheme, fields["currentSchema"]) == ("postgresql", "stax")
    connection = psycopg2.connect(
        host=address.hostname, port=address.port, dbname=address.path[1:], user=fields["user"],
        password=fields["password"],
    )  # fmt: skip
    connection.close()


def test_tcp_asks_for_the_password(by_tcp: Settings) -> None:
    for wrong in ("", "x", password(by_tcp)[:-1]):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(
                host="127.0.0.1", port=by_tcp.postgres_port, dbname="stax", user="stax_analyst", password=wrong,
                passfile="/dev/null",
            )  # fmt: skip


def test_a_server_that_is_started_without_the_port_listens_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(tempfile.mkdtemp(prefix="stax-tcp-"))
    home.chmod(0o711)
    port = free_port()
    for given_port in (port, None):
        monkeypatch.setenv("STAX_POSTGRES_PORT", str(given_port or ""))
        with embedded_postgres.running(home / "postgres") as url, socket.socket() as caller:
            psycopg2.connect(url.replace("+psycopg2", "")).close()
            assert (caller.connect_ex(("127.0.0.1", port)) == 0) is (given_port is not None)
            assert embedded_postgres.tcp_port(home / "postgres") == given_port
    forget_outside(home)
    shutil.rmtree(home, ignore_errors=True)


def test_a_port_that_is_taken_is_named(by_tcp: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(tempfile.mkdtemp(prefix="stax-tcp-"))
    home.chmod(0o711)
    monkeypatch.setenv("STAX_POSTGRES_PORT", str(by_tcp.postgres_port))
    with pytest.raises(CannotStart, match="Address already in use"), embedded_postgres.running(home / "postgres"):
        pass
    forget_outside(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.usefixtures("settings")
class TestBySocket:
    @pytest.mark.parametrize("form", ["odbc", "jdbc"])
    def test_forms_that_need_tcp_say_what_to_set(self, stax: Stax, settings: Settings, form: str) -> None:
        ended = stax("url", "--format", form)
        assert ended.code == 2
        assert "set STAX_POSTGRES_PORT, such as 5433, then `stax down` and start again." in ended.err
        assert ended.out == ""
        (settings.postgres_home / "pinned").unlink()

    def test_a_server_that_was_started_without_the_port_is_told(
        self, stax: Stax, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = str(free_port())
        with embedded_postgres.running(settings.postgres_home):
            monkeypatch.setenv("STAX_POSTGRES_PORT", port)
            ended = stax("tenants")
        assert f"was started without STAX_POSTGRES_PORT={port}. `stax down`, then start again." in ended.err


TLS = ("sslmode", "sslrootcert")
OWN = "postgresql://ana%40corp:p%7Bw%7D;%20x@db.example.com:6432/spend?sslmode=verify-full&sslrootcert=/etc/ca%20x.pem"


class TestOwnPostgres:
    @pytest.fixture
    def own(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
        monkeypatch.setenv("STAX_ANALYST_URL", OWN)
        monkeypatch.setenv("STAX_DATABASE_URL", OWN)
        return read_settings()

    def test_psql_gets_no_password_that_only_the_operator_keeps(self, own: Settings) -> None:
        assert set(parse_dsn(told(own, Form.PSQL))) == {"user", "host", "port", "dbname", "options", *TLS}
        assert parse_dsn(told(own, Form.PSQL, with_password=True))["password"] == "p{w}; x"

    def test_odbc_keeps_tls_and_special_letters(self, own: Settings) -> None:
        fields = odbc(told(own, Form.ODBC, with_password=True))
        assert (fields["Server"], fields["Port"], fields["Database"]) == ("db.example.com", "6432", "spend")
        assert (fields["Uid"], fields["Pwd"]) == ("ana@corp", "p{w}; x")
        assert (fields["SSLmode"], fields["pqopt"]) == ("verify-full", "sslrootcert=/etc/ca x.pem")

    def test_jdbc_keeps_tls_and_special_letters(self, own: Settings) -> None:
        address = urlsplit(told(own, Form.JDBC, with_password=True).removeprefix("jdbc:"))
        fields = {name: values[0] for name, values in parse_qs(address.query).items()}
        assert (address.hostname, address.port, unquote(address.path)) == ("db.example.com", 6432, "/spend")
        assert (fields["user"], fields["password"]) == ("ana@corp", "p{w}; x")
        assert (fields["sslmode"], fields["sslrootcert"]) == ("verify-full", "/etc/ca x.pem")

    @pytest.mark.parametrize("place", ["/d?host=/run/pg", "/d?host=a,b", "/d"])
    def test_what_is_not_one_tcp_address_is_refused(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, place: str
    ) -> None:
        monkeypatch.setenv("STAX_ANALYST_URL", f"postgresql://u:p@{place}")
        monkeypatch.setenv("STAX_DATABASE_URL", f"postgresql://u:p@{place}")
        with pytest.raises(WrongUse, match="one TCP address"):
            told(read_settings(), Form.JDBC)


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_any_value_comes_back_from_odbc(value: str) -> None:
    assert odbc(f"A={_of_odbc(value)};B=1") == {"A": value, "B": "1"}
