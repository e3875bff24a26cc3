"""Tenants and their sealed admin keys, as the warehouse keeps them. Opening a key is `keys.tenant_keys`' business."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.domain.errors import StaxError, WrongUse
from stax_pipeline.domain.extraction import DataSource
from stax_pipeline.domain.sealed_key import SealedKey, StoredKeyDamaged
from stax_pipeline.domain.slug import parse_slug
from stax_pipeline.domain.tenant import CONNECTED, DISCONNECTED, KEY_REJECTED, Tenant
from stax_pipeline.warehouse.tables import admin_keys, coverage, extractions, tenants


class StoredKey(NamedTuple):
    """The generation in use of a tenant's key."""

    tenant_id: UUID
    generation: int
    sealed: SealedKey
    key_hint: str
    validated_at: datetime


_TENANT = [tenants.c[name] for name in Tenant._fields]


def all_tenants(connection: sa.Connection) -> list[Tenant]:
    return [Tenant(*row) for row in connection.execute(sa.select(*_TENANT).order_by(tenants.c.slug))]


def find_tenant(connection: sa.Connection, slug: str) -> Tenant | None:
    row = connection.execute(sa.select(*_TENANT).where(tenants.c.slug == slug)).one_or_none()
    return None if row is None else Tenant(*row)


def get_tenant(connection: sa.Connection, slug: str) -> Tenant:
    """The tenant of that slug. Raises WrongUse when there is none, or can be none."""
    tenant = find_tenant(connection, parse_slug(slug))
    if tenant is None:
        raise WrongUse(f"There is no tenant {slug}. `stax tenants` lists them; `stax connect {slug}` makes one.")
    return tenant


def tenant_of_organization(connection: sa.Connection, organization_id: str) -> Tenant | None:
    row = connection.execute(sa.select(*_TENANT).where(tenants.c.organization_id == organization_id)).one_or_none()
    return None if row is None else Tenant(*row)


def tenants_to_sync(connection: sa.Connection, slugs: Sequence[str] = ()) -> list[Tenant]:
    """All connected tenants, or the named ones. A tenant named by hand is tried again even if its key was rejected.

    Raises WrongUse for an unknown or disconnected name.
    """
    if not slugs:
        return [tenant for tenant in all_tenants(connection) if tenant.status == CONNECTED]
    chosen = [get_tenant(connection, slug) for slug in dict.fromkeys(slugs)]
    for tenant in chosen:
        if tenant.status == DISCONNECTED:
            raise WrongUse(f"Tenant {tenant.slug} is disconnected. `stax connect {tenant.slug}` connects it again.")
    return chosen


def add_tenant(connection: sa.Connection, tenant: Tenant) -> None:
    connection.execute(tenants.insert().values(**tenant._asdict()))


def set_status(connection: sa.Connection, tenant_id: UUID, status: str) -> None:
    connection.execute(tenants.update().where(tenants.c.tenant_id == tenant_id).values(status=status))


def set_source(connection: sa.Connection, tenant_id: UUID, source: DataSource | None) -> None:
    """Read the tenant from there, from STAX_SOURCE when None; a newer source that was refused is asked again."""
    connection.execute(
        tenants.update().where(tenants.c.tenant_id == tenant_id).values(source=source, newer_source_refused_at=None)
    )


def note_no_newer_source(connection: sa.Connection, tenant_id: UUID) -> None:
    connection.execute(
        tenants.update().where(tenants.c.tenant_id == tenant_id).values(newer_source_refused_at=sa.func.now())
    )


def hold_tenants(connection: sa.Connection, tenant_ids: Sequence[UUID]) -> set[UUID]:
    """Keep these tenants from being removed until the transaction ends; who is there and not being removed just now.
    Nobody is waited for.
    """
    query = (
        sa.select(tenants.c.tenant_id)
        .where(tenants.c.tenant_id == sa.func.any(list(tenant_ids)))
        .with_for_update(key_share=True, read=True, skip_locked=True)
    )
    return set(connection.execute(query).scalars())


def note_rejected(connection: sa.Connection, tenant_id: UUID, generation: int) -> None:
    """The source refused that generation of the key: so it is, unless it was replaced or disconnected meanwhile."""
    _change_status(connection, {tenant_id: generation}, CONNECTED, KEY_REJECTED)


def note_accepted(connection: sa.Connection, generations: Mapping[UUID, int], run_id: str) -> None:
    """The source accepted these tenants' generations of the key again, where they are still the ones in use.

    Not in a run in which something of the tenant failed: one report that answers does not outweigh one that rejects.
    """
    failed = sa.exists().where(
        extractions.c.tenant_id == tenants.c.tenant_id,
        extractions.c.run_id == run_id,
        extractions.c.error.is_not(None),
    )
    if generations:
        _change_status(connection, generations, KEY_REJECTED, CONNECTED, ~failed)


