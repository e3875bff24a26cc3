"""Whom each way in lets in, and what each role reaches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from stax_pipeline_tests.app.conftest import PUBLIC, Visit
from stax_pipeline_tests.conftest import Installation

HEADER = "x-forwarded-user"
PROXY = {"behind_login": ("stax.example.com",), "login_header": HEADER}


class TestLoginProxy:
    def test_its_header_names_the_person(self, visit: Visit) -> None:
        client = visit(**PROXY)
        assert "globex" in client.get("/", headers={HEADER: "Ana"}).text.lower()
        assert client.get("/", headers={HEADER: "tim"}).headers["location"] == "/tenants/acme"

    @pytest.mark.parametrize("name", ["nobody", "", "a b", "' or 1=1 --"])
    def test_whom_it_does_not_know_stays_out(self, visit: Visit, name: str) -> None:
        answer = visit(**PROXY).get("/", headers={HEADER: name})
        assert (answer.status_code, answer.text) == (401, "The login in front named nobody who has a login here.\n")

    def test_without_the_header_nobody_is_let_in_not_even_by_a_session(self, visit: Visit) -> None:
        assert visit(**PROXY).get("/").status_code == 401

    def test_a_header_that_was_sent_twice_proves_nothing(self, visit: Visit) -> None:
        client = visit(**PROXY)
        twice = [(HEADER, "tim"), (HEADER, "ola"), ("accept", "text/html")]
        assert client.get("/", headers=twice).status_code == 401

    def test_where_none_is_declared_the_header_says_nothing(self, visit: Visit) -> None:
        assert visit(public_url=PUBLIC).get("/", headers={HEADER: "ola"}).status_code == 303


class TestDagster:
    """Its UI, GraphQL and websockets are for operators alone."""

    PATHS = ("/dagster/", "/dagster/runs/1", "/dagster/../dagster/runs")

    @pytest.mark.parametrize("name", ["ana", "tim"])
    def test_others_are_refused(self, logged_in: Callable[[str], TestClient], name: str) -> None:
        client = logged_in(name)
        for path in self.PATHS:
            assert client.get(path).status_code == 403
        asked = client.post("/dagster/graphql", headers={"Origin": PUBLIC}, json={"query": "{__typename}"})
        assert asked.status_code == 403
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/dagster/graphql", headers={"Origin": PUBLIC}),
        ):
            pass

    def test_strangers_are_refused(self, visit: Visit) -> None:
        client = visit(public_url=PUBLIC)
        assert client.get("/dagster/").status_code == 303
        assert client.post("/dagster/graphql", headers={"Origin": PUBLIC, "Accept": "*/*"}).status_code == 401
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/dagster/graphql", headers={"Origin": PUBLIC}),
        ):
            pass

    def test_operators_reach_it(self, logged_in: Callable[[str], TestClient], visit: Visit) -> None:
        for client in (logged_in("ola"), visit()):
            assert client.get("/dagster/").status_code == 503  # nobody listens at the socket of this test
            assert 'href="/dagster/"' in client.get("/").text

    def test_no_other_role_is_shown_the_way(self, logged_in: Callable[[str], TestClient]) -> None:
        client = logged_in("ana")
        for path in ("/", "/tenants/acme", "/tenants/acme/provider"):
            assert "dagster" not in client.get(path).text.lower()


def test_a_database_that_is_away_is_told_to_operators_alone(two: Installation, visit: Visit) -> None:
    for name, told in (("ola", True), ("tim", False)):
        client = visit(**PROXY)
        client.get("/", headers={HEADER: name})
        broken = client.app.state.database._opened.engine  # type: ignore[attr-defined]
        client.app.state.database.__dict__["_opened"] = client.app.state.database._opened._replace(analyst="nobody")  # type: ignore[attr-defined]
        answer = client.get("/", headers={HEADER: name})
        assert (answer.status_code == 503) is told, name
        broken.dispose()


def test_health_needs_no_login_and_says_nothing_of_a_tenant(visit: Visit) -> None:
    answer = visit(public_url=PUBLIC).get("/health")
    assert answer.status_code in (200, 503)
    assert "acme" not in answer.text
