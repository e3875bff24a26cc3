"""Admin keys, opened: one tenant's key, in memory, for as long as its requests run."""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.resources.key_encryption import (
    MasterKeys,
    generate_master_key_file,
    load_master_keys,
    open_sealed,
)
from stax_pipeline.resources.warehouse.tenants import Tenant, current_key
from stax_pipeline.settings import Settings


def master_keys(settings: Settings) -> MasterKeys:
    """The master keys this installation names; with the embedded database one is made, once. Raises CannotStart."""
    if settings.master_key:
        return load_master_keys(settings.master_key, None)
    file = settings.master_key_file
    if file is None and settings.embedded:
        file = settings.home / "master.key"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            generate_master_key_file(file)
    return load_master_keys(None, file)


def open_key(connection: sa.Connection, tenant: Tenant, masters: MasterKeys) -> AdminKey:
    """The tenant's key. Raises TenantStopped when it does not open, WrongUse when there is none."""
    stored = current_key(connection, tenant)
    return open_sealed(stored.sealed, tenant.tenant_id, stored.generation, masters)
