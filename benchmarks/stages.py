"""A clock that tells which stage the time went to: each instant belongs to the innermost stage that is running.

Functions are wrapped from outside; the product knows nothing of it. What no stage claims is Dagster's: its steps, its
events and its storage. What other threads do (open keys, write and record raw objects) counts as request: there the
event loop waits for it.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

seconds: dict[str, float] = defaultdict(float)
_running: list[list[Any]] = []


def _elsewhere() -> bool:
    return threading.current_thread() is not threading.main_thread()


def _enter(stage: str) -> None:
    if _elsewhere():
        return
    now = time.perf_counter()
    if _running:
        seconds[_running[-1][0]] += now - _running[-1][1]
    _running.append([stage, now])


def _leave() -> None:
    if _elsewhere():
        return
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
    from stax_pipeline.anthropic import client, paging
    from stax_pipeline.derive import normalise
    from stax_pipeline.lake import parquet
    from stax_pipeline.pipeline import (
        extract,
        extraction_record,
        history,
        publish_reports,
        publish_spend,
    )
    from stax_pipeline.warehouse import copy, publish

    watch("parse", (paging, "parse_report_page"), (paging.WalkCheck, "add"), (client, "_raw"))
    watch(
        "parse",
        (normalise.UsageReader, "add"),
        (normalise.UsageReader, "cost"),
        (extraction_record.RunningExtraction, "finish"),
        (publish_reports, "read_costs"),
        (publish_reports, "read_usages"),
    )
    watch("raw pages", (extraction_record.RunningExtraction, "add"))
    watch("join and price", (publish_spend, "spend_of"), (publish_spend, "reconcile"), (publish_spend, "spend_by_key"))
    for rule in ("unit_fault", "restated_cost", "restated_usage"):
        watch("join and price", (publish_reports, rule))
    watch("postgres", (publish, "copy_in"), (parquet, "copy_out"), (publish, "read_days"))
    watch("postgres", (publish_spend, "read_days"), (history, "read_days"), (copy, "copy_in"))
    watch("parquet", (parquet, "_write_days"))
    watch("request", (extract.asyncio, "run"))
