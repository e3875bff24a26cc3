"""Keys, headers, error bodies, unknown parameters, lists, faults: what holds for every endpoint."""

from __future__ import annotations

import ast
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

import stax_pipeline.simulator
from stax_pipeline.simulator import Simulator, demo_organizations, faults
from stax_pipeline.simulator.server import require_loopback
from stax_pipeline_tests.simulator.conftest import COST, USAGE, Client, Clock, day

ME = "/v1/organizations/me"
DAYS = [("starting_at", day("2026-11-20")), ("ending_at", day("2026-11-21"))]


def assert_error(answer: httpx.Response, status: int, kind: str, message: str) -> None:
    assert answer.status_code == status
    assert answer.json() == {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": answer.headers["request-id"],
    }


def test_imports_nothing_of_the_product() -> None:
    for path in Path(stax_pipeline.simulator.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                names = [node.module or ""]
            for name in names:
                assert not name.startswith("stax_pipeline") or name.startswith("stax_pipeline.simulator"), path


def test_every_answer_names_itself_and_the_clock(client: Client) -> None:
    answer = client.get(ME)
    assert answer.json() == {
        "id": client.simulator.organizations["acme"].id,
        "type": "organization",
        "name": "acme",
    }
    assert parsedate_to_datetime(answer.headers["date"]) == client.clock.now
    assert len(answer.headers.get_list("date")) == 1
    assert answer.headers["anthropic-organization-id"] == answer.json()["id"]
    assert answer.headers["request-id"] != client.get(ME).headers["request-id"]


def test_the_date_header_is_utc_whatever_the_clocks_zone(client: Client) -> None:
    client.clock.now = datetime(2026, 11, 22, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert client.get(ME).headers["date"] == "Sat, 21 Nov 2026 23:00:00 GMT"


@pytest.mark.parametrize("key", ["sk-ant-admin01-unknown", "sk-ant-api03-ordinary"])
def test_unknown_and_ordinary_keys_are_refused(client: Client, key: str) -> None:
    answer = client.get(ME, x_api_key=key)
    assert_error(answer, 401, "authentication_error", "invalid x-api-key")
    assert "anthropic-organization-id" not in answer.headers


def test_key_and_version_are_required(client: Client) -> None:
    no_key = client.http.get(ME, headers=client.headers)
    assert_error(no_key, 401, "authentication_error", "x-api-key header is required")
    no_version = client.http.get(ME, headers={"x-api-key": client.key})
    assert_error(no_version, 400, "invalid_request_error", "anthropic-version: header is required")
    assert client.get(ME, anthropic_version="2020-01-01").status_code == 400


def test_a_key_may_come_as_bearer(client: Client) -> None:
    headers = {**client.headers, "authorization": f"Bearer {client.key}"}
    assert client.http.get(ME, headers=headers).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.2", "localhost.", "0.0.0.0"])
def test_a_foreign_host_is_refused_before_the_key_is_looked_at(client: Client, host: str) -> None:
    answer = client.get(ME, host=f"{host}:80")
    assert answer.status_code == 400
    assert "request-id" not in answer.headers
    assert client.get(ME, host="localhost").status_code == 200


def test_an_ipv6_loopback_is_served_by_its_name() -> None:
    with Simulator(demo_organizations(), host="::1") as simulator:
        headers = {"x-api-key": simulator.keys["acme"], "anthropic-version": "2023-06-01"}
        assert httpx.get(simulator.base_url + ME, headers=headers, trust_env=False).status_code == 200


def test_keys_can_be_revoked_and_rotated() -> None:
    with Simulator(demo_organizations(), clock=Clock()) as simulator:
        old, new = simulator.keys["acme"], simulator.issue_key("acme")
        assert simulator.keys["acme"] == new != old

        def status(key: str) -> int:
            headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
            return httpx.get(simulator.base_url + ME, headers=headers, trust_env=False).status_code

        assert (status(old), status(new)) == (200, 200)
        simulator.revoke(old)
        assert (status(old), status(new)) == (401, 200)
        assert [(entry.path, entry.key_hint, entry.status) for entry in simulator.requests][-2:] == [
            (ME, old[-4:], 401),
            (ME, new[-4:], 200),
        ]


def test_keys_have_the_true_shape_and_are_stable() -> None:
    first, second = demo_organizations(), demo_organizations()
    assert [one.admin_key for one in first] == [one.admin_key for one in second]
    assert first[0].admin_key != first[1].admin_key != demo_organizations(seed=1)[1].admin_key
    assert first[0].admin_key.startswith("sk-ant-admin01-")
    assert len(first[0].admin_key) == len("sk-ant-admin01-") + 90


def test_unknown_paths_and_methods(client: Client) -> None:
    assert_error(client.get("/v1/organizations/nothing"), 404, "not_found_error", "Not found")
    answer = client.http.post(ME, headers={"x-api-key": client.key, **client.headers})
    assert answer.status_code == 405


@pytest.mark.parametrize("path", [COST, USAGE])
@pytest.mark.parametrize(
    "wrong",
    [
        [("speed", "fast")],
        [("context_windows[]", "0-200k")],
        [("group_by", "model")],
        [("group_by[]", "colour")],
        [("limit", "0")],
        [("limit", "32")],
        [("limit", "ten")],
        [("limit", "9" * 5000)],
        [("limit", "1"), ("limit", "1")],
        [("bucket_width", "1w")],
        [("page", "page_abc")],
        [("page", "nonsense")],
        [("page", "page_é")],
    ],
)
def test_wrong_parameters(client: Client, path: str, wrong: list[tuple[str, str]]) -> None:
    answer = client.get(path, DAYS + wrong)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("path", [COST, USAGE])
@pytest.mark.parametrize(
    "start", [None, "yesterday", "2026-11-20", "2026-11-20T00:00:00", "0001-01-01T00:00:00+10:00", "2026-11-21T00:00Z"]
)
def test_wrong_ranges(client: Client, path: str, start: str | None) -> None:
    params = [("ending_at", day("2026-11-21"))] + ([("starting_at", start)] if start else [])
    assert client.get(path, params).status_code == 400


def test_lists_page_by_id(client: Client) -> None:
    path = "/v1/organizations/api_keys"
    everything = client.get(path, [("limit", "1000")]).json()
    ids = [key["id"] for key in everything["data"]]
    assert (everything["first_id"], everything["last_id"], everything["has_more"]) == (ids[0], ids[-1], False)
    assert len(client.get(path).json()["data"]) == 20 < len(ids)
    walked: list[str] = []
    after: list[tuple[str, str]] = []
    while True:
        page = client.get(path, [("limit", "4"), *after]).json()
        walked += [key["id"] for key in page["data"]]
        after = [("after_id", page["last_id"])]
        if not page["has_more"]:
            break
    assert walked == ids
    before = client.get(path, [("limit", "2"), ("before_id", ids[5])]).json()
    assert [key["id"] for key in before["data"]] == ids[3:5]
    assert before["has_more"]
    for wrong in ([("limit", "1001")], [("after_id", "apikey_unknown")], [("page", "x")]):
        assert client.get(path, wrong).status_code == 400


def test_workspaces_hide_default_and_archived_unless_asked(client: Client) -> None:
    path = "/v1/organizations/workspaces"

    def names(*params: tuple[str, str]) -> set[str]:
        return {row["name"] for row in client.get(path, list(params)).json()["data"]}

    usual = names()
    assert names(("include_default", "true")) - usual == {"Default"}
    assert names(("include_archived", "true")) - usual == {"Legacy Bot"}
    everything = client.get(path, [("include_default", "true"), ("include_archived", "true")]).json()["data"]
    assert all(row["id"].startswith("wrkspc_") for row in everything)
    assert client.get(path, [("include_default", "yes")]).status_code == 400


def test_key_and_user_filters(client: Client) -> None:
    keys = client.get("/v1/organizations/api_keys", [("status", "inactive")]).json()["data"]
    assert {key["status"] for key in keys} == {"inactive"}
    assert {key["workspace_id"] for key in keys} >= {None}
    users = client.get("/v1/organizations/users", [("roles[]", "admin"), ("roles[]", "billing")]).json()["data"]
    assert {user["role"] for user in users} == {"admin", "billing"}


def test_faults_answer_the_nth_request_of_a_key_and_path(client: Client) -> None:
    client.simulator.faults.add(faults.status(429, retry_after=3), key=client.key, path="cost_report", nth=2, times=2)
    globex = client.simulator.keys["globex"]
    assert client.get(COST, DAYS, x_api_key=globex).status_code == 200
    assert [client.get(COST, DAYS).status_code for _ in range(4)] == [200, 429, 429, 200]
    client.simulator.faults.add(faults.status(429, retry_after=3))
    limited = client.get(USAGE, DAYS)
    assert limited.headers["retry-after"] == "3"
    assert limited.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "authentication_error"), (403, "permission_error"), (500, "api_error"), (529, "overloaded_error")],
)
def test_fault_statuses_have_documented_bodies(client: Client, status: int, kind: str) -> None:
    client.simulator.faults.add(faults.status(status))
    answer = client.get(COST, DAYS)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)


