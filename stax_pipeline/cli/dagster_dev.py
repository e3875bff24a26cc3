"""`dagster dev` as it is, with our request guard before its UI: python -m stax_pipeline.cli.dagster_dev

Dagster has no setting for middleware. Its `dev` command starts the webserver as a module of that name; here it starts
this module instead, which gives the webserver class its request guard. `dagster_ui` looks that the guard is there
before it says that the UI runs, so a Dagster that starts its webserver otherwise is found out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

MODULE = "stax_pipeline.cli.dagster_dev"
WEBSERVER = "dagster_webserver"


def main() -> None:
    """The arguments of `dagster dev`, or `webserver` and those of `dagster-webserver`."""
    if sys.argv[1:2] == ["webserver"]:
        del sys.argv[1]
        _webserver()
    else:
        _dev()


def _dev() -> None:
    from stax_pipeline.dagster_instance.internals import dev_module

    dev: Any = dev_module()
    start = dev.open_ipc_subprocess

    def start_guarded(parts: Sequence[str], **options: Any) -> Any:
        return start(with_request_guard(parts), **options)

    dev.open_ipc_subprocess = start_guarded
    dev.dev_command(prog_name="dagster dev")


def with_request_guard(parts: Sequence[str]) -> list[str]:
    """A command line that starts Dagster's webserver, made to start ours; any other as it is."""
    if list(parts[1:3]) != ["-m", WEBSERVER]:
        return list(parts)
    return [parts[0], "-m", MODULE, "webserver", *parts[3:]]


def _webserver() -> None:
    from dagster_webserver import app, cli
    from dagster_webserver.webserver import DagsterWebserver
    from starlette.middleware import Middleware

    from stax_pipeline.app.request_guard import RequestGuard
    from stax_pipeline.installation.settings import read_settings

    names = read_settings().served_names

    class GuardedWebserver(DagsterWebserver):  # type: ignore[type-arg]
        def build_middleware(self) -> list[Middleware]:
            return [Middleware(RequestGuard, names=names), *super().build_middleware()]

        def make_security_headers(self) -> dict[str, str]:
            return {**super().make_security_headers(), "X-Frame-Options": "SAMEORIGIN"}

    app.DagsterWebserver = GuardedWebserver  # type: ignore[attr-defined]
    cli.main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
