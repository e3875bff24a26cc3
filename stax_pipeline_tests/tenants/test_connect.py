"""Connecting: who gets which organisation, and that nothing is stored before Anthropic said yes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from stax_pipeline.anthropic import Limits, admin_api
from stax_pipeline.domain.admin_key import AdminKey, parse_admin_key
from stax_pipeline.domain.errors import CannotStart, KeyRefused, StaxError, WrongUse
from stax_pipeline.domain.tenant import CONNECTED, DISCONNECTED, KEY_REJECTED
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.keys.tenant_keys import master_keys, open_key
from stax_pipeline.simulator import Simulator, faults
from stax_pipeline.simulator.faults import Fault
from stax_pipeline.tenants import validate as validating
from stax_pipeline.tenants.connect import Connected, connect
from stax_pipeline.tenants.disconnect import disconnect
from stax_pipeline.warehouse.tenants import find_tenant, get_tenant, set_status
from stax_pipeline_tests.rig.fault_server import FaultServer
from stax_pipeline_tests.tenants.support import count, key_of


def stored_key(engine: sa.Engine, settings: Settings, slug: str) -> AdminKey:
    with engine.connect() as connection:
        return open_key(connection, get_tenant(connection, slug), master_keys(settings)).key


def test_an_accepted_key_is_stored_sealed_and_opens_again(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    said: list[str] = []
    key = key_of(simulator, "acme")
    connected = connect(settings, engine, "acme", None, key, said.append)

    assert connected.is_new
    assert connected.generation == 1
    assert connected.tenant.name == "acme"
    assert connected.tenant.organization_id == simulator.organizations["acme"].id
    assert stored_key(engine, settings, "acme") == key
    with engine.connect() as connection:
        row = connection.exec_driver_sql("select ciphertext, wrapped_data_key, key_hint from stax.admin_keys").one()
    secret = key.reveal().encode()
    assert secret not in bytes(row[0]) + bytes(row[1])
    assert row[2] == key.hint == key.reveal()[-4:]
    assert not any(key.reveal()[20:] in line for line in said)


def test_the_live_test_is_one_cost_report_call_for_the_last_complete_day(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    paths = [request.path for request in simulator.requests]
    assert paths == ["/v1/organizations/me", "/v1/organizations/cost_report"]


def test_a_last_day_that_is_not_there_yet_says_nothing_of_the_key(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    """As it is answered just after midnight, and where cost comes a day late: an older day judges the key."""
    early = faults.error_envelope("invalid_request_error", 400, message="ending date must be after starting date")
    yesterday = (datetime.now(UTC).date() - timedelta(days=1)).isoformat()

    def of_yesterday(params: faults.Items) -> bool:
        return dict(params).get("starting_at", "")[:10] >= yesterday

    simulator.faults.add(early, path="cost_report", times=None, when=of_yesterday)
    connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    assert stored_key(engine, settings, "acme") == key_of(simulator, "acme")
    assert [r.status for r in simulator.requests if r.path.endswith("cost_report")] == [400, 200]


def test_an_organisation_that_another_tenant_has_is_refused_by_that_tenants_name(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    with pytest.raises(KeyRefused, match="tenant acme already has") as refused:
        connect(settings, engine, "other", None, key_of(simulator, "acme"))
    assert simulator.keys["acme"] not in str(refused.value)
    assert count(engine, "tenants") == count(engine, "admin_keys") == 1


def test_a_disconnected_tenants_organisation_is_refused_with_the_way_out(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    disconnect(engine, "acme")
    with pytest.raises(KeyRefused, match="stax disconnect acme --purge"):
        connect(settings, engine, "other", None, key_of(simulator, "acme"))


def test_reconnecting_replaces_the_key_and_destroys_the_one_before(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    first = connect(settings, engine, "acme", "Acme Ltd", key_of(simulator, "acme"))
    disconnect(engine, "acme")
    simulator.issue_key("acme")
    again = connect(settings, engine, "acme", None, key_of(simulator, "acme"))

    assert not again.is_new
    assert again.generation == 2
    assert again.tenant.tenant_id == first.tenant.tenant_id
    assert stored_key(engine, settings, "acme") == key_of(simulator, "acme")
    with engine.connect() as connection:
        found = find_tenant(connection, "acme")
    assert found is not None
    assert (found.status, found.name) == ("connected", "Acme Ltd")
    assert count(engine, "admin_keys", "generation = 1 and ciphertext = '' and revoked_at is not null") == 1


def test_a_tenant_keeps_its_organisation(settings: Settings, engine: sa.Engine, simulator: Simulator) -> None:
    connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    with pytest.raises(KeyRefused, match="another organisation than this key's"):
        connect(settings, engine, "acme", None, key_of(simulator, "globex"))
    assert stored_key(engine, settings, "acme") == key_of(simulator, "acme")


def test_a_refused_key_is_not_stored_and_the_good_one_stays(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    good = key_of(simulator, "acme")
    connect(settings, engine, "acme", None, good)
    secret = "sk-ant-admin01-" + "notarealkey" * 4
    with pytest.raises(KeyRefused, match="401") as refused:
        connect(settings, engine, "acme", None, parse_admin_key(secret))
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    assert secret[15:27] not in str(refused.value)
    assert stored_key(engine, settings, "acme") == good


@pytest.mark.parametrize(
    ("fault", "path"),
    [
        (faults.status(404), "organizations/me"),
        (faults.error_envelope("invalid_request_error", 400, "organization_type_not_supported"), "organizations/me"),
        (faults.error_envelope("invalid_request_error", 400, "organization_type_not_supported"), "cost_report"),
    ],
)
def test_an_individual_account_is_told_to_set_up_an_organization(
    settings: Settings, engine: sa.Engine, simulator: Simulator, fault: Fault, path: str
) -> None:
    simulator.faults.add(fault, path=path, times=None)
    with pytest.raises(KeyRefused, match="Individual accounts have no Admin API; set up an organization"):
        connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    assert count(engine, "tenants") == 0


TRIALS: dict[str, tuple[Fault, type[StaxError], str]] = {
    "401": (faults.status(401), KeyRefused, "does not accept this key"),
    "403": (faults.status(403), KeyRefused, "does not let it read"),
    "400": (faults.status(400), KeyRefused, "does not accept the request itself"),
    "429": (faults.status(429), CannotStart, "is limiting requests"),
    "529": (faults.status(529), CannotStart, "is overloaded (529)"),
    "no answer": (faults.delay(2), CannotStart, "did not answer in time"),
    "200 with another body": (faults.body({"data": 1}), KeyRefused, "not as the Admin API does"),
}


def test_only_a_whole_good_answer_to_both_calls_replaces_a_good_key(
    settings: Settings, engine: sa.Engine, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refusal has words of its own; the key before stays, and the very same new key passes without a fault."""
    good = key_of(simulator, "acme")
    connect(settings, engine, "acme", None, good)
    new, told = parse_admin_key(simulator.issue_key("acme")), set()
    for name, (fault, kind, words) in TRIALS.items():
        limits = Limits(tries=1, page_seconds=1 if name == "no answer" else 60)
        monkeypatch.setattr(validating, "admin_api", partial(admin_api, limits=limits))
        for path in ("organizations/me", "cost_report"):
            simulator.faults.add(fault, path=path, times=None)
            with pytest.raises(kind, match=re.escape(words)) as refused:
                connect(settings, engine, "acme", None, new)
            simulator.faults.clear()
            assert "The key was not stored." in str(refused.value)
            assert stored_key(engine, settings, "acme") == good
        told.add(str(refused.value).partition("\n")[0])
    assert len(told) == len(TRIALS)
    assert connect(settings, engine, "acme", None, new).generation == 2


