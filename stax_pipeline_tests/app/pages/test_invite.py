"""A one-time link: the tenant's own person connects it and is logged in; the operator never sees the key."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from stax_pipeline.app.people import invites, roster
from stax_pipeline.app.people.person import Role
from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.warehouse.tenants import find_tenant
from stax_pipeline_tests.app.conftest import PUBLIC, post
from stax_pipeline_tests.app.dagster_stub import DagsterStub
from stax_pipeline_tests.app.pages.conftest import As
from stax_pipeline_tests.app.pages.test_connect import audit, is_known, key_of, text_of
from stax_pipeline_tests.conftest import Installation

PASSWORD = "a new long password"


def link(made: Installation, slug: str = "globex", name: str = "") -> str:
    address = invites.make(replace(made.settings, public_url=PUBLIC), slug, name)
    assert address.startswith(f"{PUBLIC}/invite/")
    return address.removeprefix(PUBLIC)


def take(client: TestClient, path: str, key: str = "", name: str = "gina", password: str = PASSWORD):  # type: ignore[no-untyped-def]
    return post(client, path, client.get(path).text, admin_key=key, login_name=name, password=password)


def names(made: Installation) -> list[tuple[str, str]]:
    return [(one.name, one.tenant) for one in roster.listed(made.settings)]


def test_a_new_tenant_connects_itself_and_sees_itself_alone(
    made: Installation, browser: As, dagster: DagsterStub
) -> None:
    key, path = made.simulator.keys["globex"], link(made, name="Globex Inc")
    client = browser(None)
    page = client.get(path).text
    assert "Globex Inc" in page
    assert "Admin key" in page
    answer = take(client, path, key)
    [run_id] = dagster.launched
    assert answer.headers["location"] == f"/providers/anthropic/connect/globex?run={run_id}"
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert key_of(made, "globex") == (key, 1)
    assert audit(made, "globex") == [("connected", "gina", key[-4:])]
    assert ("gina", "globex") in names(made)
    assert client.get("/").headers["location"] == "/tenants/globex"
    assert client.get("/tenants/globex").status_code == 200
    assert client.get("/tenants/acme").status_code == 404
    assert client.get("/dagster/").status_code == 403


def test_it_works_once(made: Installation, browser: As) -> None:
    path = link(made)
    for _ in range(3):
        assert browser(None).get(path).status_code == 200  # looking uses nothing up
    assert take(browser(None), path, made.simulator.keys["globex"]).status_code == 303
    again = browser(None).get(path)
    assert again.status_code == 404
    assert "This link was used already" in again.text


def test_it_ends_by_itself_and_when_a_newer_one_is_made(made: Installation, browser: As) -> None:
    first, second = link(made), link(made)
    assert browser(None).get(first).status_code == 404
    assert browser(None).get(second).status_code == 200
    with made.engine.begin() as connection:
        connection.exec_driver_sql("update stax.invites set expires_at = now()")
    assert browser(None).get(second).status_code == 404


@pytest.mark.parametrize("path", ["/invite/x", "/invite/" + "A" * 43, "/invite/%00", "/invite/'or'1'='1"])
def test_what_is_no_link_opens_nothing(browser: As, path: str) -> None:
    answer = browser(None).get(path)
    assert answer.status_code == 404
    assert "Ask your operator for a new one." in answer.text


def test_a_refused_key_uses_nothing_up_and_stores_nothing(made: Installation, browser: As) -> None:
    path, client = link(made), browser(None)
    for key in ("sk-ant-api03-" + "x" * 40, "sk-ant-admin-" + "x" * 40, made.simulator.keys["acme"]):
        answer = take(client, path, key)
        assert answer.status_code == 422
        assert key not in answer.text
        assert PASSWORD not in answer.text
        assert 'value="gina"' in answer.text
    assert not is_known(made, "globex")
    assert "gina" not in dict(names(made))
    assert take(client, path, made.simulator.keys["globex"]).status_code == 303


@pytest.mark.parametrize("taken", ["ola", "tim", "OLA "])
def test_it_takes_nobodys_login(made: Installation, browser: As, taken: str) -> None:
    path, before = link(made), names(made)
    answer = take(browser(None), path, made.simulator.keys["globex"], name=taken)
    assert answer.status_code == 422
    assert "This name is taken" in answer.text
    assert names(made) == before
    assert not is_known(made, "globex")
    assert browser("ola").get("/").status_code == 200


@pytest.mark.parametrize(
    ("name", "password", "words"), [("a b", PASSWORD, "not a valid name"), ("gina", "short", "12 to 256")]
)
def test_a_login_that_cannot_be_is_said_before_anthropic_is_asked(
    made: Installation, browser: As, name: str, password: str, words: str
) -> None:
    before = len(made.simulator.requests)
    answer = take(browser(None), link(made), made.simulator.keys["globex"], name, password)
    assert words in text_of(answer.text)
    assert len(made.simulator.requests) == before


def test_a_connected_tenant_gets_another_person_without_a_key(
    made: Installation, browser: As, dagster: DagsterStub
) -> None:
    before = key_of(made, "acme")
    path, client = link(made, "acme"), browser(None)
    assert 'name="admin_key"' not in client.get(path).text
    assert take(client, path).headers["location"] == "/tenants/acme"
    assert key_of(made, "acme") == before
    assert dagster.launched == {}
    assert client.get("/tenants/acme").status_code == 200


def test_of_the_link_only_a_hash_is_kept(made: Installation) -> None:
    token = link(made).rpartition("/")[2]
    with made.engine.connect() as connection:
        kept = repr(connection.exec_driver_sql("table stax.invites").all())
    assert token not in kept
    assert re.search(r"'[0-9a-f]{64}'", kept)


def test_where_nobody_could_open_it_none_is_made(made: Installation) -> None:
    with pytest.raises(WrongUse, match="set STAX_PUBLIC_URL"):
        invites.make(made.settings, "globex", "")
    proxied = replace(made.settings, public_url=PUBLIC, login_header="x-forwarded-user")
    with pytest.raises(CannotStart, match="stax login add"):
        invites.make(proxied, "globex", "")
    with pytest.raises(WrongUse, match="no tenant name"):
        link(made, "A B")


def test_a_tenant_that_was_never_connected_is_not_there(made: Installation, browser: As) -> None:
    link(made)
    with made.engine.connect() as connection:
        assert find_tenant(connection, "globex") is None
    assert roster.listed(made.settings)[0].role is Role.ANALYST
    assert browser("ola").get("/tenants/globex").status_code == 404
