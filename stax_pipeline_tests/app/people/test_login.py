"""Sessions of our own, as a browser meets them: in, out, wrong, too often, and from another site's page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from stax_pipeline.app.people import roster
from stax_pipeline.app.people.attempts import OF_A_NAME
from stax_pipeline.app.people.person import Role
from stax_pipeline_tests.app.conftest import PASSWORD, PUBLIC, Visit, post, token_of
from stax_pipeline_tests.conftest import Installation

LoggedIn = Callable[[str], TestClient]


def test_at_the_machine_itself_nobody_logs_in(visit: Visit) -> None:
    client = visit()
    assert client.get("/").status_code == 200
    assert client.get("/login").headers["location"] == "/"


def test_a_stranger_is_sent_to_the_login_and_back_to_where_he_was(visit: Visit) -> None:
    client = visit(public_url=PUBLIC)
    sent = client.get("/tenants/acme?days=7")
    assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=/tenants/acme%3Fdays%3D7")
    page = client.get(sent.headers["location"]).text
    assert 'name="next" value="/tenants/acme?days=7"' in page
    answer = post(client, "/login", page, name="Ana ", password=PASSWORD, next="/tenants/acme?days=7")
    assert (answer.status_code, answer.headers["location"]) == (303, "/tenants/acme?days=7")
    assert client.get("/tenants/acme").status_code == 200


def test_a_program_without_a_login_gets_no_page(visit: Visit) -> None:
    client = visit(public_url=PUBLIC)
    for path in ("/", "/tenants/acme", "/dagster/", "/nowhere"):
        assert client.get(path, headers={"Accept": "application/json"}).status_code == 401


def test_the_cookie_is_kept_from_scripts_other_sites_and_clear_text(visit: Visit) -> None:
    client = visit(public_url=PUBLIC)
    answer = post(client, "/login", client.get("/login").text, name="ana", password=PASSWORD)
    said = answer.headers["set-cookie"].lower()
    assert all(part in said for part in ("httponly", "samesite=lax", "secure", "path=/", "max-age=43200"))


@pytest.mark.parametrize(("name", "password"), [("ana", "wrong"), ("nobody", PASSWORD), ("a b", PASSWORD), ("", "")])
def test_wrong_is_wrong_in_the_same_words(visit: Visit, name: str, password: str) -> None:
    client = visit(public_url=PUBLIC)
    answer = post(client, "/login", client.get("/login").text, name=name, password=password)
    assert answer.status_code == 403
    assert "That name and password do not go together." in answer.text
    assert PASSWORD not in answer.text
    assert "set-cookie" not in answer.headers


def test_a_login_without_a_password_is_not_opened_by_an_empty_one(two: Installation, visit: Visit) -> None:
    roster.add(two.settings, "proxied", Role.ANALYST, None, None)
    client = visit(public_url=PUBLIC)
    answer = post(client, "/login", client.get("/login").text, name="proxied", password="")
    assert answer.status_code == 403


@pytest.mark.parametrize("name", ["tim", "nobody"])
def test_after_a_few_failures_even_the_right_password_waits(visit: Visit, name: str) -> None:
    client = visit(public_url=PUBLIC)
    page = client.get("/login").text
    for _ in range(OF_A_NAME):
        assert post(client, "/login", page, name=name, password="wrong").status_code == 403
    waits = post(client, "/login", page, name=name, password=PASSWORD)
    assert waits.status_code == 429
    assert "Too many attempts. Try again in 5 minutes." in waits.text
    assert 0 < int(waits.headers["retry-after"]) <= 301
    assert post(client, "/login", page, name="ana", password=PASSWORD).status_code == 303


def test_logging_out_ends_the_session_for_whoever_kept_its_cookie(logged_in: LoggedIn, visit: Visit) -> None:
    client = logged_in("ana")
    kept = client.cookies["stax_session"]
    page = client.get("/").text
    assert post(client, "/logout", page).headers["location"] == "/login"
    thief = visit(public_url=PUBLIC)
    thief.cookies.set("stax_session", kept)
    assert thief.get("/").status_code == 303


def test_a_login_that_is_removed_is_out_in_mid_session(two: Installation, logged_in: LoggedIn) -> None:
    roster.add(two.settings, "temp", Role.ANALYST, None, PASSWORD)
    client = logged_in("temp")
    assert client.get("/").status_code == 200
    roster.remove(two.settings, "temp")
    assert client.get("/").status_code == 303


class TestForms:
    """A form counts from our own page alone, in its own session."""

    def test_without_an_origin_it_is_refused(self, logged_in: LoggedIn) -> None:
        client = logged_in("ana")
        page = client.get("/").text
        answer = client.post("/logout", data={"form_token": token_of(page)})
        assert answer.status_code == 403
        assert client.get("/").status_code == 200

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:3000"])
    def test_from_another_site_it_is_refused(self, logged_in: LoggedIn, origin: str) -> None:
        client = logged_in("ana")
        page = client.get("/").text
        answer = client.post("/logout", data={"form_token": token_of(page)}, headers={"Origin": origin})
        assert answer.status_code == 403
        assert client.get("/").status_code == 200

    def test_with_anothers_token_it_is_refused(self, logged_in: LoggedIn) -> None:
        other = token_of(logged_in("gil").get("/tenants/globex").text)
        client = logged_in("ana")
        for token in (other, "", "ü"):
            answer = client.post("/logout", data={"form_token": token}, headers={"Origin": PUBLIC})
            assert answer.status_code == 403
            assert "open for too long" in answer.text

    @pytest.mark.parametrize(
        ("body", "kind", "status"),
        [
            (b"", "application/x-www-form-urlencoded", 403),
            (b"\xff=1", "application/x-www-form-urlencoded", 400),
            (b"a=%ff", "application/x-www-form-urlencoded", 400),
            (b"&".join([b"a=1"] * 60), "application/x-www-form-urlencoded", 400),
            (b"a=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
            (b"{}", "application/json", 415),
            (b"a=1", "text/plain", 415),
        ],
    )
    def test_what_no_form_of_ours_sends_is_refused(self, visit: Visit, body: bytes, kind: str, status: int) -> None:
        answer = visit(public_url=PUBLIC).post("/login", content=body, headers={"Origin": PUBLIC, "Content-Type": kind})
        assert answer.status_code == status

    @pytest.mark.parametrize(
        "path", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\\b", "", "/a\nb"]
    )
    def test_a_login_leads_to_no_other_site(self, visit: Visit, path: str) -> None:
        client = visit(public_url=PUBLIC)
        answer = post(client, "/login", client.get("/login").text, name="ana", password=PASSWORD, next=path)
        assert answer.headers["location"] == "/"
