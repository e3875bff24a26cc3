"""A tenant's connection: what is shown of it, who changed it, and what can be done."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from stax_pipeline.app.dagster_runs import RANGE_END, RANGE_START
from stax_pipeline.domain.admin_key import parse_admin_key
from stax_pipeline.tenants.connect import connect
from stax_pipeline.tenants.disconnect import disconnect
from stax_pipeline_tests.app.conftest import post
from stax_pipeline_tests.app.dagster_stub import DagsterStub
from stax_pipeline_tests.app.pages.conftest import As
from stax_pipeline_tests.app.pages.test_connect import audit
from stax_pipeline_tests.app.pages.test_pages import text_of
from stax_pipeline_tests.conftest import Installation

PAGE = "/tenants/acme/provider"


def send(client: TestClient, path: str, **fields: str):  # type: ignore[no-untyped-def]
    return post(client, path, client.get(PAGE).text, **fields)


def status_of(made: Installation) -> tuple[str, int]:
    """The tenant's status, and how many of its keys are in use."""
    with made.engine.connect() as connection:
        query = """select t.status, count(k.generation) from stax.tenants t left join stax.admin_keys k
                   on k.tenant_id = t.tenant_id and k.revoked_at is null and length(k.ciphertext) > 0
                   where slug = 'acme' group by t.tenant_id"""
        return tuple(connection.exec_driver_sql(query).one())  # type: ignore[return-value]


def test_it_shows_the_hint_and_not_the_key(made: Installation, browser: As) -> None:
    key = made.simulator.keys["acme"]
    for name in ("tim", "ola", "ana"):
        page = browser(name).get(PAGE).text
        assert f"…{key[-4:]}" in page
        assert key not in page
        assert made.simulator.organizations["acme"].id in page
        assert "State Connected" in text_of(page)


def test_changes_of_the_command_line_and_of_pages_are_told_together(made: Installation, browser: As) -> None:
    key = made.simulator.issue_key("acme")
    connect(made.settings, made.engine, "acme", None, parse_admin_key(key))
    assert send(browser("tim"), f"{PAGE}/disconnect", slug="acme").status_code == 303
    disconnect(made.engine, "acme")
    assert audit(made, "acme") == [
        ("disconnected", "command line", ""), ("disconnected", "tim", ""), ("rotated", "command line", key[-4:]),
    ]  # fmt: skip
    page = text_of(browser("ana").get(PAGE).text)
    assert f"rotated command line …{key[-4:]} " in page


def test_sync_now_starts_a_run_of_that_tenant_alone(made: Installation, browser: As, dagster: DagsterStub) -> None:
    with made.engine.begin() as connection:
        connection.exec_driver_sql("update stax.tenants set first_sync_run_id = 'x'")
    answer = send(browser("tim"), f"{PAGE}/sync")
    [(run_id, asked)] = dagster.launched.items()
    assert answer.headers["location"] == f"/providers/anthropic/connect/acme?run={run_id}"
    assert asked["runConfigData"] == {"resources": {"scope": {"config": {"tenants": ["acme"]}}}}
    tags = {tag["key"]: tag["value"] for tag in asked["executionMetadata"]["tags"]}
    assert tags == {RANGE_START: "2026-11-15", RANGE_END: "2026-11-22"}


def test_without_dagster_no_run_is_promised(browser: As, monkeypatch: pytest.MonkeyPatch) -> None:
    client = browser("tim")
    monkeypatch.setattr(client.app.state.runs, "launch_sync", lambda *_, **__: None)  # type: ignore[attr-defined]
    answer = send(client, f"{PAGE}/sync")
    assert (answer.status_code, "no run was started" in answer.text) == (503, True)


def test_disconnecting_needs_the_name_typed(made: Installation, browser: As) -> None:
    client = browser("tim")
    for typed in ("", "ACME", "globex"):
        answer = send(client, f"{PAGE}/disconnect", slug=typed)
        assert answer.status_code == 422
        assert "Type the short name exactly as it is shown." in answer.text
    assert status_of(made) == ("connected", 1)
    assert send(client, f"{PAGE}/disconnect", slug=" acme ").headers["location"] == PAGE
    assert status_of(made) == ("disconnected", 0)
    page = client.get(PAGE).text
    assert "State Disconnected" in text_of(page)
    assert "Connect again" in page
    assert "Sync now" not in page
    token = client.get("/providers/anthropic/connect").text
    assert post(client, f"{PAGE}/sync", token).status_code == 409


def test_analysts_change_nothing(made: Installation, browser: As, dagster: DagsterStub) -> None:
    client = browser("ana")
    page = client.get("/").text
    assert "<form" not in client.get(PAGE).text.partition("<main")[2]
    for path in ("sync", "disconnect"):
        assert post(client, f"{PAGE}/{path}", page, slug="acme").status_code == 403
    assert status_of(made) == ("connected", 1)
    assert dagster.launched == {}


def test_of_another_tenant_nothing_is_told_or_done(made: Installation, browser: As, dagster: DagsterStub) -> None:
    made.add_tenant("globex")
    client = browser("tim")
    page = client.get(PAGE).text
    for slug in ("globex", "no-such"):
        there = f"/tenants/{slug}/provider"
        answers = [
            client.get(there),
            post(client, f"{there}/sync", page),
            post(client, f"{there}/disconnect", page, slug=slug),
        ]
        assert [answer.status_code for answer in answers] == [404] * 3
        assert len({answer.text for answer in answers}) == 1
    assert dagster.launched == {}
