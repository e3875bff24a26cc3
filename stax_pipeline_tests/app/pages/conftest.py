"""An installation with one tenant and nothing fetched, people of every role, and a Dagster that is made up."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from stax_pipeline.app.application import create_app
from stax_pipeline.app.people import roster
from stax_pipeline.app.people.person import Role
from stax_pipeline_tests.app.conftest import NOW, PASSWORD, PUBLIC, post
from stax_pipeline_tests.app.dagster_stub import DagsterStub
from stax_pipeline_tests.app.support import served
from stax_pipeline_tests.conftest import Installation


@pytest.fixture
def made(installation: Installation) -> Iterator[Installation]:
    """acme is connected, globex is not; `ola` is an operator, `ana` an analyst, `tim` acme's own."""
    installation.add_tenant("acme")
    roster.add(installation.settings, "ola", Role.OPERATOR, None, PASSWORD)
    roster.add(installation.settings, "ana", Role.ANALYST, None, PASSWORD)
    roster.add(installation.settings, "tim", Role.TENANT, "acme", PASSWORD)
    yield installation
    with installation.engine.connect() as connection:
        tables = "select tenant_id from stax.tenants union select tenant_id from stax.invites"
        ids = connection.exec_driver_sql(tables).scalars().all()
    for tenant_id in ids:
        roster.forget_reader(installation.settings, tenant_id)


@pytest.fixture
def dagster() -> DagsterStub:
    return DagsterStub()


As = Callable[[str | None], TestClient]


@pytest.fixture
def browser(made: Installation, dagster: DagsterStub) -> Iterator[As]:
    """`browser("tim")` is that person's, logged in; `browser(None)` is a stranger's."""
    opened: list[TestClient] = []
    with tempfile.TemporaryDirectory() as folder, served(dagster.app, Path(folder) / "s"):

        def open_one(name: str | None) -> TestClient:
            app = create_app(replace(made.settings, public_url=PUBLIC), Path(folder) / "s")
            app.state.now = lambda: NOW
            client = TestClient(app, base_url=PUBLIC, follow_redirects=False, headers={"Accept": "text/html"})
            opened.append(client)
            if name:
                answer = post(client, "/login", client.get("/login").text, name=name, password=PASSWORD)
                assert answer.status_code == 303
            return client

        yield open_one
        for client in opened:
            client.app.state.database.close()  # type: ignore[attr-defined]
            client.app.state.runs.close()  # type: ignore[attr-defined]
            client.close()
