"""Logins that see some tenants alone: their rows in `stax.tenant_grants`, their privileges, and the policies.

Such a login reads what the analyst reads. The policies ask for `current_user`, which a session cannot set, never for a
setting, which it can. A table that a later migration adds is opened at the end of that migration: to the rows of the
login's tenants where it has a `tenant_id`, and not at all where it has none, unless `SHARED` names it.

Stays out: making the login (`roles`), the names of tenants (`tenants`).
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from stax_pipeline.warehouse.roles import TENANTS_ROLE
from stax_pipeline.warehouse.tables import tenant_grants, tenants

SHARED = ("list_prices",)
"""Tables without a tenant that every granted login reads whole."""
SECRET = (
    "admin_keys", "alembic_version", "alert_channels", "invites", "logins", "parquet_due", "parquet_layout", "sessions",
)  # fmt: skip
"""Tables no granted login ever reads, whatever the analyst may."""

# as an array it is looked up once a query and can be found by an index, which a sub-select in a policy cannot
_MINE = "select g.tenant_id from stax.tenant_grants g where g.role_name = current_user"
_WITHOUT_POLICY = """
select c.relname, has_tenant.yes
from pg_class c
cross join lateral (select exists (
    select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped) as yes
) has_tenant
where c.relnamespace = cast('stax' as regnamespace) and c.relkind in ('r', 'p')
  and has_table_privilege(cast(:analyst as name), c.oid, 'select')
  and (has_tenant.yes or c.relname = any(:shared)) and c.relname <> all(:secret)
  and not exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'granted')
"""
_WITHOUT_PRIVILEGE = """
select format('grant select on stax.%I to %I', c.relname, pg_get_userbyid(login.grantee))
from pg_class c
cross join (select distinct acl.grantee from pg_class t, aclexplode(t.relacl) acl
            where t.oid = cast('stax.tenant_grants' as regclass) and acl.privilege_type = 'SELECT' and acl.grantee <> 0
) login
where c.relnamespace = cast('stax' as regnamespace) and c.relname <> all(:secret)
  and has_table_privilege(cast(:analyst as name), c.oid, 'select')
  and (exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'granted')
       or c.relkind = 'v' and c.reloptions @> array['security_invoker=true'])
  and not has_table_privilege(login.grantee, c.oid, 'select')
"""


def open_what_the_analyst_reads(owner: sa.Connection, analyst: str) -> None:
    """Give every table its policy and every granted login what is new to it. Changes nothing the second time."""
    named = {"analyst": analyst, "shared": list(SHARED), "secret": list(SECRET)}
    for table, has_tenant in owner.execute(sa.text(_WITHOUT_POLICY), named).all():
        condition = f"tenant_id = any (array({_MINE}))" if has_tenant else f"exists ({_MINE})"
        owner.exec_driver_sql(f'create policy granted on stax."{table}" for select using ({condition})')
    for (statement,) in owner.execute(sa.text(_WITHOUT_PRIVILEGE), named).all():
        owner.exec_driver_sql(statement)


def open_to(owner: sa.Connection, role: str, analyst: str) -> None:
    """Let the login look into the schema, where it sees nothing until it has tenants."""
    quoted = _quoted(owner, role)
    owner.exec_driver_sql(f"grant usage on schema stax to {quoted}")
    owner.exec_driver_sql(f"grant select on stax.tenant_grants to {quoted}")
    open_what_the_analyst_reads(owner, analyst)


def close_to(owner: sa.Connection, role: str) -> None:
    quoted = _quoted(owner, role)
    owner.exec_driver_sql(f"revoke all on all tables in schema stax from {quoted}")
    owner.exec_driver_sql(f"revoke all on schema stax from {quoted}")


def add_grants(loader: sa.Connection, role: str, tenant_ids: Collection[UUID]) -> None:
    """Tie the login to these tenants; those it has already stay as they are."""
    rows = [{"role_name": role, "tenant_id": tenant_id} for tenant_id in tenant_ids]
    loader.execute(insert(tenant_grants).on_conflict_do_nothing(), rows)


def remove_grants(loader: sa.Connection, role: str, tenant_ids: Collection[UUID]) -> None:
    loader.execute(
        tenant_grants.delete().where(
            tenant_grants.c.role_name == role, tenant_grants.c.tenant_id == sa.func.any(list(tenant_ids))
        )
    )


def forget_grants(loader: sa.Connection, role: str) -> None:
    """Every row of a login."""
    loader.execute(tenant_grants.delete().where(tenant_grants.c.role_name == role))


def granted_tenants(loader: sa.Connection, role: str) -> set[UUID]:
    query = sa.select(tenant_grants.c.tenant_id).where(tenant_grants.c.role_name == role)
    return set(loader.execute(query).scalars())


def slugs_by_role(loader: sa.Connection) -> dict[str, list[str]]:
    """Every login that has tenants, and which, both in order; without the roles that only the app reads as."""
    query = (
        sa.select(
            tenant_grants.c.role_name,
            sa.func.array_agg(aggregate_order_by(tenants.c.slug, tenants.c.slug)).label("slugs"),
        )
        .join_from(tenant_grants, tenants)
        .where(~tenant_grants.c.role_name.startswith(TENANTS_ROLE, autoescape=True))
        .group_by(tenant_grants.c.role_name)
        .order_by(tenant_grants.c.role_name)
    )
    return {found.role_name: found.slugs for found in loader.execute(query)}


def _quoted(connection: sa.Connection, role: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(role)
