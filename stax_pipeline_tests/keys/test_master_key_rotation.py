"""Rotation of the master key: every stored key opens at any instant, and no key is lost."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.sealed_key import SealedKey
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.keys import master_key_rotation
from stax_pipeline.keys.encryption import add_primary, rewrap, seal
from stax_pipeline.keys.master_key_rotation import retire_master_key, rotate_master_key
from stax_pipeline.keys.tenant_keys import master_keys
from stax_pipeline.simulator import Simulator
from stax_pipeline.tenants import connect as connect_module
from stax_pipeline.tenants import rotate
from stax_pipeline.tenants.connect import connect
from stax_pipeline.tenants.rotate import rotate_key
from stax_pipeline.tenants.validate import Validated, validate
from stax_pipeline.warehouse.tenants import keys_in_use, replace_wrapping
from stax_pipeline_tests.tenants.support import key_of
from stax_pipeline_tests.tenants.test_connect import stored_key


@pytest.mark.usefixtures("two_tenants")
def test_a_new_master_key_wraps_every_stored_key(settings: Settings, engine: sa.Engine, simulator: Simulator) -> None:
    before = master_keys(settings).primary_id
    done = rotate_master_key(settings, engine)
    assert done.is_new
    assert done.rewrapped == 2
    assert done.in_use == {done.primary_id: 2}
    assert done.retirable == [before]
    assert stored_key(engine, settings, "acme") == key_of(simulator, "acme")


@pytest.mark.usefixtures("two_tenants")
def test_a_rotation_killed_half_way_is_finished_by_the_next_without_another_master_key(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    fresh = add_primary(settings.home / "master.key")
    with engine.begin() as connection:
        first = keys_in_use(connection)[0]
        sealed = rewrap(first.sealed, first.tenant_id, first.generation, master_keys(settings))
        replace_wrapping(connection, first._replace(sealed=sealed))
    done = rotate_master_key(settings, engine)
    assert not done.is_new
    assert (done.primary_id, done.rewrapped, done.in_use) == (fresh, 1, {fresh: 2})
    assert stored_key(engine, settings, "globex") == key_of(simulator, "globex")


@pytest.mark.usefixtures("two_tenants")
def test_a_damaged_key_is_named_and_stops_nobody_elses_rotation(settings: Settings, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        damaged = keys_in_use(connection)[0]
        broken = damaged.sealed.wrapped_data_key[:-1] + b"\0"
        connection.execute(
            sa.text("update stax.admin_keys set wrapped_data_key = :broken where tenant_id = :id"),
            {"broken": broken, "id": damaged.tenant_id},
        )
    done = rotate_master_key(settings, engine)
    assert done.rewrapped == 1
    assert len(done.damaged) == 1
    assert done.damaged[0].startswith("tenant acme: ") or done.damaged[0].startswith("tenant globex: ")
    assert damaged.sealed.master_key_id not in done.retirable


@pytest.mark.usefixtures("two_tenants")
def test_with_the_setting_the_operator_puts_the_new_key_first(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    old = (settings.home / "master.key").read_text().strip()
    os.environ["STAX_MASTER_KEY"] = f"{'ab' * 32} {old}"
    given = read_settings()
    done = rotate_master_key(given, engine)
    assert not done.is_new
    assert done.rewrapped == 2
    assert (settings.home / "master.key").read_text().strip() == old
    assert stored_key(engine, given, "acme") == key_of(simulator, "acme")


@pytest.mark.usefixtures("two_tenants")
def test_two_rotations_at_once_are_refused(settings: Settings, engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("select pg_advisory_lock(hashtext('stax rotate-master-key'))")
        with pytest.raises(WrongUse, match="Another rotation"):
            rotate_master_key(settings, engine)
        connection.exec_driver_sql("select pg_advisory_unlock_all()")


@pytest.mark.usefixtures("two_tenants")
@pytest.mark.parametrize("wrapped", [0, 1])
def test_killed_after_any_number_of_keys_all_open_and_the_next_rotation_finishes_it(
    settings: Settings, engine: sa.Engine, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, wrapped: int
) -> None:
    left = iter(range(wrapped))

    def killed(*arguments: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        replace_wrapping(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(master_key_rotation, "replace_wrapping", killed)
        with pytest.raises(KeyboardInterrupt):
            rotate_master_key(settings, engine)
    fresh = master_keys(settings).primary_id
    for name in ("acme", "globex"):
        assert stored_key(engine, settings, name) == key_of(simulator, name)
    done = rotate_master_key(settings, engine)
    assert (done.is_new, done.primary_id, done.rewrapped) == (False, fresh, 2 - wrapped)
    for name in ("acme", "globex"):
        assert stored_key(engine, settings, name) == key_of(simulator, name)


@pytest.mark.usefixtures("two_tenants")
def test_a_master_key_is_retired_only_when_no_stored_key_needs_it(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    file = settings.home / "master.key"
    old = master_keys(settings).primary_id
    fresh = add_primary(file)
    both = file.read_text()
    with pytest.raises(WrongUse, match=rf"master key {old} is still needed by acme, globex.*stax rotate-master-key"):
        retire_master_key(settings, engine, old)
    with engine.begin() as connection:
        first = keys_in_use(connection)[0]
        sealed = rewrap(first.sealed, first.tenant_id, first.generation, master_keys(settings))
        replace_wrapping(connection, first._replace(sealed=sealed))
    with pytest.raises(WrongUse, match=rf"master key {old} is still needed by (acme|globex)\."):
        retire_master_key(settings, engine, old)
    with pytest.raises(WrongUse, match=f"{fresh} is the primary"):
        retire_master_key(settings, engine, fresh)
    with pytest.raises(WrongUse, match="no readable master key"):
        retire_master_key(settings, engine, "00000000")
    assert file.read_text() == both

    rotate_master_key(settings, engine)
    retire_master_key(settings, engine, old)
    assert master_keys(settings).ids == {fresh}
    assert file.read_text() == both.splitlines(keepends=True)[0]
    assert file.stat().st_mode & 0o777 == 0o600
    assert stored_key(engine, settings, "acme") == key_of(simulator, "acme")
    assert rotate_master_key(settings, engine).is_new


def rotate_and_retire(settings: Settings, engine: sa.Engine) -> None:
    for old in rotate_master_key(settings, engine).retirable:
        retire_master_key(settings, engine, old)


def store_again(settings: Settings, engine: sa.Engine, simulator: Simulator, how: str) -> None:
    simulator.issue_key("acme")
    if how == "rotate-key":
        rotate_key(settings, engine, "acme", key_of(simulator, "acme"))
    else:
        connect(settings, engine, "acme", None, key_of(simulator, "acme"))


@pytest.mark.usefixtures("two_tenants")
@pytest.mark.parametrize("how", ["rotate-key", "connect"])
def test_a_master_key_retired_while_anthropic_is_asked_seals_nothing(
    settings: Settings, engine: sa.Engine, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def meanwhile(*arguments: Any) -> Validated:
        rotate_and_retire(settings, engine)
        return validate(*arguments)

    for module in (rotate, connect_module):
        monkeypatch.setattr(module, "validate", meanwhile)
    store_again(settings, engine, simulator, how)
    assert stored_key(engine, settings, "acme") == key_of(simulator, "acme")


@pytest.mark.usefixtures("two_tenants")
@pytest.mark.parametrize("how", ["rotate-key", "connect"])
def test_a_rotation_waits_for_a_key_that_is_just_being_stored(
    settings: Settings, engine: sa.Engine, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with ThreadPoolExecutor() as pool:
        running: list[Future[None]] = []

        def meanwhile(*arguments: Any, **named: Any) -> SealedKey:
            running.append(pool.submit(rotate_and_retire, settings, engine))
            while not (running[0].done() or is_waited_for(engine)):
                pass
            return seal(*arguments, **named)

        monkeypatch.setattr(connect_module, "seal", meanwhile)
        store_again(settings, engine, simulator, how)
        running[0].result()
    assert stored_key(engine, settings, "acme") == key_of(simulator, "acme")


def is_waited_for(engine: sa.Engine) -> bool:
    with engine.connect() as connection:
        query = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        return bool(connection.exec_driver_sql(query).scalar_one())


@pytest.mark.usefixtures("two_tenants")
def test_a_master_key_of_the_setting_is_retired_by_the_operator(settings: Settings, engine: sa.Engine) -> None:
    old = (settings.home / "master.key").read_text().strip()
    os.environ["STAX_MASTER_KEY"] = f"{'ab' * 32} {old}"
    given = read_settings()
    retiring = master_keys(settings).primary_id
    with pytest.raises(WrongUse, match="still needed by acme, globex"):
        retire_master_key(given, engine, retiring)
    rotate_master_key(given, engine)
    with pytest.raises(WrongUse, match="remove it from STAX_MASTER_KEY"):
        retire_master_key(given, engine, retiring)


@pytest.mark.usefixtures("two_tenants")
def test_a_master_key_file_behind_a_link_is_the_operators(
    settings: Settings, engine: sa.Engine, simulator: Simulator, tmp_path: Path
) -> None:
    """Replacing the link would leave the vault with the old key alone; writing through it, a vault may undo."""
    link, vault = settings.home / "master.key", tmp_path / "vault.key"
    link.rename(vault)
    link.symlink_to(vault)
    try:
        before, old = vault.read_text(), master_keys(settings).primary_id
        with pytest.raises(WrongUse, match="is a link.*Put a new master key first in that file yourself"):
            rotate_master_key(settings, engine)
        assert vault.read_text() == before
        vault.write_text("ab" * 32 + f"\n{before}")
        done = rotate_master_key(settings, engine)
        assert (done.is_new, done.rewrapped, done.by_hand, done.retirable) == (False, 2, str(link), [old])
        with pytest.raises(WrongUse, match=f"remove it from {link} yourself"):
            retire_master_key(settings, engine, old)
        assert link.is_symlink()
        assert stored_key(engine, settings, "acme") == key_of(simulator, "acme")
    finally:
        link.unlink()


@pytest.mark.usefixtures("two_tenants")
def test_a_key_whose_master_key_went_too_early_is_named_by_its_tenant(settings: Settings, engine: sa.Engine) -> None:
    (settings.home / "master.key").write_text("ab" * 32)
    done = rotate_master_key(settings, engine)
    assert not done.is_new
    assert done.rewrapped == 0
    assert [told.partition(": ")[0] for told in sorted(done.damaged)] == ["tenant acme", "tenant globex"]
    assert all("which is not set" in told for told in done.damaged)