def test_fault_bodies(client: Client) -> None:
    client.simulator.faults.add(faults.html(502))
    client.simulator.faults.add(faults.body({"surprise": 1}), nth=2)
    assert client.get(COST, DAYS).headers["content-type"].startswith("text/html")
    assert client.get(COST, DAYS).json() == {"surprise": 1}


def test_faults_that_change_a_page(client: Client) -> None:
    grouped = [*DAYS, ("group_by[]", "description")]
    true = client.get(COST, grouped).json()
    row = true["data"][0]["results"][0]

    def faulty(fault: faults.Fault) -> dict[str, object]:
        client.simulator.faults.add(fault)
        page: dict[str, object] = client.get(COST, grouped).json()
        return page

    def first_row(fault: faults.Fault) -> dict[str, object]:
        found: dict[str, object] = faulty(fault)["data"][0]["results"][0]  # type: ignore[index]
        return found

    page = faulty(faults.has_more_without_token())
    assert (page["has_more"], page["next_page"], page["data"]) == (True, None, true["data"])
    assert first_row(faults.missing_field("amount")) == {k: v for k, v in row.items() if k != "amount"}
    assert float(str(first_row(faults.dollars())["amount"])) * 100 == pytest.approx(float(row["amount"]))
    assert first_row(faults.nan_amount())["amount"] == "NaN"
    assert first_row(faults.currency())["currency"] == "EUR"
    assert client.get(COST, grouped).json() == true


def test_a_repeated_token_leads_to_the_same_page(client: Client) -> None:
    client.simulator.faults.add(faults.repeated_token(), times=None)
    first = client.get(COST, DAYS).json()
    second = client.get(COST, [*DAYS, ("page", first["next_page"])]).json()
    assert second == first
    assert second["has_more"]


def test_delay(client: Client) -> None:
    client.simulator.faults.add(faults.delay(0.2))
    before = datetime.now(UTC)
    client.get(COST, DAYS)
    assert datetime.now(UTC) - before >= timedelta(seconds=0.2)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::"])
def test_only_loopback_is_served(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        require_loopback(host)
    with pytest.raises(ValueError, match="loopback"):
        Simulator([], host=host)
