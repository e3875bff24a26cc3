"""No page, error, redirect or number of queries shows a tenant's person that there is another tenant."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from stax_pipeline.app.application import create_app
from stax_pipeline_tests.app.conftest import PUBLIC
from stax_pipeline_tests.conftest import Installation

LoggedIn = Callable[[str], TestClient]
OTHERS = {"tim": ("acme", "globex"), "gil": ("globex", "acme")}


@pytest.fixture
def marks(two: Installation) -> dict[str, set[str]]:
    """What names a tenant, by slug: its names, ids, workspaces, keys and dollars."""
    query = """
        select t.slug, x.word from stax.tenants t cross join lateral (
            select t.slug union select t.name union select t.tenant_id::text union select t.organization_id
            union select workspace_id from stax.workspaces w where w.tenant_id = t.tenant_id and not is_default
            union select name from stax.api_keys k where k.tenant_id = t.tenant_id
            union select to_char(sum(total_usd), 'FM999,999,990.00') from stax.spend_summary s
                  where s.tenant_id = t.tenant_id group by usage_date) as x (word)"""
    found: dict[str, set[str]] = {"acme": set(), "globex": set()}
    with two.engine.connect() as connection:
        for slug, word in connection.exec_driver_sql(query):
            found[slug].add(word)
    assert all(len(words) > 6 for words in found.values())
    return {slug: words - found[other] for slug, other in OTHERS.values() for words in [found[slug]]}


def paths(other: str) -> list[str]:
    """Every address of the app, with the other tenant wherever one can be named."""
    return [
        "/", "/login", f"/tenants/{other}", f"/tenants/{other}/", f"/tenants/{other}?days=90",
        f"/tenants/{other.upper()}", f"/tenants/{other}%00", f"/tenants/%2e%2e/{other}", f"/?tenant={other}",
        f"/static/{other}", "/nowhere", f"/{other}", "/health", "/metrics", "/app",
        f"/tenants/{other}/provider", "/providers",
        "/providers/anthropic/connect", f"/providers/anthropic/connect?tenant={other}",
        "/app/providers/anthropic/connect", f"/providers/anthropic/connect/{other}", f"/invite/{other}",
    ]  # fmt: skip


def test_every_address_is_asked(two: Installation) -> None:
    """Who adds a route adds it to `paths`."""
    app = create_app(two.settings, two.home / "nobody")
    known = {
        "/", "/login", "/logout", "/tenants/{slug}", "/static/{name}", "/health", "/health/live", "/metrics",
        "/dagster", "/app",
        "/providers", "/providers/anthropic/connect", "/app/providers/anthropic/connect", "/invite/{token}",
        "/providers/anthropic/connect/{slug}", "/tenants/{slug}/provider", "/tenants/{slug}/provider/sync",
        "/tenants/{slug}/provider/disconnect",
    }  # fmt: skip
    assert {route.path for route in app.routes} == known  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", OTHERS)
def test_nothing_that_is_answered_names_the_other_tenant(
    logged_in: LoggedIn, marks: dict[str, set[str]], name: str
) -> None:
    own, other = OTHERS[name]
    client = logged_in(name)
    mine = client.get(f"/tenants/{own}").text
    assert len({word for word in marks[own] if word in mine}) >= 4  # the marks are such as pages show
    for path in paths(other):
        answer = client.get(path)
        told = answer.text + repr(answer.headers)
        shown = {word for word in marks[other] if word in told.replace(path.rstrip("/") or "/", "")}
        assert not shown, path


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_tenants_page_is_the_page_of_no_tenant(logged_in: LoggedIn, name: str) -> None:
    _, other = OTHERS[name]
    client = logged_in(name)
    there, nowhere = client.get(f"/tenants/{other}"), client.get("/tenants/no-such-tenant")
    assert there.status_code == nowhere.status_code == 404
    assert there.text == nowhere.text
    assert there.headers == nowhere.headers


@pytest.mark.parametrize("name", OTHERS)
def test_finding_out_takes_the_same_queries(logged_in: LoggedIn, name: str) -> None:
    _, other = OTHERS[name]
    client = logged_in(name)
    client.get("/")
    engine = client.app.state.database._opened.engine  # type: ignore[attr-defined]
    asked: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *told: asked.append(told[2]))

    def queries(slug: str) -> list[str]:
        asked.clear()
        client.get(f"/tenants/{slug}")
        return list(asked)

    assert queries(other) == queries("no-such-tenant") != []


def test_a_tenants_first_page_is_its_own(logged_in: LoggedIn) -> None:
    for name, (own, _) in OTHERS.items():
        assert logged_in(name).get("/").headers["location"] == f"/tenants/{own}"


def test_analysts_and_operators_see_both(logged_in: LoggedIn) -> None:
    for name in ("ana", "ola"):
        page = logged_in(name).get("/").text
        assert "/tenants/acme" in page
        assert "/tenants/globex" in page


def test_whoever_comes_from_elsewhere_sees_nothing(logged_in: LoggedIn) -> None:
    client = logged_in("tim")
    assert client.get("/tenants/acme", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/tenants/acme", headers={"Origin": "https://evil.example"}).status_code == 403
    assert PUBLIC not in client.get("/tenants/acme", headers={"Host": "evil.example"}).text
