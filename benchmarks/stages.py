"""A clock that tells which stage the time went to: each instant belongs to the innermost stage that is running.

Functions are wrapped from outside; the product knows nothing of it. What no stage claims is Dagster's: its steps, its
events and its storage.
"""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

seconds: dict[str, float] = defaultdict(float)
_running: list[list[Any]] = []


def _enter(stage: str) -> None:
    now = time.perf_counter()
    if _running:
        seconds[_running[-1][0]] += now - _running[-1][1]
    _running.append([stage, now])


def _leave() -> None:
    now = time.perf_counter()
    stage, since = _running.pop()
    seconds[stage] += now - since
    if _running:
        _running[-1][1] = now


def _wrapped(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*args: Any, **named: Any) -> Any:
        _enter(stage)
        try:
            return function(*args, **named)
        finally:
            _leave()

    return timed


def watch(stage: str, *places: tuple[Any, str]) -> None:
    for owner, name in places:
        setattr(owner, name, _wrapped(stage, getattr(owner, name)))


def watch_engine(engine: sa.Engine) -> None:
    """Count every statement and commit of this engine as Postgres."""

    def begin(*_: Any) -> None:
        _enter("postgres")

    def end(*_: Any) -> None:
        _leave()

    sa.event.listen(engine, "before_cursor_execute", lambda *a: begin())
    sa.event.listen(engine, "after_cursor_execute", lambda *a: end())
    dialect: Any = engine.dialect
    dialect.do_commit = _wrapped("postgres", dialect.do_commit)


def watch_product() -> None:
    """Name the stages of a sync."""
    from stax_pipeline.resources.admin_api import client, paging
    from stax_pipeline.resources.lake import parquet
    from stax_pipeline.resources.warehouse import copy, publish
    from stax_pipeline.steps import analytics, extract, normalize

    watch("parse", (paging, "parse_report_page"), (paging.WalkCheck, "add"), (client, "_raw"))
    watch(
        "parse",
        (extract.UsageReader, "add"),
        (extract.UsageReader, "cost"),
        (extract.Fetched, "finish"),
        (normalize, "read_cost"),
        (normalize, "read_usage"),
    )
    watch("raw pages", (extract, "_keep"), (extract.Fetched, "add"))
    watch("join and price", (analytics, "spend_lines"), (analytics, "reconcile"), (analytics, "spend_by_key"))
    watch("join and price", (normalize, "unit_fault"))
    watch("postgres", (publish, "copy_in"), (parquet, "copy_out"), (publish, "read_days"))
    watch("postgres", (analytics, "read_days"), (normalize, "read_days"), (copy, "copy_in"))
    watch("parquet", (parquet, "_write_days"))
    watch("request", (extract.asyncio, "run"))
