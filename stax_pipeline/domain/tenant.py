"""A tenant: one customer of the operator, with exactly one Anthropic organisation."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from stax_pipeline.domain.extraction import DataSource

CONNECTED, KEY_REJECTED, DISCONNECTED = "connected", "key_rejected", "disconnected"
"""What a tenant's `status` can be; the source refused the key of a `key_rejected` one."""


class Tenant(NamedTuple):
    """`status` is one of the three above; `source` is None where nothing but the installation's default was set."""

    tenant_id: UUID
    slug: str
    name: str
    organization_id: str
    status: str
    created_at: datetime
    first_sync_run_id: str | None
    source: DataSource | None = None
    newer_source_refused_at: datetime | None = None

    def reads(self, default: DataSource) -> DataSource:
        """What this tenant is read from; `default` where nothing was set for it."""
        return DataSource(self.source) if self.source else default
