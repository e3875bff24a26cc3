"""Connecting on a page: whose key is stored, what is said of one that is not, and the run that follows."""

from __future__ import annotations

import html
import re

import pytest
from starlette.testclient import TestClient

from stax_pipeline.app import connecting
from stax_pipeline.app.dagster_runs import JOB, LOCATION, ONBOARD
from stax_pipeline.app.pages.connect import WRONG_TYPE
from stax_pipeline.assets.partitions import range_tags
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.time import FIRST_DAYS, trailing_window
from stax_pipeline.keys.tenant_keys import master_keys, open_key
from stax_pipeline.warehouse.app_functions import OTHER_ORGANIZATION, OTHER_TENANT
from stax_pipeline.warehouse.connection_audit import changes
from stax_pipeline.warehouse.tenants import find_tenant, get_tenant
from stax_pipeline_tests.app.conftest import NOW, post
from stax_pipeline_tests.app.dagster_stub import DagsterStub
from stax_pipeline_tests.app.pages.conftest import As
from stax_pipeline_tests.conftest import Installation

PATH = "/providers/anthropic/connect"


def save(client: TestClient, key: str, path: str = PATH, **fields: str):  # type: ignore[no-untyped-def]
    return post(client, path, client.get(path).text, admin_key=key, **fields)


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", page)))


def key_of(made: Installation, slug: str) -> tuple[str, int]:
    """The key that the loader opens, and its generation."""
    with made.engine.connect() as connection:
        opened = open_key(connection, get_tenant(connection, slug), master_keys(made.settings))
    return opened.key.reveal(), opened.generation


def audit(made: Installation, slug: str) -> list[tuple[str, str, str]]:
    with made.engine.connect() as connection:
        found = changes(connection, get_tenant(connection, slug).tenant_id)
    return [(one.what, one.who, one.key_hint) for one in found]


def is_known(made: Installation, slug: str) -> bool:
    with made.engine.connect() as connection:
        return find_tenant(connection, slug) is not None


