"""What assets talk to, as Dagster resources without configuration; what a run is about is `scope`.

Secrets and addresses come from the settings of the process that runs them, never from run config, which Dagster stores
and shows.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import dagster as dg
import sqlalchemy as sa

from stax_pipeline.anthropic import AdminApi, admin_api
from stax_pipeline.domain.errors import StaxError
from stax_pipeline.domain.extraction import DataSource
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.keys.tenant_keys import KeyOpener, master_keys
from stax_pipeline.lake.store import Lake as ObjectLake
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.roles import logins

T = TypeVar("T")


@lru_cache(maxsize=4)
def _engine(url: str) -> sa.Engine:
    return connect_engine(url)


def loader_engine(settings: Settings) -> sa.Engine:
    """The loader's connection pool of this process."""
    return _engine(logins(settings).loader)


def or_failure(work: Callable[[], T]) -> T:
    """What `work` returns; what it refuses fails the step in one sentence, without a trace or a retry."""
    try:
        return work()
    except StaxError as fault:
        refusal = str(fault)
    raise dg.Failure(description=refusal, allow_retries=False)


@dg.io_manager(config_schema={}, description="Steps hand on no values: what they make lies in warehouse and lake.")
def no_values() -> dg.InMemoryIOManager:
    """In place of Dagster's own, whose configuration reads the environment."""
    return dg.InMemoryIOManager()  # type: ignore[no-untyped-call]


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

    def opener(self, warehouse: Warehouse, tenants: Sequence[Tenant]) -> KeyOpener:
        """For these tenants in their order, under the master keys of the moment: they may be rotated while it runs."""
        return or_failure(lambda: KeyOpener(warehouse.engine, tenants, lambda: master_keys(read_settings())))


class AnthropicAdminApi(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Anthropic's Admin API, or whatever `STAX_ANTHROPIC_BASE_URL` names."""

    def run(self, work: Callable[[AdminApi], Coroutine[Any, Any, T]]) -> T:
        """Open the API for one piece of work and close it on every path."""
        settings = read_settings()

        async def opened() -> T:
            url, slots = settings.anthropic_base_url, settings.concurrency
            async with admin_api(url, concurrency=slots, ca_file=settings.ca_file) as api:
                return await work(api)

        return asyncio.run(opened())

    @property
    def concurrency(self) -> int:
        return read_settings().concurrency

    @property
    def source(self) -> DataSource:
        return read_settings().source