@pytest.mark.parametrize("slug", ["../../etc", "Acme", "acme\n", "аcme", "a/b", "", "a" * 64])
def test_a_bad_name_is_refused_before_any_request(
    settings: Settings, engine: sa.Engine, simulator: Simulator, slug: str
) -> None:
    with pytest.raises(WrongUse):
        connect(settings, engine, slug, None, key_of(simulator, "acme"))
    assert not simulator.requests


def test_a_master_key_is_made_once_and_never_invented_beside_stored_keys(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    file = settings.home / "master.key"
    connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    made = file.read_text()
    connect(settings, engine, "globex", None, key_of(simulator, "globex"))
    assert file.read_text() == made
    file.unlink()
    with pytest.raises(CannotStart, match="2 stored keys were sealed with it"):
        connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    assert not file.exists()


def test_without_a_readable_master_key_nothing_is_asked(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    short = read_settings({"STAX_HOME": str(settings.home), "STAX_MASTER_KEY": "MDEyMzQ1Njc4OWFiY2RlZg=="})
    with pytest.raises(CannotStart, match="16 bytes"):
        connect(short, engine, "acme", None, key_of(simulator, "acme"))
    assert not simulator.requests


def test_of_two_that_race_for_one_organisation_one_gets_it(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    def attempt(slug: str) -> Connected | StaxError:
        try:
            return connect(settings, engine, slug, None, key_of(simulator, "acme"))
        except StaxError as error:
            return error

    with ThreadPoolExecutor(6) as pool:
        outcomes: Sequence[Connected | StaxError] = list(pool.map(attempt, [f"tenant-{n}" for n in range(6)]))
    winners = [outcome for outcome in outcomes if isinstance(outcome, Connected)]
    refusals = [str(outcome) for outcome in outcomes if isinstance(outcome, KeyRefused)]
    assert len(winners) == 1
    assert len(refusals) == 5
    assert all(f"tenant {winners[0].tenant.slug} already has" in refusal for refusal in refusals)


def test_the_same_tenant_connected_twice_at_once_has_one_key_in_use(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: connect(settings, engine, "acme", None, key_of(simulator, "acme")), range(4)))
    assert sorted((one.generation, one.was_stored) for one in done) == [(1, False), (1, True), (1, True), (1, True)]
    assert count(engine, "admin_keys", "revoked_at is null") == 1
    assert count(engine, "tenants", f"status <> '{DISCONNECTED}'") == 1


def test_the_key_in_use_is_not_stored_again(settings: Settings, engine: sa.Engine, simulator: Simulator) -> None:
    connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    with engine.begin() as connection:
        set_status(connection, get_tenant(connection, "acme").tenant_id, KEY_REJECTED)
    again = connect(settings, engine, "acme", None, key_of(simulator, "acme"))
    assert (again.generation, again.was_stored, again.is_new) == (1, True, False)
    assert count(engine, "admin_keys") == count(engine, "tenants", f"status = '{CONNECTED}'") == 1


def test_a_key_that_nobody_judged_is_no_refused_key(engine: sa.Engine, settings: Settings) -> None:
    away = replace(settings, anthropic_base_url="http://127.0.0.1:1")
    with pytest.raises(CannotStart, match="The key was not judged") as fault:
        connect(away, engine, "acme", None, parse_admin_key("sk-ant-admin01-" + "notarealkey" * 4))
    assert fault.value.__context__ is None
    assert count(engine, "tenants") == 0


def test_a_refusal_of_the_networks_edge_is_no_refused_key(
    settings: Settings, engine: sa.Engine, simulator: Simulator
) -> None:
    with FaultServer(simulator.base_url, seed=0) as proxy:
        proxy.spoil(lambda x: x.send(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"), times=None)
        behind = replace(settings, anthropic_base_url=proxy.url)
        with pytest.raises(CannotStart, match="says nothing about the key") as fault:
            connect(behind, engine, "acme", None, key_of(simulator, "acme"))
    assert fault.value.exit_code == 3
    assert count(engine, "tenants") == 0
