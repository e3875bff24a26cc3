"""Who else, on a database that the product shares, could run code as one of its logins: refused, or told with the mend.

Names are looked up in `pg_catalog`, `stax` and, by Dagster, in `dagster`; whoever may create there is trusted.
Stays out: logins of `stax grant` that may more than read (`granted_logins`).
"""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.warehouse.roles import DAGSTER_SCHEMA, PRODUCTS

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


def refuse_foreign_schemas(connection: sa.Connection) -> None:
    """Raise CannotStart where a schema of ours belongs to somebody else, who made it before the product came."""
    named = {"ours": list(PRODUCTS), "schemas": _SCHEMAS}
    found = connection.exec_driver_sql(_OWNERS, named).first()
    if found:
        raise CannotStart(
            f"Schema {found.nspname} of this database belongs to {found.rolname}, whose functions in it could run as "
            "the product. Look at what lies in it and drop it, or use another database. Nothing was changed."
        )


def excess_privileges(connection: sa.Connection) -> list[str]:
    """Who may create in our schemas or in `public`, or become one of our logins; each with the statement that ends it.

    In a database from before Postgres 15 everybody may create in `public`.
    """
    named = {"ours": list(PRODUCTS), "schemas": ["public", *_SCHEMAS]}
    quoted = connection.dialect.identifier_preparer.quote_identifier
    creating = [
        _may_create(row.nspname, row.rolname, "public" if row.rolname is None else quoted(row.rolname))
        for row in connection.exec_driver_sql(_CREATING, named)
    ]
    return creating + [
        f"role {row.member} is a member of {row.role} and may do all that it may. "
        f"To end it: revoke {row.role} from {quoted(row.member)};"
        for row in connection.exec_driver_sql(_MEMBERS, named)
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
