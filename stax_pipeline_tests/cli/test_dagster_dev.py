"""Names of `dagster dev` and of its webserver that `cli.dagster_dev` replaces or extends: each still does its work."""

from __future__ import annotations

from typing import Any

import pytest
from dagster_webserver import app, cli
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware

from stax_pipeline.app.request_guard import RequestGuard
from stax_pipeline.cli import dagster_dev
from stax_pipeline.cli.dagster_dev import with_request_guard
from stax_pipeline.dagster_instance.internals import dev_module


def test_the_application_is_made_of_the_class_of_that_name() -> None:
    assert app.DagsterWebserver is DagsterWebserver
    assert "DagsterWebserver" in app.create_app_from_workspace_process_context.__code__.co_names
    host = cli.host_dagster_ui_with_workspace_process_context
    assert "create_app_from_workspace_process_context" in host.__code__.co_names


def test_the_application_takes_its_middleware_and_its_headers_from_the_methods_that_are_extended() -> None:
    assert "build_middleware" in DagsterWebserver.create_asgi_app.__code__.co_names
    uses = [method.__code__.co_names for method in vars(DagsterWebserver).values() if hasattr(method, "__code__")]
    assert any("make_security_headers" in names for names in uses)


def test_a_webserver_of_ours_has_the_request_guard_first_and_forbids_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr(app, "DagsterWebserver", DagsterWebserver)
    monkeypatch.setattr(cli, "main", lambda: served.append(app.DagsterWebserver))
    dagster_dev._webserver()
    [made] = served
    webserver = made.__new__(made)
    first, *rest = webserver.build_middleware()
    assert isinstance(first, Middleware) and first.cls is RequestGuard
    assert [one.cls for one in rest] == [one.cls for one in DagsterWebserver.build_middleware(webserver)]
    plain = DagsterWebserver.make_security_headers(webserver)
    assert made.make_security_headers(webserver) == {**plain, "X-Frame-Options": "SAMEORIGIN"}


def test_dagster_dev_starts_its_children_through_a_call_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    dev = dev_module()
    started: list[list[str]] = []
    monkeypatch.setattr(dev, "open_ipc_subprocess", lambda parts, **_: started.append(list(parts)))
    command = ["python", "-m", dagster_dev.WEBSERVER, "--port", "3000"]
    monkeypatch.setattr(dev, "dev_command", lambda **_: dev.open_ipc_subprocess(command))
    dagster_dev._dev()
    assert started == [with_request_guard(command)] != [command]
