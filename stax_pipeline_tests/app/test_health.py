"""`/health` says whether the application and what is behind it answer."""

from __future__ import annotations

import tempfile
from pathlib import Path

from starlette.testclient import TestClient

from stax_pipeline.app.application import create_app
from stax_pipeline.installation.settings import read_settings
from stax_pipeline_tests.app.support import STAND_IN, served


def test_it_is_ready_while_dagsters_webserver_answers_and_alive_always() -> None:
    with tempfile.TemporaryDirectory(prefix="stax-health-") as folder:
        socket = Path(folder) / "s"
        client = TestClient(create_app(read_settings(), socket), base_url="http://127.0.0.1:3000")
        before, alive = client.get("/health"), client.get("/health/live")
        assert (before.status_code, before.json()) == (
            503,
            {"live": True, "ready": False, "dagster": "does not answer"},
        )
        assert (alive.status_code, alive.json()) == (200, {"live": True})
        with served(STAND_IN, socket):
            ready = client.get("/health")
        assert (ready.status_code, ready.json()) == (200, {"live": True, "ready": True, "dagster": "ok"})
        assert ready.headers["cache-control"] == "no-store"
