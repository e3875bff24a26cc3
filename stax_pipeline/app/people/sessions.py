"""Logins and sessions as the app finds them in the warehouse. Of a session's cookie only a hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.app.people.person import Person, Role
from stax_pipeline.warehouse.tables import logins, sessions

LASTS = timedelta(hours=12)


def person_of(connection: sa.Connection, name: str) -> Person | None:
    """The login of that name, None where there is none."""
    return _person(connection, logins.c.name == name)


def password_hash_of(connection: sa.Connection, name: str) -> str | None:
    """What is kept of the login's password; None without such a login, '' without a password."""
    return connection.execute(sa.select(logins.c.password_hash).where(logins.c.name == name)).scalar_one_or_none()


def begin(connection: sa.Connection, name: str, kept: str) -> str | None:
    """Log a person in whose password was right by the hash `kept`; None where it is another by now.

    Returns what the browser keeps; sessions that ended are forgotten on the way.
    """
    token = secrets.token_urlsafe(32)
    connection.execute(sessions.delete().where(sessions.c.expires_at <= sa.func.now()))
    unchanged = sa.select(sa.literal(hash_of(token)), logins.c.name, sa.func.now(), sa.func.now() + LASTS).where(
        logins.c.name == name, logins.c.password_hash == kept
    )
    columns = [sessions.c.token_sha256, sessions.c.login_name, sessions.c.begun_at, sessions.c.expires_at]
    begun = connection.execute(sessions.insert().from_select(columns, unchanged))
    return token if begun.rowcount else None


def find(connection: sa.Connection, token: str) -> Person | None:
    """Whose session it is, None where it ended, was revoked or never was."""
    theirs = sa.select(sessions.c.login_name).where(
        sessions.c.token_sha256 == hash_of(token), sessions.c.expires_at > sa.func.now()
    )
    return _person(connection, logins.c.name == theirs.scalar_subquery())


def end(connection: sa.Connection, token: str) -> None:
    """Log out."""
    connection.execute(sessions.delete().where(sessions.c.token_sha256 == hash_of(token)))


def hash_of(token: str) -> str:
    """What is kept of a session's cookie."""
    return hashlib.sha256(token.encode()).hexdigest()


def _person(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Person | None:
    found = connection.execute(
        sa.select(logins.c.name, logins.c.role, logins.c.tenant_id).where(condition)
    ).one_or_none()
    if found is None:
        return None
    tenant_id: UUID | None = found.tenant_id
    return Person(found.name, Role(found.role), tenant_id)
