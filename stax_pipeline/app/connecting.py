"""A key that somebody saves on a page: checked with Anthropic, sealed, stored, and its first run started.

Belongs here: the order. Nothing is stored before Anthropic accepted the key, and what is stored opens again before the
transaction ends. Stays out: who may connect what (`pages.connect`), the checks in the database (`app_functions`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.app.dagster_runs import DagsterRuns
from stax_pipeline.app.people.database import AppDatabase
from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.domain.time import FIRST_DAYS, trailing_window
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.keys.encryption import open_sealed, seal
from stax_pipeline.keys.tenant_keys import master_keys
from stax_pipeline.tenants.validate import validate
from stax_pipeline.warehouse.app_functions import next_generation, store_admin_key
from stax_pipeline.warehouse.tenants import StoredKey


class Target(NamedTuple):
    """The tenant that a key is for; `name` is '' where a new one takes the organisation's."""

    tenant_id: UUID
    slug: str
    name: str


def nothing_more(_: sa.Connection) -> None:
    """Nothing else belongs into the transaction."""


def connect(
    settings: Settings,
    database: AppDatabase,
    target: Target,
    key: AdminKey,
    person: str,
    also: Callable[[sa.Connection], None] = nothing_more,
) -> None:
    """Validate and store a tenant's key. Raises KeyRefused or CannotStart; nothing is stored then.

    Args:
        settings: of the installation.
        database: the app's own login.
        target: the tenant, known or new.
        key: what was pasted.
        person: who saved it, for the audit log.
        also: what is stored or not together with the key.
    """
    master_keys(settings)  # without them Anthropic need not be asked
    validated = validate(settings, key)
    with database.own() as connection:
        generation = next_generation(connection, target.tenant_id)
        sealed = seal(key, tenant_id=target.tenant_id, generation=generation, masters=master_keys(settings))
        store_admin_key(
            connection,
            StoredKey(target.tenant_id, generation, sealed, key.hint, validated.validated_at),
            slug=target.slug,
            name=target.name or validated.organization_name,
            organization_id=validated.organization_id,
            person=person,
        )
        if open_sealed(sealed, target.tenant_id, generation, master_keys(settings)) != key:
            raise CannotStart("The master key changed while the key was being stored: nothing was changed; try again.")
        also(connection)


def start_sync(runs: DagsterRuns, slug: str, now: datetime, *, first: bool) -> str | None:
    """Start the run that fetches a tenant's days: its first thirty, or those that every daily run reads again.

    None where Dagster does not answer: its sensor gives a new tenant its first run within two minutes of its return.
    """
    settings = read_settings()
    days = FIRST_DAYS if first else settings.lookback_days
    return runs.launch_sync(slug, trailing_window(days, now, settings.start_date), first=first)
