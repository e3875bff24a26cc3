"""What the app's own login may do by itself, and as whom it reads.

`stax_app` reads no row of any tenant by itself. Each request is one read-only transaction that begins by becoming a
role that reads (`SET LOCAL ROLE`): the analyst for people who see all tenants, else the role of the one tenant, so that
the policies of `grants` decide. A tenant's role cannot log in, and is named by the tenant's id, which tells nothing.
Stays out: who the people are, and the steps in which a tenant's role is made (`app.people`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.warehouse.app_functions import make_functions
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.granted_logins import exists
from stax_pipeline.warehouse.roles import ANALYST, APP, TENANTS_ROLE, Logins, is_superuser, may_create_roles

STATEMENT_SECONDS = 30
"""No page waits for a query any longer than that."""
OWN = {
    "logins": "select, insert",
    "sessions": "select, insert, delete",
    "invites": "select, update (used_at)",
    "admin_keys": "select (tenant_id, generation, key_hint, validated_at, revoked_at)",
}
"""What the app does by itself, by table: it asks who is there, and whose key ends how. No right lets it read a key."""
_CHECKS = {"logins": "role = 'tenant'"}
"""What rows that it adds must be: it makes nobody an operator."""
_HAS_POLICY = """
select exists (select from pg_policies where schemaname = 'stax' and tablename = :table and policyname = 'app'
               and roles = array[cast(:role as name)])
"""


def tenants_role(tenant_id: UUID) -> str:
    """The role whom the app reads as for people of that tenant."""
    return f"{TENANTS_ROLE}{tenant_id.hex}"


def open_to_the_app(owner: sa.Connection, app: str) -> None:
    """Give the app's login its own tables. Changes nothing the second time."""
    quoted = _quoted(owner, app)
    owner.exec_driver_sql(f"grant usage on schema stax to {quoted}")
    for table, rights in OWN.items():
        owner.exec_driver_sql(f"grant {rights} on stax.{table} to {quoted}")
        if not owner.execute(sa.text(_HAS_POLICY), {"table": table, "role": app}).scalar():
            owner.exec_driver_sql(f"drop policy if exists app on stax.{table}")
            check = _CHECKS.get(table, "true")
            owner.exec_driver_sql(f"create policy app on stax.{table} to {quoted} using (true) with check ({check})")
    make_functions(owner, app)


def let_read_as(admin: sa.Connection, logins: Logins) -> None:
    """Let the app become the analyst, where the administrator's user may say so; an operator grants it himself
    elsewhere (docs/operate/security.md).

    A member that inherits nothing: it may do what the analyst may only after it became the analyst.
    """
    if not logins.app:
        return
    app, analyst = logins.role_in(logins.app), logins.role_in(logins.analyst)
    if not (is_superuser(admin) or may_create_roles(admin) and (app, analyst) == (APP, ANALYST)):
        return
    known = sa.text("select exists (select from pg_roles where rolname = :app and not rolinherit)")
    if not admin.execute(known, {"app": app}).scalar():
        admin.exec_driver_sql(f"alter role {_quoted(admin, app)} noinherit")
    _make_member(admin, app, analyst)


def make_role(admin: sa.Connection, role: str, app: str) -> None:
    """Make a tenant's role, which may nothing yet, and let the app become it. Changes nothing the second time."""
    if not exists(admin, role):
        admin.exec_driver_sql(f"create role {_quoted(admin, role)} nologin")
    _make_member(admin, app, role)


def drop_role(admin: sa.Connection, role: str) -> None:
    """Drop a tenant's role that may nothing any more."""
    admin.exec_driver_sql(f"drop role {_quoted(admin, role)}")


@contextmanager
def reading_as(engine: sa.Engine, role: str) -> Iterator[sa.Connection]:
    """One read-only snapshot of the app's login as that role. Raises CannotStart where it may not become the role."""
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with plain_faults("reading"), engine.connect() as connection:
        begun = connection.execution_options(**options)
        _become(begun, role)
        begun.exec_driver_sql(f"set local statement_timeout = '{STATEMENT_SECONDS}s'")
        yield begun


def _become(connection: sa.Connection, role: str) -> None:
    try:
        connection.exec_driver_sql(f"set local role {_quoted(connection, role)}")
    except sa.exc.DBAPIError as fault:
        if getattr(fault.orig, "pgcode", None) not in ("42501", "22023"):  # not a member of it; no such role
            raise
        raise CannotStart(
            "The app's database login may not read for this login. Start again (stax up), which mends it; "
            "on your own Postgres, docs/operate/security.md has the statement."
        ) from None


def _make_member(admin: sa.Connection, app: str, role: str) -> None:
    member = sa.text(
        "select exists (select from pg_auth_members m join pg_roles a on a.oid = m.member join pg_roles r on r.oid = "
        "m.roleid where a.rolname = :app and r.rolname = :role)"
    )
    if not admin.execute(member, {"app": app, "role": role}).scalar():
        admin.exec_driver_sql(f"grant {_quoted(admin, role)} to {_quoted(admin, app)}")


def _quoted(connection: sa.Connection, role: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(role)
