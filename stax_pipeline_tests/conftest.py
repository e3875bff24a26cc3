"""What every test against the real thing needs: one embedded Postgres, a migrated database, a simulator with a clock.

The server starts once per session; each test that asks for `installation` gets empty tables, an empty lake, its own
simulator and its own settings in the environment.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from stax_pipeline import embedded_postgres
from stax_pipeline.domain.admin_key import parse_admin_key
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.embedded_postgres.layout import Home, read_record
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.keys.encryption import seal
from stax_pipeline.keys.tenant_keys import ensure_master_key
from stax_pipeline.lake.store import Lake
from stax_pipeline.resources.dagster import loader_engine
from stax_pipeline.simulator import Organization, Simulator, demo_organizations
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import logins
from stax_pipeline.warehouse.tables import metadata
from stax_pipeline.warehouse.tenants import StoredKey, add_tenant, store_key

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Clock:
    """The simulator's clock: what the source says the time is."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Installation:
    """A running product without Dagster's processes: settings, warehouse, lake and the source it reads."""

    home: Path
    simulator: Simulator
    clock: Clock

    @property
    def settings(self) -> Settings:
        return read_settings()

    @property
    def engine(self) -> sa.Engine:
        return loader_engine(self.settings)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    def add_tenant(self, slug: str) -> Tenant:
        """A connected tenant of the simulator's organisation of that name, its key sealed as `stax connect` does."""
        key = parse_admin_key(self.simulator.keys[slug])
        organization: Organization = self.simulator.organizations[slug]
        tenant = Tenant(uuid4(), slug, slug.title(), organization.id, "connected", datetime.now(UTC), None)
        with self.engine.begin() as connection:
            masters = ensure_master_key(self.settings, connection)
            sealed = seal(key, tenant_id=tenant.tenant_id, generation=1, masters=masters)
            add_tenant(connection, tenant)
            store_key(connection, StoredKey(tenant.tenant_id, 1, sealed, key.hint, datetime.now(UTC)))
        return tenant


@contextmanager
def passable_home() -> Iterator[Path]:
    """A `STAX_HOME` that the server's account can reach: pytest's own folders are closed to it, and as root the data
    would be kept, and left, outside of them.
    """
    with tempfile.TemporaryDirectory(prefix="stax-tests-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "home"
    embedded_postgres.release_account(Path(folder) / "home" / "postgres")


def forget_outside(folder: Path) -> None:
    """Remove what servers of homes in `folder`, which is closed to their account, keep outside of it."""
    for record in folder.rglob("server.json"):
        if (found := read_record(Home(record.parent))) and found.outside:
            shutil.rmtree(found.outside)


@pytest.fixture(scope="session")
def stax_home() -> Iterator[Path]:
    """A `STAX_HOME` whose embedded Postgres runs, migrated, for the whole session."""
    with passable_home() as home:
        settings = read_settings({"STAX_HOME": str(home)})
        with embedded_postgres.running(settings.postgres_home):
            upgrade(settings)
            yield home


@contextmanager
def installed(
    home: Path, organizations: Iterable[Organization] | None = None, now: datetime = NOON
) -> Iterator[Installation]:
    """Empty tables, an empty lake and a fresh simulator of `organizations` (the demo's two unless told), at `now`."""
    clock = Clock(now)
    with (
        Simulator(organizations or demo_organizations(), clock=clock) as simulator,
        pytest.MonkeyPatch.context() as environment,
    ):
        settings = read_settings({"STAX_HOME": str(home)})
        environment.setenv("STAX_HOME", str(home))
        environment.setenv("STAX_ANTHROPIC_BASE_URL", simulator.base_url)
        environment.setenv("STAX_DAGSTER_URL", logins(settings).dagster)
        environment.setenv("STAX_DAGSTER_DIR", str(home / "dagster"))
        made = Installation(home, simulator, clock)
        emptied(made)
        yield made


def emptied(made: Installation) -> None:
    """No row and no object is left."""
    shutil.rmtree(made.home / "lake", ignore_errors=True)
    with made.engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.fixture
def installation(stax_home: Path) -> Iterator[Installation]:
    """Empty tables, an empty lake and a fresh simulator with the organisations `acme` and `globex`, at noon."""
    with installed(stax_home) as made:
        yield made