class TestOperator:
    def test_a_new_tenant_is_stored_and_its_first_days_are_fetched_by_a_run(
        self, made: Installation, browser: As, dagster: DagsterStub
    ) -> None:
        key = made.simulator.keys["globex"]
        answer = save(browser("ola"), f" {key}\n", slug="globex", name="Globex Inc")
        [(run_id, asked)] = dagster.launched.items()
        assert (answer.status_code, answer.headers["location"]) == (303, f"{PATH}/globex?run={run_id}")
        assert key_of(made, "globex") == (key, 1)
        assert audit(made, "globex") == [("connected", "ola", key[-4:])]
        with made.engine.connect() as connection:
            tenant = get_tenant(connection, "globex")
        assert (tenant.name, tenant.status) == ("Globex Inc", "connected")
        assert tenant.organization_id == made.simulator.organizations["globex"].id
        window = trailing_window(FIRST_DAYS, NOW, made.settings.start_date)
        assert {tag["key"]: tag["value"] for tag in asked["executionMetadata"]["tags"]} == range_tags(window) | ONBOARD
        assert asked["runConfigData"] == {"resources": {"scope": {"config": {"tenants": ["globex"]}}}}
        assert asked["selector"] == {
            "repositoryLocationName": LOCATION, "repositoryName": "__repository__", "jobName": JOB,
        }  # fmt: skip

    def test_without_a_name_it_takes_the_organizations(self, made: Installation, browser: As) -> None:
        save(browser("ola"), made.simulator.keys["globex"], slug="globex")
        with made.engine.connect() as connection:
            assert get_tenant(connection, "globex").name == made.simulator.organizations["globex"].name

    def test_without_dagster_the_key_is_stored_and_the_sensor_does_the_rest(
        self, made: Installation, browser: As, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = browser("ola")
        monkeypatch.setattr(client.app.state.runs, "launch_sync", lambda *_, **__: None)  # type: ignore[attr-defined]
        answer = save(client, made.simulator.keys["globex"], slug="globex")
        assert answer.headers["location"] == f"{PATH}/globex"
        assert "The sync starts within two minutes" in client.get(answer.headers["location"]).text

    def test_the_same_page_stands_where_the_guide_sends_people(self, browser: As) -> None:
        client = browser("ola")
        assert text_of(client.get("/app/providers/anthropic/connect").text) == text_of(client.get(PATH).text)
        assert client.get("/app").headers["location"] == "/"
        assert f'href="{PATH}"' in client.get("/providers").text
        assert 'href="/providers"' in client.get("/").text


class TestTenant:
    def test_its_own_person_rotates_its_key_whatever_the_form_names(
        self, made: Installation, browser: As, dagster: DagsterStub
    ) -> None:
        other = made.simulator.issue_key("acme")
        answer = save(browser("tim"), other, slug="globex", name="Mine")
        assert answer.headers["location"].startswith(f"{PATH}/acme?run=")
        assert not is_known(made, "globex")
        assert key_of(made, "acme") == (other, 2)
        assert audit(made, "acme") == [("rotated", "tim", other[-4:])]
        with made.engine.connect() as connection:
            old = connection.exec_driver_sql(
                "select ciphertext, wrapped_data_key, revoked_at is not null from stax.admin_keys where generation = 1"
            ).one()
        assert (bytes(old[0]), bytes(old[1]), old[2]) == (b"", b"", True)

    def test_a_key_of_another_organization_is_refused(self, made: Installation, browser: As) -> None:
        before = key_of(made, "acme")
        answer = save(browser("tim"), made.simulator.keys["globex"])
        assert answer.status_code == 422
        assert OTHER_ORGANIZATION in text_of(answer.text)
        assert key_of(made, "acme") == before
        assert audit(made, "acme") == []

    def test_analysts_connect_nothing(self, browser: As) -> None:
        client = browser("ana")
        assert client.get(PATH).status_code == 403
        assert "Connect</a>" not in client.get("/providers").text


class TestRefused:
    def test_a_regular_key_is_refused_in_the_guides_words(self, made: Installation, browser: As) -> None:
        key = "sk-ant-api03-" + "x" * 40
        answer = save(browser("ola"), key, slug="globex")
        assert answer.status_code == 422
        assert text_of(answer.text).count(WRONG_TYPE) == 2  # said, and listed below
        assert not is_known(made, "globex")

    def test_a_key_that_anthropic_refuses_is_told_so(self, made: Installation, browser: As) -> None:
        answer = save(browser("ola"), "sk-ant-admin-" + "x" * 40, slug="globex")
        page = text_of(answer.text)
        assert WRONG_TYPE in page
        assert "Anthropic does not accept this key (401)." in page
        assert "Details for a report" in page
        assert not is_known(made, "globex")

    def test_a_key_of_a_known_organization_makes_no_second_tenant(self, made: Installation, browser: As) -> None:
        answer = save(browser("ola"), made.simulator.keys["acme"], slug="again")
        assert OTHER_TENANT in text_of(answer.text)
        assert not is_known(made, "again")

    @pytest.mark.parametrize(("slug", "key"), [("", "sk-ant-admin-1"), ("A B", "sk-ant-admin-1"), ("globex", "")])
    def test_what_cannot_be_is_said_before_anthropic_is_asked(
        self, made: Installation, browser: As, slug: str, key: str
    ) -> None:
        before = len(made.simulator.requests)
        assert save(browser("ola"), key, slug=slug).status_code == 422
        assert len(made.simulator.requests) == before

    def test_no_page_repeats_the_key_and_the_field_is_never_refilled(
        self, made: Installation, browser: As, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = browser("ola")
        for key in ("sk-ant-api03-secretsecretsecret", "sk-ant-admin-secretsecretsecret", made.simulator.keys["acme"]):
            answer = save(client, key, slug="globex", name="Globex <Inc>")
            assert key not in answer.text + repr(answer.headers) + caplog.text
            assert 'value="globex"' in answer.text
            assert "Globex &lt;Inc&gt;" in answer.text
        field = re.search(r'<input id="admin_key"[^>]*>', answer.text)
        assert field
        assert 'type="password"' in field[0]
        assert 'autocomplete="off"' in field[0]
        assert "value=" not in field[0]
        assert '<label for="admin_key">Admin key</label>' in answer.text

    def test_a_key_that_cannot_be_opened_again_is_not_stored(
        self, made: Installation, browser: As, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connecting, "open_sealed", lambda *_: None)
        answer = save(browser("ola"), made.simulator.keys["globex"], slug="globex")
        assert "The master key changed while the key was being stored" in text_of(answer.text)
        assert not is_known(made, "globex")


class TestProgress:
    @pytest.fixture
    def started(self, made: Installation, browser: As, dagster: DagsterStub) -> tuple[TestClient, str, str]:
        client = browser("tim")
        path = save(client, made.simulator.keys["acme"]).headers["location"]
        return client, path, next(iter(dagster.launched))

    def test_it_looks_again_by_itself_until_the_run_has_ended(
        self, started: tuple[TestClient, str, str], dagster: DagsterStub
    ) -> None:
        client, path, run_id = started
        for state, words in (("QUEUED", "about to start"), ("STARTED", "Fetching from Anthropic")):
            dagster.states[run_id] = state
            page = client.get(path).text
            assert words in page
            assert '<meta http-equiv="refresh" content="3">' in page
        dagster.states[run_id] = "SUCCESS"
        assert client.get(path).headers["location"] == "/tenants/acme"

    def test_a_run_that_failed_is_told_with_what_to_do(
        self, made: Installation, started: tuple[TestClient, str, str], dagster: DagsterStub, browser: As
    ) -> None:
        client, path, run_id = started
        dagster.states[run_id] = "FAILURE"
        with made.engine.begin() as connection:
            connection.exec_driver_sql("update stax.tenants set status = 'key_rejected'")
        page = client.get(path).text
        assert "The sync failed." in page
        assert "Anthropic rejects the admin key" in page
        assert "http-equiv" not in page
        assert "/dagster" not in page
        assert f"/dagster/runs/{run_id}" in browser("ola").get(path).text

    @pytest.mark.parametrize("run", ["", "x", "%00", "../../x", "0" * 36])
    def test_a_run_that_there_is_not_is_waited_for(self, started: tuple[TestClient, str, str], run: str) -> None:
        client, _, _ = started
        assert "The sync starts within two minutes" in client.get(f"{PATH}/acme?run={run}").text

    def test_of_another_tenant_nothing_is_told(self, browser: As) -> None:
        client = browser("tim")
        there, nowhere = client.get(f"{PATH}/globex"), client.get(f"{PATH}/no-such")
        assert (there.status_code, there.text) == (404, nowhere.text)


def test_a_window_of_one_day_is_one_day() -> None:
    """What the app says of a run's days is what Dagster's own tags say."""
    day = Window(NOW.date(), trailing_window(0, NOW).end)
    assert set(range_tags(day).values()) == {NOW.date().isoformat()}
