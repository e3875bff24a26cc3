"""A stored key that does not open stops its own tenant, without a request, with one reason; the others go on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.domain.extraction import Report
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.keys.master_key_rotation import retire_master_key, rotate_master_key
from stax_pipeline.keys.tenant_keys import KeyOpener, master_keys
from stax_pipeline.resources.dagster import TenantSecrets, Warehouse
from stax_pipeline.warehouse.tenants import tenants_to_sync
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import errors, execute, fetch, query, status, two_tenants

Damage = Callable[[Installation], None]
ACME = "tenant_id = (select tenant_id from stax.tenants where slug = 'acme')"
GLOBEX = ACME.replace("acme", "globex")


def change(assignment: str) -> Damage:
    return lambda made: execute(made, f"update stax.admin_keys set {assignment} where {ACME}")


def of_globex(column: str) -> Damage:
    return change(f"{column} = (select {column} from stax.admin_keys where {GLOBEX})")


def put_back_an_older_generation(made: Installation) -> None:
    """The row of generation 1 as it was, beside a later one that was revoked."""
    execute(
        made,
        "insert into stax.admin_keys (tenant_id, generation, ciphertext, wrapped_data_key, master_key_id, key_hint, "
        "validated_at, revoked_at) select tenant_id, 2, ''::bytea, ''::bytea, master_key_id, key_hint, validated_at, "
        f"now() from stax.admin_keys where {ACME}",
    )


DAMAGES: dict[str, Damage] = {
    "a bit of the key": change("ciphertext = set_byte(ciphertext, 30, get_byte(ciphertext, 30) # 1)"),
    "a bit of its nonce": change("ciphertext = set_byte(ciphertext, 8, get_byte(ciphertext, 8) # 1)"),
    "a bit of the data key": change("wrapped_data_key = set_byte(wrapped_data_key, 30, 0)"),
    "cut": change("ciphertext = substring(ciphertext for 40)"),
    "empty": change("ciphertext = ''::bytea, wrapped_data_key = ''::bytea"),
    "unknown format version": change("ciphertext = set_byte(ciphertext, 2, 9)"),
    "the key of another tenant": of_globex("ciphertext"),
    "the data key of another tenant": of_globex("wrapped_data_key"),
    "the whole row of another tenant": change(
        "(ciphertext, wrapped_data_key, master_key_id) = "
        f"(select ciphertext, wrapped_data_key, master_key_id from stax.admin_keys where {GLOBEX})"
    ),
    "renumbered": change("generation = 2"),
    "an older generation put back": put_back_an_older_generation,
    "no name of a master key": change("master_key_id = '../etc'"),
}


@pytest.fixture(scope="module")
def standing(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as made:
        yield made


@pytest.fixture
def made(standing: Installation) -> Iterator[Installation]:
    """Both tenants, whose keys are whole again afterwards."""
    execute(standing, "delete from stax.extractions")
    kept = [row._asdict() for row in query(standing, "select * from stax.admin_keys")]
    yield standing
    execute(standing, "delete from stax.admin_keys")
    for values in kept:
        names = ", ".join(values)
        execute(standing, f"insert into stax.admin_keys ({names}) values (:{', :'.join(values)})", **values)


@pytest.mark.parametrize("name", DAMAGES)
def test_the_tenant_is_told_to_reconnect_and_nobody_else_notices(made: Installation, name: str) -> None:
    DAMAGES[name](made)
    asked = len(made.simulator.requests)
    with made.engine.connect() as connection:
        tenants = tenants_to_sync(connection)
    ran = fetch(made, Report.COST, tenants)
    assert list(ran.failures) == ["acme"]
    assert "The stored key is damaged" in ran.failures["acme"]
    assert "reconnect the tenant" in ran.failures["acme"]
    assert errors(made, "acme") == [ran.failures["acme"]]
    assert errors(made, "globex") == []
    hints = {entry.key_hint for entry in list(made.simulator.requests)[asked:]}
    assert hints == {made.simulator.keys["globex"][-4:]}
    assert (status(made, "acme"), status(made, "globex")) == ("connected", "connected")


def test_under_another_master_key_every_tenant_says_which_one_is_missing(made: Installation) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STAX_MASTER_KEY", "cd" * 32)
        with made.engine.connect() as connection:
            ran = fetch(made, Report.COST, tenants_to_sync(connection))
    sealed_by = query(made, "select distinct master_key_id from stax.admin_keys")[0].master_key_id
    assert set(ran.failures) == {"acme", "globex"}
    for told in ran.failures.values():
        assert f"sealed under master key {sealed_by}, which is not set" in told


@pytest.mark.parametrize(
    ("master", "words"),
    [("MDEyMzQ1Njc4OWFiY2RlZg==", "16 bytes, but AES-256 needs exactly 32"), ("", "There is no master key")],
)
def test_a_short_or_missing_master_key_starts_no_sync_and_is_not_invented(
    made: Installation, master: str, words: str
) -> None:
    file = made.home / "master.key"
    aside = file.rename(file.with_suffix(".aside"))
    try:
        with pytest.raises(CannotStart, match=words):
            master_keys(read_settings({**os.environ, "STAX_MASTER_KEY": master}))
        assert not file.exists()
    finally:
        aside.rename(file)


def test_a_master_key_file_open_to_others_starts_no_sync(made: Installation) -> None:
    file = made.home / "master.key"
    file.chmod(0o644)
    try:
        with pytest.raises(CannotStart, match="mode 0644.*chmod 600"):
            master_keys(made.settings)
        with pytest.raises(dg.Failure) as refused:
            TenantSecrets().opener(Warehouse(), [])
        assert "mode 0644): run chmod 600" in str(refused.value.description)
        assert (refused.value.allow_retries, refused.value.__context__) == (False, None)
    finally:
        file.chmod(0o600)


def test_keys_that_are_wrapped_anew_while_a_run_goes_on_open_for_it(made: Installation) -> None:
    with made.engine.connect() as connection:
        tenants = tenants_to_sync(connection, [])
    expected = [TenantSecrets().opener(Warehouse(), tenants)(tenant) for tenant in tenants]
    old, file = master_keys(made.settings).primary_id, made.home / "master.key"
    held = file.read_text()
    opened = TenantSecrets().opener(Warehouse(), tenants)
    assert opened(tenants[0]) == expected[0]
    assert rotate_master_key(made.settings, made.engine).rewrapped == len(tenants) == 2
    retire_master_key(made.settings, made.engine, old)
    assert opened(tenants[1]) == expected[1], "it was read ahead, under a master key that is gone"
    assert [opened(tenant) for tenant in tenants] == expected
    file.write_text(held)  # the rows are put back after every test


def test_keys_of_many_tenants_are_read_at_once_and_each_is_opened_alone(made: Installation) -> None:
    with made.engine.connect() as connection:
        tenants = tenants_to_sync(connection, [])
    asked: list[str] = []
    sa.event.listen(made.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    opened = KeyOpener(made.engine, tenants, lambda: master_keys(made.settings))
    keys = {tenant.slug: opened(tenant).key.reveal() for tenant in tenants}
    assert keys == made.simulator.keys
    assert len([statement for statement in asked if "admin_keys" in statement]) == 1


def test_a_key_that_was_read_ahead_and_is_gone_by_its_turn_is_not_used(
    made: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with made.engine.connect() as connection:
        acme, globex = tenants_to_sync(connection, [])
    now = 100.0
    monkeypatch.setattr("stax_pipeline.keys.tenant_keys.monotonic", lambda: now)
    opened = KeyOpener(made.engine, [acme, globex], lambda: master_keys(made.settings))
    assert opened(acme).key.reveal() == made.simulator.keys["acme"]
    with made.engine.begin() as connection:
        connection.execute(sa.text("delete from stax.admin_keys where tenant_id = :id"), {"id": globex.tenant_id})
    now += KeyOpener.SECONDS + 0.1
    with pytest.raises(WrongUse, match="Tenant globex has no admin key"):
        opened(globex)


def test_who_has_no_key_is_told_so_and_the_others_are_read_all_the_same(made: Installation) -> None:
    with made.engine.connect() as connection:
        acme, globex = tenants_to_sync(connection, [])
    with made.engine.begin() as connection:
        connection.execute(sa.text("delete from stax.admin_keys where tenant_id = :id"), {"id": acme.tenant_id})
    opened = KeyOpener(made.engine, [acme, globex], lambda: master_keys(made.settings))
    for _ in range(2):
        with pytest.raises(WrongUse, match="Tenant acme has no admin key"):
            opened(acme)
    assert opened(globex).key.reveal() == made.simulator.keys["globex"]
