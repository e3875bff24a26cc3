"""The two changes that the app makes to tenants, each one function that runs with the owner's rights.

The app's login reads no key and writes no table of tenants. It hands a sealed key to `store_admin_key`, and a tenant to
`end_connection`. The owner, who sees no row either, sees those of these tables in such a call alone: his policies ask
for `session_user`, which is the app's there, and which nobody can set. Locks and checks are those of `tenants.connect`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.domain.errors import KeyRefused
from stax_pipeline.warehouse.roles import TENANTS_ROLE
from stax_pipeline.warehouse.tables import admin_keys
from stax_pipeline.warehouse.tenants import StoredKey

TABLES = ("admin_keys", "connection_audit", "tenant_grants", "tenants")
OTHER_TENANT = (
    "This key belongs to an organisation that another tenant has already. One organisation is one tenant. "
    "The key was not stored."
)
OTHER_ORGANIZATION = (
    "This key belongs to another organisation than this tenant's. A tenant keeps its organisation for good, so that "
    "figures never mix. The key was not stored."
)
NAME_TAKEN = "Another tenant has this short name already: choose another. The key was not stored."
RACED = (
    "Another key was stored for this tenant at the same moment. Look at it, and save yours again if you still want to."
)
_REFUSALS = {"SX001": OTHER_TENANT, "SX002": OTHER_ORGANIZATION, "SX003": NAME_TAKEN, "SX004": RACED}

_STORE = f"""
declare
    known stax.tenants;
begin
    perform pg_advisory_xact_lock_shared(hashtext('stax master keys'));
    perform pg_advisory_xact_lock(hashtext('stax connect'));
    select * into known from stax.tenants t where t.tenant_id = tenant;
    if known.organization_id <> organization then
        raise exception 'other organisation' using errcode = 'SX002';
    elsif exists (select from stax.tenants t where t.organization_id = organization and t.tenant_id <> tenant) then
        raise exception 'other tenant' using errcode = 'SX001';
    elsif exists (select from stax.tenants t where t.slug = new_slug and t.tenant_id <> tenant) then
        raise exception 'name taken' using errcode = 'SX003';
    elsif new_generation <> (select coalesce(max(k.generation), 0) + 1 from stax.admin_keys k
                             where k.tenant_id = tenant) then
        raise exception 'raced' using errcode = 'SX004';
    end if;
    perform pg_advisory_xact_lock(hashtextextended(tenant::text, 0));
    insert into stax.tenants (tenant_id, slug, name, organization_id, status, created_at)
        values (tenant, new_slug, new_name, organization, 'connected', accepted_at)
        on conflict (tenant_id) do update set status = 'connected';
    update stax.admin_keys k set ciphertext = '', wrapped_data_key = '', revoked_at = now()
        where k.tenant_id = tenant and k.revoked_at is null;
    insert into stax.admin_keys
        (tenant_id, generation, ciphertext, wrapped_data_key, master_key_id, key_hint, validated_at)
        values (tenant, new_generation, sealed, wrapped, master, hint, accepted_at);
    insert into stax.tenant_grants (role_name, tenant_id)
        values ('{TENANTS_ROLE}' || replace(tenant::text, '-', ''), tenant) on conflict do nothing;
    insert into stax.connection_audit (tenant_id, at, what, who, key_hint)
        values (tenant, clock_timestamp(), case new_generation when 1 then 'connected' else 'rotated' end, person,
                hint);
end
"""  # noqa: S608 our own constant
_END = """
begin
    perform pg_advisory_xact_lock(hashtextextended(tenant::text, 0));
    update stax.admin_keys k set ciphertext = '', wrapped_data_key = '', revoked_at = now()
        where k.tenant_id = tenant and k.revoked_at is null;
    update stax.tenants t set status = 'disconnected' where t.tenant_id = tenant;
    insert into stax.connection_audit (tenant_id, at, what, who, key_hint)
        values (tenant, clock_timestamp(), 'disconnected', person, '');
