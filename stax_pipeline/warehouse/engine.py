"""Connections: engines that hide parameters, and database faults told without the rows they happened on."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import sqlalchemy as sa

from stax_pipeline.domain.errors import CannotStart, Interrupted, StaxError

SEARCH_PATH = "pg_catalog, stax, pg_temp"
"""Where names without a schema are looked up: never in `public`, where others may create functions of such names."""
IDLE_SECONDS = 30.0


def connect_engine(url: str, **options: object) -> sa.Engine:
    """An engine whose errors never show parameters."""
    return noticing_its_end(searching_in(SEARCH_PATH, sa.create_engine(
        url, hide_parameters=True, pool_size=4, max_overflow=8,
        connect_args={"connect_timeout": 10, "application_name": "stax", **options},
    )))  # fmt: skip


@contextmanager
def as_login(url: str) -> Iterator[sa.Connection]:
    """One transaction of that login."""
    engine = connect_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def noticing_its_end(engine: sa.Engine) -> sa.Engine:
    """The engine, whose pool outlives a restarted server at no cost while the server lives.

    The pool's own ping is a round trip before every use. Here a connection is asked only where the server has sent
    something unasked, such as its farewell, and where it has lain idle for so long that a network may have dropped it.
    """
    sa.event.listen(engine, "checkin", _note_use)
    sa.event.listen(engine, "checkout", partial(_require_life, engine))
    return engine


def _note_use(_: object, record: sa.pool.ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _require_life(engine: sa.Engine, connection: Any, record: sa.pool.ConnectionPoolEntry, _: object) -> None:
    """Raise InvalidatePoolError, on which the pool opens new connections, where the server is gone."""
    unasked = select.poll()
    unasked.register(connection.fileno(), select.POLLIN)
    idle = time.monotonic() - record.info.get("used_at", time.monotonic())
    if idle < IDLE_SECONDS and not unasked.poll(0):
        return
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error:
        raise sa.exc.InvalidatePoolError from None


def searching_in(path: str, engine: sa.Engine) -> sa.Engine:
    """The engine, whose connections look names up in the schemas of `path` from before their first query.

    By a statement: an option of the connection's start does not survive a pooler.
    """
    sa.event.listen(engine, "connect", lambda connection, _: search_in(path, connection), insert=True)
    return engine


def search_in(path: str, connection: Any) -> None:
    """The same for one connection of psycopg2, for as long as it lives."""
    with connection, connection.cursor() as cursor:
        cursor.execute(f"set search_path = {path}")


_ALL_TAKEN = ("too many connections", "too many clients", "connection slots are reserved")
_SHUT_OUT = (
    "authentication failed", "no password supplied", "no pg_hba.conf entry", "is not permitted to log in",
    "does not exist", "permission denied for database", "User does not have CONNECT",
)  # fmt: skip
_UNPROVEN = ("SSL", "certificate", "authentication method requirement")


class WarehouseFault(StaxError):
    """A statement failed. Says what Postgres said without DETAIL, which quotes rows."""


@contextmanager
def plain_faults(doing: str) -> Iterator[None]:
    """Turn a database error into a plain one: its message is kept, its parameters, values and row details are not.

    `from None`, since what hangs on an exception is stored and shown with it; a generator cannot shake it off.
    Raises Interrupted for a cancelled statement, CannotStart for a connection
    that is gone, WarehouseFault for a statement that was refused or took too long.
    """
    try:
        yield
    except sa.exc.DBAPIError as fault:
        raise _plain(doing, fault.orig) from None
    except Exception as fault:
        if type(fault).__module__.partition(".")[0] != "psycopg2":
            raise
        raise _plain(doing, fault) from None


def _plain(doing: str, fault: object) -> StaxError:
    """By SQLSTATE: 57014 is a cancelled query; none, class 08 and 57P mean that the server is gone."""
    state = getattr(fault, "pgcode", None) or ""
    said = _primary(fault)
    if state == "57014" and "timeout" not in said:  # the code of a cancelled query and of a statement time-out
        return Interrupted(f"{doing}: stopped.")
    gone = type(fault).__name__ in ("OperationalError", "InterfaceError") and not state
    if gone and any(words in said for words in _ALL_TAKEN):
        return CannotStart(f"{doing}: every connection that this login may have is in use ({said}). End some of them.")
    if gone and any(words in said for words in _UNPROVEN):
        return CannotStart(
            f"{doing}: the database's server did not prove itself ({said}). Off this machine it must: by TLS, with a "
            "certificate that STAX_DATABASE_CA_FILE or the system's bundle vouches for, and by asking for "
            "scram-sha-256. sslmode= and require_auth= in the URL say otherwise; docs/operate/security.md tells which."
        )
    if gone and any(words in said for words in _SHUT_OUT):
        return CannotStart(
            f"{doing}: the database does not let this login in ({said}). Check user, password and database in the URL."
        )
    if gone or state.startswith(("08", "57P")):
        return CannotStart(f"{doing}: the database is not reachable ({said}). Check STAX_DATABASE_URL or `stax up`.")
    return WarehouseFault(f"{doing}: the database refused it ({said}).")


def _primary(fault: object) -> str:
    primary = getattr(getattr(fault, "diag", None), "message_primary", None)
    if primary:
        is_about_a_value = (getattr(fault, "pgcode", None) or "").startswith("22")
        return str(primary).partition(': "')[0] if is_about_a_value else str(primary)
    text = str(fault).strip().splitlines()
    return text[0][:300] if text else type(fault).__name__
