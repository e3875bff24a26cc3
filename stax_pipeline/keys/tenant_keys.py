"""Admin keys, opened: one tenant's key, in memory, for as long as its requests run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.errors import CannotStart, StaxError, TenantStopped
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.installation.settings import Settings
from stax_pipeline.keys.encryption import MasterKeys, generate_master_key_file, load_master_keys, open_sealed
from stax_pipeline.keys.private_memory import keep_memory_private
from stax_pipeline.warehouse.tenants import StoredKey, current_key, current_keys, keys_in_use

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
    return _opened(current_key(connection, tenant), masters)


def _opened(stored: StoredKey, masters: MasterKeys) -> OpenedKey:
    return OpenedKey(open_sealed(stored.sealed, stored.tenant_id, stored.generation, masters), stored.generation)


class KeyOpener:
    """Opens one tenant's key at a time, and reads the sealed ones of those who come next along with it.

    `tenants` are in the order in which they will be asked for. A key that was read ahead and does not open is read
    again: it, or the master keys, may have been rotated meanwhile. So is one that was read some seconds ago: its tenant
    may have been disconnected.
    """

    AHEAD = 32
    SECONDS = 2.0

    def __init__(self, engine: sa.Engine, tenants: Sequence[Tenant], masters: Callable[[], MasterKeys]) -> None:
        self._engine = engine
        self._tenants = tenants
        self._places = {tenant.tenant_id: place for place, tenant in enumerate(tenants)}
        self._read_masters = masters
        self._masters = masters()
        self._sealed: dict[UUID, StoredKey] = {}
        self._read_at = 0.0
        self._one_reads = Lock()

    def __call__(self, tenant: Tenant) -> OpenedKey:
        """Raises TenantStopped when it does not open, WrongUse when there is none."""
        with self._one_reads:
            ahead, masters = self._sealed.pop(tenant.tenant_id, None), self._masters
            if ahead is None or monotonic() > self._read_at + self.SECONDS:
                return _opened(self._read(tenant), self._masters)
        with suppress(TenantStopped):
            return _opened(ahead, masters)
        with self._engine.connect() as connection:
            return open_key(connection, tenant, self._read_masters())

    def _read(self, tenant: Tenant) -> StoredKey:
        place = self._places.get(tenant.tenant_id, 0)
        batch = dict.fromkeys([tenant, *self._tenants[place : place + self.AHEAD]])
        self._masters = self._read_masters()
        with self._engine.connect() as connection:
            found = current_keys(connection, batch)
        self._read_at = monotonic()
        self._sealed = {owner: key for owner, key in found.items() if isinstance(key, StoredKey)}
        stored = found[tenant.tenant_id]
        if isinstance(stored, StaxError):
            raise stored
        self._sealed.pop(tenant.tenant_id)
        return stored