end
"""
FUNCTIONS = {
    "store_admin_key(tenant uuid, new_slug text, new_name text, organization text, new_generation bigint, "
    "sealed bytea, wrapped bytea, master text, hint text, accepted_at timestamptz, person text)": _STORE,
    "end_connection(tenant uuid, person text)": _END,
}
_SAME = """
select exists (select from pg_proc where pronamespace = cast('stax' as regnamespace) and proname = :name
               and prosrc = :body)
"""


def make_functions(owner: sa.Connection, app: str) -> None:
    """Make the functions and the policies they run under. Changes nothing the second time."""
    quoted = _quoted(owner, app)
    for signature, body in FUNCTIONS.items():
        name = signature.partition("(")[0]
        if not owner.execute(sa.text(_SAME), {"name": name, "body": body}).scalar():
            owner.exec_driver_sql(f"drop function if exists stax.{name}")
            owner.exec_driver_sql(
                f"create function stax.{signature} returns void language plpgsql security definer "
                f"set search_path = pg_catalog, stax, pg_temp as $body${body}$body$"
            )
            owner.exec_driver_sql(f"revoke all on function stax.{name} from public")
        owner.exec_driver_sql(f"grant execute on function stax.{name} to {quoted}")
    for table in TABLES:
        if not owner.execute(sa.text(_HAS_POLICY), {"table": table, "app": app}).scalar():
            literal = app.replace("'", "''")
            owner.exec_driver_sql(f"drop policy if exists app_changes on stax.{table}")
            owner.exec_driver_sql(
                f"create policy app_changes on stax.{table} to current_user "
                f"using (session_user = '{literal}') with check (session_user = '{literal}')"
            )


_HAS_POLICY = """
select exists (select from pg_policies where schemaname = 'stax' and tablename = :table and policyname = 'app_changes'
               and strpos(qual, quote_literal(:app)) > 0)
"""


def store_admin_key(
    app: sa.Connection, key: StoredKey, *, slug: str, name: str, organization_id: str, person: str
) -> None:
    """Store a sealed key as the tenant's next generation, making the tenant where there is none; those before it are
    destroyed. Raises KeyRefused where the organisation, the name or the generation does not fit.
    """
    try:
        app.execute(
            sa.text(
                "select stax.store_admin_key(:tenant, :slug, :name, :organization, :generation, :sealed, :wrapped, "
                ":master, :hint, :at, :person)"
            ),
            {
                "tenant": key.tenant_id, "slug": slug, "name": name, "organization": organization_id,
                "generation": key.generation, "sealed": key.sealed.ciphertext, "wrapped": key.sealed.wrapped_data_key,
                "master": key.sealed.master_key_id, "hint": key.key_hint, "at": key.validated_at, "person": person,
            },
        )  # fmt: skip
    except sa.exc.DBAPIError as fault:
        words = _REFUSALS.get(getattr(fault.orig, "pgcode", None) or "")
        if words is None:
            raise
        raise KeyRefused(words) from None


def end_connection(app: sa.Connection, tenant_id: UUID, person: str) -> None:
    """Destroy the tenant's key and stop its syncs; its data stays."""
    app.execute(sa.text("select stax.end_connection(:tenant, :person)"), {"tenant": tenant_id, "person": person})


class KeyInUse(NamedTuple):
    """What the app may know of a key: which generation it is, its last four characters, when Anthropic accepted it."""

    generation: int
    key_hint: str
    validated_at: datetime


def key_in_use(app: sa.Connection, tenant_id: UUID) -> KeyInUse | None:
    """The key in use of a tenant that the person who asks may see; None where there is none."""
    query = _keys_of(tenant_id, *KeyInUse._fields).where(admin_keys.c.revoked_at.is_(None))
    row = app.execute(query).one_or_none()
    return None if row is None else KeyInUse(*row)


def next_generation(app: sa.Connection, tenant_id: UUID) -> int:
    """What a new key of the tenant is sealed as."""
    return max(app.execute(_keys_of(tenant_id, "generation")).scalars(), default=0) + 1


def _keys_of(tenant_id: UUID, *columns: str) -> sa.Select[Any]:
    return sa.select(*(admin_keys.c[name] for name in columns)).where(admin_keys.c.tenant_id == tenant_id)


def _quoted(connection: sa.Connection, role: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(role)
