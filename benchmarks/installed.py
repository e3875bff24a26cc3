"""An installation of the benchmark's own: one embedded Postgres, emptied before each first load, and its tenants."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import sqlalchemy as sa

from benchmarks.source import Source
from stax_pipeline import embedded_postgres
from stax_pipeline.anthropic.queries import API_VERSION, ME_PATH
from stax_pipeline.domain.admin_key import parse_admin_key
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.keys.encryption import seal
from stax_pipeline.keys.tenant_keys import ensure_master_key
from stax_pipeline.resources.dagster import loader_engine
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import logins
from stax_pipeline.warehouse.tables import metadata
from stax_pipeline.warehouse.tenants import StoredKey, add_tenant, store_key

LONGEST = timedelta(days=800)


@contextmanager
def installed() -> Iterator[Settings]:
    """A home with a migrated database while the block runs; child processes find it by their environment."""
    with tempfile.TemporaryDirectory(prefix="stax-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # as root the server runs as another account and must reach its files
        os.environ["STAX_HOME"] = str(Path(folder) / "home")
        os.environ["STAX_START_DATE"] = str(datetime.now(UTC).date() - LONGEST)
        settings = read_settings()
        with embedded_postgres.running(settings.postgres_home):
            upgrade(settings)
            yield settings
    embedded_postgres.release_account(settings.postgres_home)


def empty(settings: Settings) -> None:
    """No row and no object is left, and nothing of them for the server to clear up later."""
    shutil.rmtree(settings.home / "lake", ignore_errors=True)
    names = ", ".join(str(table) for table in metadata.sorted_tables)
    engine = sa.create_engine(logins(settings).admin, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"truncate {names}"))  # noqa: S608 names come from our own schema
        connection.execute(sa.text("checkpoint"))
    engine.dispose()


def connect(settings: Settings, source: Source, names: Iterable[str]) -> None:
    """Add tenants as `stax connect` does, without a first run."""
    with httpx.Client(base_url=source.url, timeout=60) as client, loader_engine(settings).begin() as connection:
        masters = ensure_master_key(settings, connection)
        for name in names:
            headers = {"x-api-key": source.keys[name], "anthropic-version": API_VERSION}
            organization_id = client.get(ME_PATH, headers=headers).raise_for_status().json()["id"]
            key, now = parse_admin_key(source.keys[name]), datetime.now(UTC)
            tenant = Tenant(uuid4(), name, name, organization_id, "connected", now, "benchmark")
            add_tenant(connection, tenant)
            sealed = seal(key, tenant_id=tenant.tenant_id, generation=1, masters=masters)
            store_key(connection, StoredKey(tenant.tenant_id, 1, sealed, key.hint, now))
