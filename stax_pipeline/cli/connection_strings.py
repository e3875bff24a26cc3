"""Addresses of logins that read only, for other programs: nobody gets write access by copying one.

A password is left out unless it is asked for. `psql` and whatever else goes through libpq is told where a file has it
(`passfile`), so that the address works on this machine without showing it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from urllib.parse import quote, urlencode

import sqlalchemy as sa

from stax_pipeline import embedded_postgres
from stax_pipeline.cli.database_urls import for_libpq
from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.role_name import parse_role
from stax_pipeline.installation.settings import Settings
from stax_pipeline.warehouse import roles
from stax_pipeline.warehouse.granted_logins import granted_login

SCHEMA = "stax"
_OF_TLS = ("sslmode", "sslrootcert")
_SPECIAL_IN_ODBC = frozenset("[]{}(),;?*=!@ ")


class Form(StrEnum):
    """Who reads the address: libpq, an ODBC driver manager, or a JDBC driver."""

    PSQL = "psql"
    ODBC = "odbc"
    JDBC = "jdbc"


def connection_string(settings: Settings, role: str | None, form: Form, *, with_password: bool) -> str:
    """The address of a login that reads only; the database must have been set up.

    Args:
        settings: of the installation.
        role: a login that `stax grant` made; None is the analyst.
        form: who is to read it.
        with_password: whether it holds the password.

    Raises:
        WrongUse: for another role, and where a form needs TCP and the database is reached by a socket.
    """
    url = sa.make_url(granted_login(settings, parse_role(role)) if role is not None else roles.logins(settings).analyst)
    port = embedded_postgres.tcp_port(settings.postgres_home) if settings.embedded else None
    if port:
        url = url.difference_update_query(("host", "port", "requirepeer")).set(host="127.0.0.1", port=port)
    if form is Form.PSQL:
        return _for_psql(settings, url, with_password)
    host, at = _tcp_address(url)
    parts = {
        "host": host, "port": str(at), "database": url.database or "", "user": url.username or "",
        "password": (url.password or "") if with_password else "",
        **{name: _single(url, name) for name in _OF_TLS},
    }  # fmt: skip
    return _for_odbc(parts) if form is Form.ODBC else _for_jdbc(parts)


def _for_psql(settings: Settings, url: sa.URL, with_password: bool) -> str:
    if with_password:
        return for_libpq(url)
    role = roles.logins(settings).role_in(url.render_as_string(hide_password=False))
    bare = sa.URL.create(url.drivername, url.username, None, url.host, url.port, url.database, url.query)
    kept = roles.password_file(settings, role)
    if not kept.exists() or kept.read_text() != url.password:  # it is the operator's own, who has it elsewhere
        return for_libpq(bare)
    file = roles.write_passfile(settings, role, url.username or "")
    return for_libpq(bare.update_query_dict({"passfile": str(file)}))


def _tcp_address(url: sa.URL) -> tuple[str, int]:
    hosts = [host for host in (_single(url, "host") or url.host or "").split(",") if host]
    if len(hosts) != 1 or hosts[0].startswith("/"):
        raise WrongUse(
            "Drivers of ODBC and JDBC need one TCP address, and this database is reached by a socket, or by several "
            "addresses. For the embedded server set STAX_POSTGRES_PORT, such as 5433, then `stax down` and start again."
        )
    return hosts[0], int(_single(url, "port") or url.port or 5432)


def _single(url: sa.URL, name: str) -> str:
    found: Sequence[str] = url.normalized_query.get(name, ())
    return found[-1] if found else ""


def _for_odbc(parts: Mapping[str, str]) -> str:
    """For psqlODBC, Debian's `odbc-postgresql`."""
    root = parts["sslrootcert"]
    named = {
        "Driver": "PostgreSQL Unicode", "Server": parts["host"], "Port": parts["port"], "Database": parts["database"],
        "Uid": parts["user"], "Pwd": parts["password"], "SSLmode": parts["sslmode"],
        "pqopt": f"sslrootcert={root}" if root else "", "ConnSettings": f"set search_path to {SCHEMA}",
        "ReadOnly": "1",
    }  # fmt: skip
    return ";".join(f"{name}={_of_odbc(value)}" for name, value in named.items() if value)


def _of_odbc(value: str) -> str:
    return "{" + value.replace("}", "}}") + "}" if _SPECIAL_IN_ODBC & set(value) else value


def _for_jdbc(parts: Mapping[str, str]) -> str:
    host = f"[{parts['host']}]" if ":" in parts["host"] else parts["host"]
    named = {
        "user": parts["user"], "password": parts["password"], "currentSchema": SCHEMA, "readOnly": "true",
        **{name: parts[name] for name in _OF_TLS},
    }  # fmt: skip
    query = urlencode({name: value for name, value in named.items() if value}, quote_via=quote)
    return f"jdbc:postgresql://{host}:{parts['port']}/{quote(parts['database'], safe='')}?{query}"
