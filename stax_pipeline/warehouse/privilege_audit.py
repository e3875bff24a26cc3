"""Who else, on a database that the product shares, could run code as one of its logins: refused, or told with the mend.

Names are looked up in `pg_catalog`, `stax` and, by Dagster, in `dagster`; whoever may create there is trusted.
Stays out: logins of `stax grant` that may more than read (`granted_logins`).
"""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.warehouse.roles import DAGSTER_SCHEMA, PRODUCTS, TENANTS_ROLE, Logins

_SCHEMAS = ["stax", DAGSTER_SCHEMA]
_OWNERS = """
select n.nspname, r.rolname from pg_namespace n join pg_roles r on r.oid = n.nspowner
where n.nspname = any(%(schemas)s) and r.rolname <> all(%(ours)s) and r.rolname <> current_user and not r.rolsuper
  and n.nspowner <> (select datdba from pg_database where datname = current_database())
order by 1
"""
_CREATING = """
select n.nspname, r.rolname
from pg_namespace n cross join aclexplode(n.nspacl) acl left join pg_roles r on r.oid = acl.grantee
where n.nspname = any(%(schemas)s) and acl.privilege_type = 'CREATE' and acl.grantee <> n.nspowner
  and (acl.grantee = 0 or r.rolname <> all(%(ours)s) and r.rolname <> current_user
       and r.rolname <> 'pg_database_owner' and not r.rolsuper)
order by n.nspname, r.rolname nulls first
"""
_MEMBERS = """
select distinct p.rolname as role, r.rolname as member
from pg_auth_members m join pg_roles p on p.oid = m.roleid join pg_roles r on r.oid = m.member
where p.rolname = any(%(ours)s) and r.rolname <> all(%(ours)s) and r.rolname <> current_user and not r.rolsuper
order by 1, 2
"""
_APP = """
select a.rolname as app, a.rolinherit and not a.rolsuper as inherits, p.rolname as becomes
from pg_roles a left join pg_auth_members m on m.member = a.oid left join pg_roles p on p.oid = m.roleid
where a.rolname = %(app)s
  and (a.rolinherit or p.rolname <> %(analyst)s and not starts_with(p.rolname, %(tenants)s))
order by 3
"""


def refuse_foreign_schemas(connection: sa.Connection) -> None:
    """Raise CannotStart where a schema of ours belongs to somebody else, who made it before the product came."""
    named = {"ours": list(PRODUCTS), "schemas": _SCHEMAS}
    found = connection.exec_driver_sql(_OWNERS, named).first()
    if found:
        raise CannotStart(
            f"Schema {found.nspname} of this database belongs to {found.rolname}, whose functions in it could run as "
            "the product. Look at what lies in it and drop it, or use another database. Nothing was changed."
        )


def excess_privileges(connection: sa.Connection, logins: Logins) -> list[str]:
    """Who may create in our schemas or in `public`, or become one of our logins, and whom the app may become beside
    those who read; each with the statement that ends it.

    In a database from before Postgres 15 everybody may create in `public`.
    """
    named = {"ours": list(PRODUCTS), "schemas": ["public", *_SCHEMAS]}
    quoted = connection.dialect.identifier_preparer.quote_identifier
    creating = [
        _may_create(row.nspname, row.rolname, "public" if row.rolname is None else quoted(row.rolname))
        for row in connection.exec_driver_sql(_CREATING, named)
    ]
    return (
        creating
        + [
            f"role {row.member} is a member of {row.role} and may do all that it may. "
            f"To end it: revoke {row.role} from {quoted(row.member)};"
            for row in connection.exec_driver_sql(_MEMBERS, named)
        ]
        + excess_of_the_app(connection, logins)
    )


def excess_of_the_app(connection: sa.Connection, logins: Logins) -> list[str]:
    """The app reads as whom it serves: it has no rights of theirs before, and none of anybody else."""
    if not logins.app:
        return []
    named = {"app": logins.role_in(logins.app), "analyst": logins.role_in(logins.analyst), "tenants": TENANTS_ROLE}
    quoted = connection.dialect.identifier_preparer.quote_identifier
    rows = connection.exec_driver_sql(_APP, named).all()
    inherited = [
        f"role {row.app} has the rights of the roles that it reads as at all times. To end it: "
        f"alter role {quoted(row.app)} noinherit;"
        for row in rows[:1]
        if row.inherits
    ]
    allowed = (named["analyst"], None)
    return inherited + [
        f"role {row.app} is a member of {row.becomes} and may do all that it may. "
        f"To end it: revoke {quoted(row.becomes)} from {quoted(row.app)};"
        for row in rows
        if row.becomes not in allowed and not row.becomes.startswith(TENANTS_ROLE)
    ]


def _may_create(schema: str, role: str | None, quoted: str) -> str:
    who = "everybody" if role is None else f"role {role}"
    harm = (
        "the product looks nothing up there, other tools may" if schema == "public" else "it could run as the product"
    )
    return (
        f"{who} may create tables and functions in schema {schema} of this database ({harm}). "
        f"To end it: revoke create on schema {schema} from {quoted};"
    )
