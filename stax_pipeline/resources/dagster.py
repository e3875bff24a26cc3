"""What assets talk to, as Dagster resources. They hold no configuration but the scope of a run.

Secrets and addresses come from the settings of the process that runs them, never from run config, which Dagster stores
and shows.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, TypeVar

import dagster as dg
import sqlalchemy as sa
from pydantic import Field

from stax_pipeline.domain.errors import StaxError
from stax_pipeline.domain.extraction import DataSource
from stax_pipeline.resources.admin_api import AdminApi, admin_api
from stax_pipeline.resources.lake.store import Lake as ObjectLake
from stax_pipeline.resources.tenant_secrets import OpenedKey, master_keys, open_key
from stax_pipeline.resources.warehouse.engine import connect_engine
from stax_pipeline.resources.warehouse.roles import logins
from stax_pipeline.resources.warehouse.tenants import Tenant, tenants_to_sync
from stax_pipeline.settings import Settings, read_settings

T = TypeVar("T")


@lru_cache(maxsize=4)
def _engine(url: str) -> sa.Engine:
    return connect_engine(url)


def loader_engine(settings: Settings) -> sa.Engine:
    """The loader's connection pool of this process."""
    return _engine(logins(settings).loader)


def _or_told(work: Callable[[], T]) -> T:
    """What `work` returns; what it refuses fails the step in one sentence, without a trace or a retry."""
    try:
        return work()
    except StaxError as fault:
        refusal = str(fault)
    raise dg.Failure(description=refusal, allow_retries=False)


class Scope(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Which tenants a run is about. Edit it in the launchpad to narrow a run."""

    tenants: list[str] = Field(default=[], description="Slugs; empty means every connected tenant")
    accept_shrink: bool = Field(default=False, description="Publish a settled day that lost more than half")

    def chosen(self, warehouse: "Warehouse") -> list[Tenant]:
        """The tenants of the run."""

        def looked_up() -> list[Tenant]:
            with warehouse.engine.connect() as connection:
                return tenants_to_sync(connection, self.tenants)

        return _or_told(looked_up)


class Warehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Postgres, as the loader."""

    @property
    def engine(self) -> sa.Engine:
        return loader_engine(read_settings())

    @property
    def settings(self) -> Settings:
        return read_settings()


class Lake(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Raw pages and Parquet."""

    @property
    def store(self) -> ObjectLake:
        settings = read_settings()
        return ObjectLake(settings.lake, settings.home)


class TenantSecrets(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens one tenant's admin key, in memory, when its requests begin."""

    def opener(self, warehouse: Warehouse) -> Callable[[Tenant], OpenedKey]:
        _or_told(lambda: master_keys(read_settings()))

        def open_for(tenant: Tenant) -> OpenedKey:
            """Under the master keys of this moment: they may be rotated while the run goes on."""
            with warehouse.engine.connect() as connection:
                return open_key(connection, tenant, master_keys(read_settings()))

        return open_for


class AnthropicAdminApi(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Anthropic's Admin API, or whatever `STAX_ANTHROPIC_BASE_URL` names."""

    def run(self, work: Callable[[AdminApi], Coroutine[Any, Any, T]]) -> T:
        """Open the API for one piece of work and close it on every path."""
        settings = read_settings()

        async def opened() -> T:
            async with admin_api(settings.anthropic_base_url, concurrency=settings.concurrency) as api:
                return await work(api)

        return asyncio.run(opened())

    @property
    def concurrency(self) -> int:
        return read_settings().concurrency

    @property
    def source(self) -> DataSource:
        return read_settings().source
