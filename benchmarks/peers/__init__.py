"""Other loaders on the same pages and into the same Postgres, each in an environment of its own under `.tools`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from benchmarks.cpu import Server, spending
from benchmarks.source import Source
from stax_pipeline.anthropic.queries import API_VERSION, cost_query, usage_queries
from stax_pipeline.domain.extraction import Query, Window
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.installation.settings import Settings
from stax_pipeline.warehouse.roles import logins

FOLDER = Path(__file__).parent


def dlt_environment() -> Path | None:
    """dlt's Python, installed from its hashed lock; None where that cannot be done."""
    made = CHECKOUT / ".tools" / "dlt"
    command: list[str | Path] = ["sh", CHECKOUT / "tools" / "tools.sh", made, FOLDER / "dlt.lock"]
    done = subprocess.run(command, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, check=False)
    return made / "bin" / "python" if done.returncode == 0 else None


def measure_dlt(settings: Settings, source: Source, window: Window, names: Sequence[str]) -> dict[str, Any]:
    """CPU seconds of dlt and the server for the rows of cost and usage alone; empty where dlt cannot be installed."""
    python = dlt_environment()
    if python is None:
        return {}
    admin = sa.make_url(logins(settings).admin)
    engine = sa.create_engine(admin)
    server = Server(engine)
    with tempfile.TemporaryDirectory(prefix="stax-bench-") as folder, spending(server) as spent:
        asked = {
            "url": source.url, "folder": folder, "postgres": _credentials(admin),
            "tenants": {name: _asked(source.keys[name], window) for name in names},
        }  # fmt: skip
        done = subprocess.run(
            [python, FOLDER / "dlt_load.py"], input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True
        )
    with engine.begin() as connection:
        connection.execute(sa.text("drop schema if exists dlt_peer cascade"))
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**figures, "server": spent.server}


def _credentials(url: sa.URL) -> dict[str, Any]:
    """As dlt takes them: it makes a URL of them, in which the server's socket must be quoted."""
    host, port = url.host or url.query["host"], url.port or url.query["port"]
    found = {"username": url.username, "password": url.password, "database": url.database}
    return {**found, "host": quote(str(host), safe=""), "port": int(str(port))}


def _asked(key: str, window: Window) -> dict[str, Any]:
    complete = Window(window.start, min(window.end, datetime.now(UTC).date()))
    reports = {"cost_report": cost_query(complete), "usage_report": usage_queries(window)[0]}
    return {"key": key, "version": API_VERSION, "reports": {name: _report(query) for name, query in reports.items()}}


def _report(query: Query) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, value in query.params:
        params.setdefault(name, []).append(value)
    return {"path": query.path, "params": {name: v[0] if len(v) == 1 else v for name, v in params.items()}}