def _change_status(
    connection: sa.Connection, generations: Mapping[UUID, int], old: str, new: str, *where: sa.ColumnElement[bool]
) -> None:
    used = sa.tuple_(admin_keys.c.tenant_id, admin_keys.c.generation).in_(list(generations.items()))
    in_use = sa.exists().where(admin_keys.c.tenant_id == tenants.c.tenant_id, used, admin_keys.c.revoked_at.is_(None))
    connection.execute(
        tenants.update()
        .where(tenants.c.tenant_id == sa.func.any(list(generations)), tenants.c.status == old, in_use, *where)
        .values(status=new)
    )


def set_first_sync(connection: sa.Connection, tenant_ids: Sequence[UUID], run_id: str) -> None:
    """Note the run of the first backfill, once, for tenants that have coverage by now."""
    fetched = sa.select(coverage.c.tenant_id).where(coverage.c.tenant_id == tenants.c.tenant_id).exists()
    connection.execute(
        tenants.update()
        .where(tenants.c.tenant_id == sa.func.any(list(tenant_ids)), tenants.c.first_sync_run_id.is_(None), fetched)
        .values(first_sync_run_id=run_id)
    )


def current_key(connection: sa.Connection, tenant: Tenant) -> StoredKey:
    """As `current_keys`, of one tenant; raises what that has for it."""
    found = current_keys(connection, [tenant])[tenant.tenant_id]
    if isinstance(found, StaxError):
        raise found
    return found


def current_keys(connection: sa.Connection, wanted: Collection[Tenant]) -> dict[UUID, StoredKey | StaxError]:
    """Each tenant's newest generation. WrongUse where there is none in use, StoredKeyDamaged where an older one is:
    each generation ends those before it, so somebody put that one back.
    """
    ids = [tenant.tenant_id for tenant in wanted]
    query = (
        sa.select(admin_keys).where(admin_keys.c.tenant_id == sa.func.any(ids)).order_by(admin_keys.c.generation.desc())
    )
    rows: dict[UUID, list[sa.Row[Any]]] = {tenant_id: [] for tenant_id in ids}
    for row in connection.execute(query):
        rows[row.tenant_id].append(row)
    return {tenant.tenant_id: _in_use(tenant, rows[tenant.tenant_id]) for tenant in wanted}


def _in_use(tenant: Tenant, rows: Sequence[sa.Row[Any]]) -> StoredKey | StaxError:
    if rows and rows[0].revoked_at is None:
        return _stored(rows[0])
    if any(row.revoked_at is None for row in rows):
        return StoredKeyDamaged()
    return WrongUse(f"Tenant {tenant.slug} has no admin key. `stax rotate-key {tenant.slug}` stores one.")


def newest_generation(connection: sa.Connection, tenant_id: UUID) -> int:
    query = sa.select(sa.func.max(admin_keys.c.generation)).where(admin_keys.c.tenant_id == tenant_id)
    return connection.execute(query).scalar() or 0


def store_key(connection: sa.Connection, key: StoredKey) -> None:
    """Store a new generation and destroy those before it, in the caller's transaction."""
    destroy_keys(connection, key.tenant_id)
    connection.execute(
        admin_keys.insert().values(
            tenant_id=key.tenant_id,
            generation=key.generation,
            ciphertext=key.sealed.ciphertext,
            wrapped_data_key=key.sealed.wrapped_data_key,
            master_key_id=key.sealed.master_key_id,
            key_hint=key.key_hint,
            validated_at=key.validated_at,
        )
    )


def note_validated(connection: sa.Connection, tenant_id: UUID, generation: int, at: datetime) -> None:
    connection.execute(
        admin_keys.update()
        .where(admin_keys.c.tenant_id == tenant_id, admin_keys.c.generation == generation)
        .values(validated_at=at)
    )


def destroy_keys(connection: sa.Connection, tenant_id: UUID) -> int:
    """Erase every ciphertext of a tenant, keeping who had which key when; returns how many there were."""
    return connection.execute(
        admin_keys.update()
        .where(admin_keys.c.tenant_id == tenant_id, admin_keys.c.revoked_at.is_(None))
        .values(ciphertext=b"", wrapped_data_key=b"", revoked_at=sa.func.now())
    ).rowcount


def keys_in_use(connection: sa.Connection) -> list[StoredKey]:
    """Every key that is not revoked, for rotation of the master key."""
    query = sa.select(admin_keys).where(admin_keys.c.revoked_at.is_(None)).order_by(admin_keys.c.tenant_id)
    return [_stored(row) for row in connection.execute(query)]


def replace_wrapping(connection: sa.Connection, key: StoredKey) -> None:
    """Store the data key under its new wrapping, if the generation is still in use."""
    connection.execute(
        admin_keys.update()
        .where(
            admin_keys.c.tenant_id == key.tenant_id,
            admin_keys.c.generation == key.generation,
            admin_keys.c.revoked_at.is_(None),
        )
        .values(wrapped_data_key=key.sealed.wrapped_data_key, master_key_id=key.sealed.master_key_id)
    )


def _stored(row: sa.Row[Any]) -> StoredKey:
    sealed = SealedKey(bytes(row.ciphertext), bytes(row.wrapped_data_key), row.master_key_id)
    return StoredKey(row.tenant_id, row.generation, sealed, row.key_hint, row.validated_at)
