"""Replace the master key that wraps every tenant's stored key, and take an old one out of its file.

Belongs here: the order of steps, so that every stored key opens at any instant, whatever is killed when.
Stays out: the cryptography (`keys.encryption`), replacing a tenant's own key (`tenants.rotate`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.domain.errors import StaxError, WrongUse
from stax_pipeline.domain.say import Say, say_nothing
from stax_pipeline.installation.settings import Settings
from stax_pipeline.keys.encryption import MasterKeys, add_primary, remove_master_key, rewrap
from stax_pipeline.keys.tenant_keys import MASTER_KEYS_LOCK, master_key_file, master_keys
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.tenants import StoredKey, all_tenants, keys_in_use, replace_wrapping

_ONE_ROTATION = "stax rotate-master-key"


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a master key rotation did. `in_use` counts the stored keys by the master key that wraps them; `by_hand` is
    where the operator changes the master keys himself, '' where that is done here.
    """

    primary_id: str
    is_new: bool
    rewrapped: int
    damaged: tuple[str, ...]
    in_use: dict[str, int]
    readable: frozenset[str]
    by_hand: str

    @property
    def retirable(self) -> list[str]:
        """Master keys that no stored key names any more."""
        return sorted(self.readable - set(self.in_use) - {self.primary_id})


def rotate_master_key(settings: Settings, engine: sa.Engine, say: Say = say_nothing) -> Rotated:
    """Wrap every stored key by a new primary master key, one by one; killed half-way, a second call finishes it.

    With a master key file of ours a new primary is put before the others, which stay readable. In STAX_MASTER_KEY or
    behind a link the operator puts it first; WrongUse says so for a link. No master key is ever removed here.
    """
    with _only_rotation(engine):
        masters = master_keys(settings)
        started_before = any(key.sealed.master_key_id != masters.primary_id for key in _in_use(engine))
        is_new = not settings.master_key and not started_before
        if is_new:
            file = master_key_file(settings)
            add_primary(file)
            say(f"Added a new primary master key to {file}.")
            masters = master_keys(settings)
        rewrapped, damaged = _rewrap_all(engine, masters)
        in_use = Counter(key.sealed.master_key_id for key in _in_use(engine))
    return Rotated(
        masters.primary_id, is_new, rewrapped, tuple(damaged), dict(in_use), masters.ids, _kept_by_hand(settings)
    )


def retire_master_key(settings: Settings, engine: sa.Engine, key_id: str) -> None:
    """Take a master key out of the master key file. Raises WrongUse as `refuse_retirement` does."""
    with _only_rotation(engine):
        refuse_retirement(settings, engine, key_id)
        remove_master_key(master_key_file(settings), key_id)


def refuse_retirement(settings: Settings, engine: sa.Engine, key_id: str) -> None:
    """Raises WrongUse while a stored key needs the master key, naming the tenants, for the primary and an unknown one,
    and where the operator keeps the keys himself.
    """
    masters = master_keys(settings)
    if key_id not in masters.ids:
        raise WrongUse(f"{key_id} is no readable master key. Readable: {', '.join(sorted(masters.ids))}.")
    if key_id == masters.primary_id:
        raise WrongUse(f"{key_id} is the primary master key, which seals: `stax rotate-master-key` makes another.")
    slugs = _slugs(engine)
    needed = {slugs[key.tenant_id] for key in _in_use(engine) if key.sealed.master_key_id == key_id}
    if needed:
        raise WrongUse(
            f"The master key {key_id} is still needed by {', '.join(sorted(needed))}. "
            "`stax rotate-master-key` wraps their keys anew; a damaged one must be reconnected first."
        )
    place = _kept_by_hand(settings)
    if place:
        raise WrongUse(f"No stored key needs {key_id} any more: remove it from {place} yourself.")


def _slugs(engine: sa.Engine) -> dict[UUID, str]:
    with engine.connect() as connection:
        return {tenant.tenant_id: tenant.slug for tenant in all_tenants(connection)}


def _kept_by_hand(settings: Settings) -> str:
    if settings.master_key:
        return "STAX_MASTER_KEY"
    file = master_key_file(settings)
    return str(file) if file.is_symlink() else ""


@contextmanager
def _only_rotation(engine: sa.Engine) -> Iterator[None]:
    """Two rotations at once could each put a key of their own into the file, and one of them would be lost; a tenant's
    key that is stored meanwhile could be sealed under a master key that is just retired.
    """
    lock = {"name": _ONE_ROTATION, "masters": MASTER_KEYS_LOCK}
    with plain_faults("rotating the master key"), engine.connect() as connection:
        if not connection.execute(sa.text("select pg_try_advisory_lock(hashtext(:name))"), lock).scalar_one():
            raise WrongUse("Another rotation of the master key is running; wait for its end.")
        connection.execute(sa.text("select pg_advisory_lock(hashtext(:masters))"), lock)
        connection.commit()
        try:
            yield
        finally:
            connection.execute(
                sa.text("select pg_advisory_unlock(hashtext(:masters)), pg_advisory_unlock(hashtext(:name))"), lock
            )
            connection.commit()


def _in_use(engine: sa.Engine) -> list[StoredKey]:
    with engine.connect() as connection:
        return keys_in_use(connection)


def _rewrap_all(engine: sa.Engine, masters: MasterKeys) -> tuple[int, list[str]]:
    """How many changed, and why the others could not be opened: a damaged key stops nobody else's rotation."""
    rewrapped, damaged, slugs = 0, [], _slugs(engine)
    for key in _in_use(engine):
        try:
            fresh = rewrap(key.sealed, key.tenant_id, key.generation, masters)
        except StaxError as fault:
            damaged.append(f"tenant {slugs[key.tenant_id]}: {fault}")
            continue
        if fresh != key.sealed:
            with engine.begin() as connection:
                replace_wrapping(connection, key._replace(sealed=fresh))
            rewrapped += 1
    return rewrapped, damaged
