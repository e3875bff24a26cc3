"""Make a tenant, or give it a new key: checked with Anthropic first, stored only when that succeeded.

Belongs here: who may have which organisation, and the one transaction that stores. Stays out: asking for the key and
the first backfill (`cli`), replacing a key by name (`rotate`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import uuid4

import sqlalchemy as sa

from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.errors import CannotStart, KeyRefused, TenantStopped, WrongUse
from stax_pipeline.domain.say import Say, say_nothing
from stax_pipeline.domain.slug import parse_slug
from stax_pipeline.domain.tenant import CONNECTED, DISCONNECTED, Tenant
from stax_pipeline.installation.settings import Settings
from stax_pipeline.keys.encryption import MasterKeys, seal
from stax_pipeline.keys.tenant_keys import OpenedKey, ensure_master_key, hold_master_keys, master_keys, open_key
from stax_pipeline.tenants.validate import LIVE_TEST, Validated, validate
from stax_pipeline.warehouse.connection_audit import note
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.publish import lock_tenant
from stax_pipeline.warehouse.tables import tenants
from stax_pipeline.warehouse.tenants import (
    StoredKey,
    add_tenant,
    find_tenant,
    newest_generation,
    note_validated,
    store_key,
    tenant_of_organization,
)

_ONE_AT_A_TIME = "stax connect"


@dataclass(frozen=True, slots=True)
class Connected:
    """A tenant whose key was accepted and is stored: a new tenant's, another key, or the very one that was there.

    `before` is the tenant as it was, None where it is new.
    """

    tenant: Tenant
    generation: int
    key_hint: str
    before: Tenant | None = None
    was_stored: bool = False

    @property
    def is_new(self) -> bool:
        return self.before is None


def connect(
    settings: Settings, engine: sa.Engine, slug: str, name: str | None, key: AdminKey, say: Say = say_nothing
) -> Connected:
    """Validate and store a tenant's key. Raises WrongUse, CannotStart or KeyRefused; nothing is stored then."""
    parse_slug(slug)
    with plain_faults(f"tenant {slug}: looking for stored keys"), engine.begin() as connection:
        ensure_master_key(settings, connection)
    say(f"Asking Anthropic whether it accepts the key: {LIVE_TEST} ...")
    validated = validate(settings, key)
    say(f"Accepted. The organisation is {validated.organization_name!r}.")
    with plain_faults(f"tenant {slug}: storing the key"), engine.begin() as connection:
        return _store(connection, settings, slug, name, key, validated)


def _store(
    connection: sa.Connection, settings: Settings, slug: str, name: str | None, key: AdminKey, validated: Validated
) -> Connected:
    hold_master_keys(connection)
    connection.execute(sa.text("select pg_advisory_xact_lock(hashtext(:name))"), {"name": _ONE_AT_A_TIME})
    holder = tenant_of_organization(connection, validated.organization_id)
    if holder and holder.slug != slug:
        raise KeyRefused(_already_connected(holder))
    known = find_tenant(connection, slug)
    if known and not holder:
        raise KeyRefused(_other_organization(known, validated))
    tenant = known or _new_tenant(slug, name, validated)
    lock_tenant(connection, tenant.tenant_id)
    if known:
        tenant = known._replace(status=CONNECTED, name=name or known.name)
        _mark_connected(connection, tenant)
    else:
        add_tenant(connection, tenant)
    stored = store_generation(connection, settings, tenant, key, validated)
    if not stored.was_stored:
        note(connection, tenant.tenant_id, "connected" if stored.generation == 1 else "rotated", key.hint)
    return replace(stored, before=known)


def store_generation(
    connection: sa.Connection, settings: Settings, tenant: Tenant, key: AdminKey, validated: Validated
) -> Connected:
    """Seal `key` as the tenant's next generation, destroying those before it in the same transaction, which must hold
    the master keys (`hold_master_keys`).

    The very key in use is no new generation; when Anthropic accepted it is noted. Raises CannotStart when what was
    stored does not open again.
    """
    masters = master_keys(settings)
    in_use = _key_in_use(connection, masters, tenant)
    if in_use and in_use.key == key:
        note_validated(connection, tenant.tenant_id, in_use.generation, validated.validated_at)
        return Connected(tenant, in_use.generation, key.hint, was_stored=True)
    generation = newest_generation(connection, tenant.tenant_id) + 1
    sealed = seal(key, tenant_id=tenant.tenant_id, generation=generation, masters=masters)
    store_key(connection, StoredKey(tenant.tenant_id, generation, sealed, key.hint, validated.validated_at))
    in_use = _key_in_use(connection, master_keys(settings), tenant)
    if in_use is None or in_use.key != key:
        raise CannotStart("The master key changed while the key was being stored: nothing was changed; run it again.")
    return Connected(tenant, generation, key.hint)


def _key_in_use(connection: sa.Connection, masters: MasterKeys, tenant: Tenant) -> OpenedKey | None:
    """None where there is none, or where it does not open any more: then another one is welcome."""
    try:
        return open_key(connection, tenant, masters)
    except (WrongUse, TenantStopped):
        return None


def _new_tenant(slug: str, name: str | None, validated: Validated) -> Tenant:
    return Tenant(
        tenant_id=uuid4(),
        slug=slug,
        name=name or validated.organization_name,
        organization_id=validated.organization_id,
        status=CONNECTED,
        created_at=validated.validated_at,
        first_sync_run_id=None,
    )


def _mark_connected(connection: sa.Connection, tenant: Tenant) -> None:
    connection.execute(
        tenants.update().where(tenants.c.tenant_id == tenant.tenant_id).values(status=CONNECTED, name=tenant.name)
    )


def _already_connected(holder: Tenant) -> str:
    way_out = (
        f"`stax connect {holder.slug}` connects it again, `stax disconnect {holder.slug} --purge` removes it"
        if holder.status == DISCONNECTED
        else f"`stax rotate-key {holder.slug}` gives it a new key"
    )
    return (
        f"This key belongs to an organisation that tenant {holder.slug} already has ({holder.status}). "
        f"One organisation is one tenant; {way_out}. The key was not stored."
    )


def _other_organization(known: Tenant, validated: Validated) -> str:
    return (
        f"Tenant {known.slug} is another organisation than this key's ({validated.organization_name!r}). A tenant "
        "keeps its organisation for good, so that figures never mix: choose another name for this one. "
        "The key was not stored."
    )
