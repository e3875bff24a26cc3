"""Disconnecting: the key goes first. Removing a tenant's data is told in the story of the command."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import StaxError, WrongUse
from stax_pipeline.installation.settings import Settings
from stax_pipeline.keys.tenant_keys import master_keys, open_key
from stax_pipeline.lake.store import Lake
from stax_pipeline.simulator import Simulator
from stax_pipeline.tenants import disconnect as disconnecting
from stax_pipeline.tenants.connect import connect
from stax_pipeline.tenants.disconnect import disconnect, purge, sweep
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.roles import logins
from stax_pipeline.warehouse.tables import admin_keys
from stax_pipeline.warehouse.tenants import current_key, get_tenant, tenants_to_sync
from stax_pipeline_tests.tenants.support import count, key_of


def test_disconnecting_destroys_the_ciphertext_and_ends_the_syncs(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    assert disconnect(engine, "acme") == 1
    assert disconnect(engine, "acme") == 0
    assert count(engine, "admin_keys", "ciphertext = '' and wrapped_data_key = '' and revoked_at is not null") == 1
    with engine.connect() as connection:
        tenant = get_tenant(connection, "acme")
        assert tenants_to_sync(connection) == []
        with pytest.raises(WrongUse, match="has no admin key"):
            current_key(connection, tenant)


def test_a_tenant_that_was_never_synced_is_removed_whole(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    purged = purge(engine, Lake(settings.lake), "acme")
    assert purged.left == {}
    assert (purged.rows["tenants"], purged.rows["admin_keys"], purged.raw_objects) == (1, 1, 0)
    assert count(engine, "tenants") == 0


def test_a_new_tenant_of_the_same_name_is_another_tenant(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    first = connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    purge(engine, Lake(settings.lake), "acme")
    second = connect(settings, engine, "acme", None, key_of(simulator, "globex"))
    assert second.is_new
    assert second.tenant.tenant_id != first.tenant.tenant_id
    assert second.generation == 1


def test_the_key_of_the_old_tenant_does_not_open_for_the_new(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    first = connect(settings, engine, "acme", None, key_of(simulator, "acme")).tenant
    with engine.connect() as connection:
        old = current_key(connection, first).sealed
    purge(engine, Lake(settings.lake), "acme")
    second = connect(settings, engine, "acme", None, key_of(simulator, "globex")).tenant
    with engine.begin() as connection:  # as from a backup
        connection.execute(admin_keys.update().values(ciphertext=old.ciphertext, wrapped_data_key=old.wrapped_data_key))
        with pytest.raises(StaxError, match="damaged, of another tenant or an older one"):
            open_key(connection, second, master_keys(settings))


def test_the_sealed_key_leaves_the_tables_file(settings: Settings, engine: sa.Engine, simulator: Simulator) -> None:
    stored = connect(settings, engine, "acme", None, key_of(simulator, "acme")).tenant
    with engine.connect() as connection:
        sealed = current_key(connection, stored).sealed
    superuser, owner = connect_engine(logins(settings).admin), connect_engine(logins(settings).owner)

    def file() -> bytes:
        with superuser.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("checkpoint")
            read = "select pg_read_binary_file(pg_relation_filepath('stax.admin_keys'))"
            return bytes(connection.exec_driver_sql(read).scalar_one())

    assert sealed.ciphertext in file()
    purge(engine, Lake(settings.lake), "acme")
    assert sealed.ciphertext in file()
    sweep(owner, everything=True)
    assert sealed.ciphertext not in file() and sealed.wrapped_data_key not in file()
    superuser.dispose()
    owner.dispose()


@pytest.mark.parametrize("stage", ["_delete_raw", "_published_days", "_delete_rows", "_rebuild_parquet"])
def test_a_purge_killed_at_any_stage_has_destroyed_the_key_and_can_be_run_again(
    settings: Settings, engine: sa.Engine, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    with monkeypatch.context() as patched:
        patched.setattr(disconnecting, stage, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            purge(engine, Lake(settings.lake), "acme")
    assert count(engine, "admin_keys", "ciphertext = '' and wrapped_data_key = ''") == count(engine, "admin_keys") == 1
    assert purge(engine, Lake(settings.lake), "acme").left == {}
    assert count(engine, "tenants") == count(engine, "admin_keys") == 0


def test_an_unknown_tenant_cannot_be_removed(settings: Settings, engine: sa.Engine) -> None:
    with pytest.raises(WrongUse, match="There is no tenant nobody"):
        purge(engine, Lake(settings.lake), "nobody")


class Busy(Lake):
    """A run that was under way writes one more object after each of the first `late` looks."""

    late = 0

    def delete_folder(self, prefix: str) -> int:
        removed = super().delete_folder(prefix)
        if self.late > 0 and "cost_report" in prefix:
            self.late -= 1
            self.put_new(f"{prefix}/late.zst", b"x")
        return removed


@pytest.mark.parametrize(("late", "is_clean"), [(1, True), (2, False)])
def test_an_object_written_meanwhile_is_swept_or_keeps_the_tenant_for_another_purge(
    settings: Settings, engine: sa.Engine, simulator: Simulator, late: int, is_clean: bool
) -> None:
    connected = connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    lake = Busy(settings.lake)
    lake.late = late
    folder = f"raw/cost_report/tenant={connected.tenant.tenant_id}"
    assert purge(engine, lake, "acme").left == ({} if is_clean else {folder: 1})
    assert count(engine, "tenants") == (0 if is_clean else 1)
    assert is_clean or purge(engine, Lake(settings.lake), "acme").left == {}
    assert lake.count(folder) == count(engine, "tenants") == 0
