"""Replace a tenant's admin key: the good one stays until a better one is in place, whatever is killed when.

Stays out: connecting (`connect`), the master key that wraps all of them (`keys.master_key_rotation`).
"""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.errors import KeyRefused, WrongUse
from stax_pipeline.domain.say import Say, say_nothing
from stax_pipeline.domain.tenant import CONNECTED, DISCONNECTED, Tenant
from stax_pipeline.installation.settings import Settings
from stax_pipeline.keys.tenant_keys import hold_master_keys, master_keys
from stax_pipeline.tenants.connect import Connected, store_generation
from stax_pipeline.tenants.validate import LIVE_TEST, validate
from stax_pipeline.warehouse.connection_audit import note
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.publish import lock_tenant
from stax_pipeline.warehouse.tenants import get_tenant, set_status


def rotate_key(settings: Settings, engine: sa.Engine, slug: str, key: AdminKey, say: Say = say_nothing) -> Connected:
    """Replace a tenant's admin key by another of the same organisation. Raises KeyRefused; the old key stays then.

    The key in use is asked about as well: where Anthropic accepts it, a rejected tenant is connected again.
    """
    master_keys(settings)  # without them Anthropic need not be asked
    with plain_faults(f"tenant {slug}: looking it up"), engine.connect() as connection:
        tenant = _in_service(connection, slug)
    say(f"Asking Anthropic whether it accepts the new key: {LIVE_TEST} ...")
    validated = validate(settings, key)
    if validated.organization_id != tenant.organization_id:
        raise KeyRefused(
            f"This key belongs to another organisation ({validated.organization_name!r}) than tenant {slug}'s. "
            "The old key stays in place and the new one was not stored."
        )
    with plain_faults(f"tenant {slug}: storing the key"), engine.begin() as connection:
        hold_master_keys(connection)
        lock_tenant(connection, tenant.tenant_id)
        before = _in_service(connection, slug)
        stored = store_generation(connection, settings, before._replace(status=CONNECTED), key, validated)
        set_status(connection, before.tenant_id, CONNECTED)
        if not stored.was_stored:
            note(connection, before.tenant_id, "rotated", key.hint)
    return replace(stored, before=before)


def _in_service(connection: sa.Connection, slug: str) -> Tenant:
    tenant = get_tenant(connection, slug)
    if tenant.status == DISCONNECTED:
        raise WrongUse(f"Tenant {slug} is disconnected. `stax connect {slug}` connects it again.")
    return tenant
