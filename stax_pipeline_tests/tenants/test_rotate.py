"""Replacing keys: the old one stays until the new one is proven, and a killed rotation is finished by the next."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import CannotStart, KeyRefused, WrongUse
from stax_pipeline.domain.sealed_key import SealedKey
from stax_pipeline.domain.tenant import KEY_REJECTED
from stax_pipeline.installation.settings import Settings
from stax_pipeline.keys.encryption import MasterKeys, seal
from stax_pipeline.simulator import Simulator
from stax_pipeline.tenants import connect as connect_module
from stax_pipeline.tenants.disconnect import disconnect
from stax_pipeline.tenants.rotate import rotate_key
from stax_pipeline.warehouse.tenants import keys_in_use, set_status
from stax_pipeline_tests.tenants.support import count, key_of
from stax_pipeline_tests.tenants.test_connect import stored_key


@pytest.mark.usefixtures("two_tenants")
def test_a_new_key_of_the_same_organisation_replaces_the_old(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    simulator.issue_key("acme")
    with engine.begin() as connection:
        tenant_id = keys_in_use(connection)[0].tenant_id
        set_status(connection, tenant_id, KEY_REJECTED)
    rotated = rotate_key(settings, engine, "acme", key_of(simulator, "acme"))
    assert rotated.generation == 2
    assert stored_key(engine, settings, "acme") == key_of(simulator, "acme")
    assert count(engine, "tenants", "slug = 'acme' and status = 'connected'") == 1
    assert count(engine, "admin_keys", "ciphertext = ''") == 1


@pytest.mark.usefixtures("two_tenants")
def test_the_key_in_use_is_no_new_generation(settings: Settings, engine: sa.Engine, simulator: Simulator) -> None:
    rotated = rotate_key(settings, engine, "acme", key_of(simulator, "acme"))
    assert (rotated.generation, rotated.was_stored) == (1, True)
    assert count(engine, "admin_keys", "revoked_at is null") == count(engine, "admin_keys") == 2


@pytest.mark.usefixtures("two_tenants")
def test_a_key_of_another_organisation_is_refused_and_the_old_one_stays(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    with pytest.raises(KeyRefused, match="another organisation"):
        rotate_key(settings, engine, "acme", key_of(simulator, "globex"))
    assert stored_key(engine, settings, "acme") == key_of(simulator, "acme")


@pytest.mark.usefixtures("two_tenants")
def test_a_revoked_new_key_is_refused_and_the_old_one_stays(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    old = key_of(simulator, "acme")
    simulator.revoke(simulator.issue_key("acme"))
    with pytest.raises(KeyRefused, match="401"):
        rotate_key(settings, engine, "acme", key_of(simulator, "acme"))
    assert stored_key(engine, settings, "acme") == old


@pytest.mark.usefixtures("two_tenants")
def test_a_disconnected_or_unknown_tenant_has_no_key_to_rotate(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    disconnect(engine, "acme")
    for slug, words in (("acme", "is disconnected"), ("nobody", "There is no tenant nobody")):
        with pytest.raises(WrongUse, match=words):
            rotate_key(settings, engine, slug, key_of(simulator, "acme"))


@pytest.mark.usefixtures("two_tenants")
def test_a_key_that_does_not_open_again_is_not_stored(
    settings: Settings, engine: sa.Engine, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = key_of(simulator, "acme")

    def elsewhere(*arguments: Any, **named: Any) -> SealedKey:
        return seal(*arguments, **(named | {"masters": MasterKeys(bytes(32))}))

    monkeypatch.setattr(connect_module, "seal", elsewhere)
    with pytest.raises(CannotStart, match="nothing was changed; run it again"):
        simulator.issue_key("acme")
        rotate_key(settings, engine, "acme", key_of(simulator, "acme"))
    assert stored_key(engine, settings, "acme") == old
