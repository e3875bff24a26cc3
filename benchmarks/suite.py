"""One case, measured so many times: each run and each floor in a process of its own, over the same pages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from benchmarks.cases import Case
from benchmarks.installed import connect, empty
from benchmarks.pages import Page, walk
from benchmarks.peers import measure_dlt
from benchmarks.source import Source, serving
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.time import trailing_window
from stax_pipeline.installation.settings import Settings
from stax_pipeline.resources.dagster import loader_engine

Figures = dict[str, Any]
"""What a process printed: CPU seconds of `client` and `server`, `wall`, and more."""


def measure(settings: Settings, case: Case, times: int) -> list[Figures]:
    """The case from empty tables, `times` times. Each holds `first`, and what else the case asks for."""
    window = trailing_window(case.days, datetime.now(UTC))
    with serving(case.tenants + case.one_more, small=case.small) as source:
        names = list(source.keys)[: case.tenants]
        pages = walk(source, window, names)
        return [_once(settings, case, source, pages, window, names) for _ in range(times)]


def _once(
    settings: Settings, case: Case, source: Source, pages: Sequence[Page], window: Window, names: Sequence[str]
) -> Figures:
    empty(settings)
    connect(settings, source, names)
    found: Figures = {"first": run(source, window)}
    found["rows"], fetched = _extracted(settings)
    if case.floor:
        kept = len(pages) - len(names)  # of `me` nothing is kept
        assert fetched == kept, f"the run kept {fetched} pages, the floor has {kept}"
        asked = {"url": source.url, "pages": [[page.path, page.params, page.headers] for page in pages]}
        found["floor"] = _figures(["benchmarks.floor"], source, json.dumps(asked))
        found["requests"] = len(pages)
    found["database_mb"], found["lake_mb"] = _sizes(settings)
    if case.repeat:
        found["repeat"] = run(source, window)
    if case.replay:
        found["replay"] = run(source, window, "--replay")
    if case.one_more:
        further = list(source.keys)[case.tenants]
        walk(source, window, [further])
        connect(settings, source, [further])
        found["one_more"] = run(source, window, further)
    if case.peers:
        found["dlt"] = measure_dlt(settings, source, window, names)
    return found


def run(source: Source, window: Window, *words: str) -> Figures:
    """A run of the product over the window."""
    return _figures(["benchmarks.run", str(window.start), str(window.days[-1]), *words], source)


def _figures(command: Sequence[str], source: Source, feed: str = "") -> Figures:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        input=feed, capture_output=True, text=True, check=False,
        env={**os.environ, "STAX_ANTHROPIC_BASE_URL": source.url},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def _sizes(settings: Settings) -> tuple[float, float]:
    """MB of the tables in schema `stax` with their indexes, and of the lake's files."""
    size = "select sum(pg_total_relation_size(c.oid)) from pg_class c where c.relnamespace = 'stax'::regnamespace "
    with loader_engine(settings).connect() as connection:
        database = connection.execute(sa.text(size + "and c.relkind = 'r'")).scalar_one()
    lake = sum(file.stat().st_size for file in (settings.home / "lake").rglob("*") if file.is_file())
    return float(database) / 1e6, lake / 1e6


def _extracted(settings: Settings) -> tuple[int, int]:
    """Source rows and pages that count."""
    with loader_engine(settings).connect() as connection:
        counted = connection.execute(
            sa.text("select coalesce(sum(rows), 0), coalesce(sum(pages), 0) from stax.extractions where error is null")
        ).one()
    return int(counted[0]), int(counted[1])
