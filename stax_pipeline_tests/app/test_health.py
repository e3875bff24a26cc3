"""`/health` says whether the application and what is behind it answer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from stax_pipeline.app.application import create_app
from stax_pipeline.app.health import _is_at_work, _is_loaded
from stax_pipeline.installation.settings import Settings
from stax_pipeline_tests.app.support import STAND_IN, served
from stax_pipeline_tests.conftest import Installation

READY = {"live": True, "ready": True, "database": "ok", "dagster": "ok", "code": "ok", "daemon": "ok"}


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="stax-health-") as folder:
        yield Path(folder) / "s"


def asked(settings: Settings, socket: Path, path: str = "/health") -> tuple[int, dict[str, Any], str]:
    with TestClient(create_app(settings, socket), base_url="http://127.0.0.1:3000") as client:
        answer = client.get(path)
    return answer.status_code, answer.json(), answer.headers["cache-control"]


def test_it_is_ready_while_the_database_and_dagster_answer(two: Installation, socket: Path) -> None:
    with served(STAND_IN, socket):
        assert asked(two.settings, socket) == (200, READY, "no-store")


def test_it_is_not_ready_without_dagster_and_alive_all_the_same(two: Installation, socket: Path) -> None:
    away = READY | dict.fromkeys(("dagster", "code", "daemon"), "not ready") | {"ready": False}
    assert asked(two.settings, socket) == (503, away, "no-store")
    assert asked(two.settings, socket, "/health/live") == (200, {"live": True}, "no-store")


def test_it_is_not_ready_without_the_database(two: Installation, socket: Path) -> None:
    nobody = "postgresql://stax_app:x@127.0.0.1:9/stax?connect_timeout=2"
    settings = replace(two.settings, app_url=nobody)
    with served(STAND_IN, socket):
        assert asked(settings, socket) == (503, READY | {"ready": False, "database": "not ready"}, "no-store")


@pytest.mark.parametrize(
    ("entries", "loaded"),
    [
        (["RepositoryLocation"], True), ([], False), (["PythonError"], False), ([None], False),
        (["RepositoryLocation", "PythonError"], False),
    ],
)  # fmt: skip
def test_code_is_loaded_where_every_location_is(entries: list[str | None], loaded: bool) -> None:
    found = [{"locationOrLoadError": kind and {"__typename": kind}} for kind in entries]
    assert _is_loaded({"workspaceOrError": {"locationEntries": found}}) is loaded
    assert not _is_loaded({"workspaceOrError": None})


@pytest.mark.parametrize(
    ("daemons", "at_work"),
    [
        ([(True, True)], True), ([], False), ([(True, True), (True, False)], False), ([(True, None)], False),
        ([(False, True)], False), ([(True, True), (False, None)], True),
    ],
)  # fmt: skip
def test_the_daemon_is_at_work_where_all_its_required_parts_are(
    daemons: list[tuple[bool, bool | None]], at_work: bool
) -> None:
    statuses = [{"required": required, "healthy": healthy} for required, healthy in daemons]
    assert _is_at_work({"instance": {"daemonHealth": {"allDaemonStatuses": statuses}}}) is at_work
