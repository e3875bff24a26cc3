"""Admin keys, opened: one tenant's key, in memory, for as long as its requests run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.installation.settings import Settings
from stax_pipeline.keys.encryption import MasterKeys, generate_master_key_file, load_master_keys, open_sealed
from stax_pipeline.keys.private_memory import keep_memory_private
from stax_pipeline.warehouse.tenants import current_key, keys_in_use

MASTER_KEYS_LOCK = "stax master keys"  # whoever stores a key shares it, whoever changes the master keys has it alone


def master_key_file(settings: Settings) -> Path:
    """Where the master key lies when no setting names one."""
    return settings.master_key_file or settings.home / "master.key"


def master_keys(settings: Settings) -> MasterKeys:
    """The master keys of this installation, in a process that is closed to others from now on.

    Raises CannotStart when there are none.
    """
    keep_memory_private()
    if settings.master_key:
        return load_master_keys(settings.master_key, None)
    file = master_key_file(settings)
    if not file.exists() and not settings.master_key_file:
        raise CannotStart(
            f"There is no master key: {file} does not exist and STAX_MASTER_KEY is not set. `stax connect` makes one "
            "where no key is stored yet; otherwise restore the one the stored keys were sealed with."
        )
    return load_master_keys(None, file)


def ensure_master_key(settings: Settings, connection: sa.Connection) -> MasterKeys:
    """The master keys, made once where none is named and nothing was sealed yet.

    Raises CannotStart rather than invent a second one: stored keys would be lost under it.
    """
    file = master_key_file(settings)
    if not settings.master_key and not settings.master_key_file and not file.exists():
        sealed = len(keys_in_use(connection))
        if sealed:
            raise CannotStart(
                f"The master key {file} is missing, and {sealed} stored keys were sealed with it. Restore it from a "
                "backup or set STAX_MASTER_KEY; if it is lost, disconnect those tenants and connect them again."
            )
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        generate_master_key_file(file)
    return master_keys(settings)


def hold_master_keys(connection: sa.Connection) -> None:
    """Keep the master keys as they are until the transaction ends, for storing a key in it; a rotation is waited for.

    Call it before the transaction locks or writes anything else.
    """
    lock = {"name": MASTER_KEYS_LOCK}
    connection.execute(sa.text("select pg_advisory_xact_lock_shared(hashtext(:name))"), lock)


class OpenedKey(NamedTuple):
    """A tenant's key and which generation of it this is."""

    key: AdminKey
    generation: int


def open_key(connection: sa.Connection, tenant: Tenant, masters: MasterKeys) -> OpenedKey:
    """The tenant's key in use. Raises TenantStopped when it does not open, WrongUse when there is none."""
    stored = current_key(connection, tenant)
    return OpenedKey(open_sealed(stored.sealed, tenant.tenant_id, stored.generation, masters), stored.generation)
