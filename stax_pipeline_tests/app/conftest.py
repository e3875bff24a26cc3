"""Two tenants with data, people of every role, and clients that speak to the app as a browser does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from stax_pipeline.app.application import create_app
from stax_pipeline.app.people import roster
from stax_pipeline.app.people.person import Role
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import sync, two_tenants

NOW = datetime(2026, 11, 22, 12, 5, tzinfo=UTC)
PUBLIC = "https://stax.example.com"
LOOPBACK = "http://127.0.0.1:3000"
PASSWORD = "correct horse battery"
PEOPLE = {
    "ola": (Role.OPERATOR, None), "ana": (Role.ANALYST, None), "tim": (Role.TENANT, "acme"),
    "gil": (Role.TENANT, "globex"),
}  # fmt: skip
_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]+)"')


@pytest.fixture(scope="module")
def two(stax_home: Path) -> Iterator[Installation]:
    """acme and globex with days of data, and a login for each of `PEOPLE`."""
    with two_tenants(stax_home) as made:
        assert not sync(made).failures
        for name, (role, slug) in PEOPLE.items():
            roster.add(made.settings, name, role, slug, PASSWORD)
        with made.engine.connect() as connection:
            ids = connection.exec_driver_sql("select tenant_id from stax.tenants").scalars().all()
        yield made
        for tenant_id in ids:
            roster.forget_reader(made.settings, tenant_id)


Visit = Callable[..., TestClient]


@pytest.fixture
def visit(two: Installation, tmp_path: Path) -> Iterator[Visit]:
    """`visit()` is at the machine itself, `visit(public_url=PUBLIC)` at an app that asks for a login."""
    opened: list[TestClient] = []

    def made(**changed: object) -> TestClient:
        settings = replace(two.settings, **changed)  # type: ignore[arg-type]
        app = create_app(settings, tmp_path / "nobody")
        app.state.now = lambda: NOW
        base = PUBLIC if settings.asks_for_login else LOOPBACK
        client = TestClient(app, base_url=base, follow_redirects=False, headers={"Accept": "text/html"})
        opened.append(client)
        return client

    yield made
    for client in opened:
        client.app.state.database.close()  # type: ignore[attr-defined]
        client.close()


def token_of(page: str) -> str:
    """What the forms of a page carry."""
    found = _TOKEN.search(page)
    assert found
    return found[1]


def post(client: TestClient, path: str, page: str, **fields: str):  # type: ignore[no-untyped-def]
    """A form of `page`, sent as its own browser would."""
    origin = str(client.base_url).rstrip("/")
    return client.post(path, data={"form_token": token_of(page), **fields}, headers={"Origin": origin})


@pytest.fixture
def logged_in(visit: Visit) -> Callable[[str], TestClient]:
    """A client with that person's session."""

    def made(name: str) -> TestClient:
        client = visit(public_url=PUBLIC)
        answer = post(client, "/login", client.get("/login").text, name=name, password=PASSWORD)
        assert answer.status_code == 303, answer.text
        return client

    return made
