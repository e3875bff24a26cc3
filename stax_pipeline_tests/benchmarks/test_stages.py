"""CPU seconds are booked on the stage whose code was at work, and on no other."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from benchmarks.stages import ORDER, STAGES, Watch, stage_of

WORK = """
def work(is_done):
    while not is_done():
        pass
"""
CALLS = "def calls(work, *given): return work(*given)"
SECONDS = 0.3


def _booked(watch: Watch, *stages: str) -> Callable[[], bool]:
    """Whether each of the stages has its seconds: when the watching thread comes to look is the machine's matter."""
    patience = time.monotonic() + 120
    return lambda: time.monotonic() > patience or all(watch.client[stage] >= SECONDS for stage in stages)


def _in_module(name: str, code: str) -> Callable[..., Any]:
    """The function of `code`, as if `name` were its module."""
    made: dict[str, Any] = {"__name__": name}
    exec(code, made)
    return next(value for key, value in made.items() if not key.startswith("__"))


@pytest.mark.parametrize("module", STAGES)
def test_every_module_that_has_a_stage_is_there(module: str) -> None:
    assert importlib.util.find_spec(module)


def test_every_stage_is_shown() -> None:
    assert {stage for stage in STAGES.values() if stage} | {"rest"} == set(ORDER)


def test_the_longest_name_counts_and_a_shared_room_leaves_it_to_its_caller() -> None:
    assert stage_of("stax_pipeline.lake.raw") == "request and raw"
    assert stage_of("stax_pipeline.lake.parquet") == "parquet"
    assert stage_of("stax_pipeline.derive.sql.anything") == "derive"
    assert stage_of("stax_pipeline.warehouse.copy") is None
    assert stage_of("stax_pipeline.derive.engine") is None
    assert stage_of("stax_pipeline_tests.derive") is None


def test_work_is_booked_on_the_stage_whose_module_runs_it() -> None:
    work = _in_module("stax_pipeline.derive.anything", WORK)
    with Watch(psutil.Process()) as watch:
        work(_booked(watch, "derive"))
    assert watch.client.pop("derive") >= SECONDS
    assert sum(watch.client.values()) < 0.1


def test_work_in_a_room_without_a_stage_is_booked_on_its_caller() -> None:
    work, calls = _in_module("stax_pipeline.warehouse.copy", WORK), _in_module("stax_pipeline.lake.parquet", CALLS)
    with Watch(psutil.Process()) as watch:
        calls(work, _booked(watch, "parquet"))
    assert watch.client.pop("parquet") >= SECONDS
    assert sum(watch.client.values()) < 0.1


def test_each_thread_is_booked_on_its_own_stage() -> None:
    parse = _in_module("stax_pipeline.anthropic.strict_json", WORK)
    checks = _in_module("stax_pipeline.checks.anything", WORK)
    with Watch(psutil.Process()) as watch:
        is_done = _booked(watch, "parse", "checks")
        thread = threading.Thread(target=checks, args=(is_done,))
        thread.start()
        parse(is_done)
        thread.join()
    assert min(watch.client.pop("parse"), watch.client.pop("checks")) >= SECONDS
    assert sum(watch.client.values()) < 0.1


def test_what_a_helper_did_is_booked_on_its_stage_though_it_is_looked_at_while_it_waits() -> None:
    work = _in_module("stax_pipeline.checks.anything", WORK)
    is_seen, waits, may_end = threading.Event(), threading.Event(), threading.Event()

    def helper() -> None:
        work(is_seen.is_set)
        until = time.thread_time() + SECONDS
        work(lambda: time.thread_time() >= until)
        waits.set()
        may_end.wait()

    watch = Watch(psutil.Process())
    thread = threading.Thread(target=helper)
    thread.start()
    while "checks" not in watch.client:
        watch._threads()
    is_seen.set()
    waits.wait()
    before = watch.client["checks"]
    watch._threads()
    may_end.set()
    thread.join()
    assert watch.client["checks"] >= before + SECONDS / 2


def test_what_the_server_did_is_booked_on_those_who_waited_for_it_before_the_look() -> None:
    work = _in_module("stax_pipeline.warehouse.anything", WORK)
    calls = _in_module("stax_pipeline.lake.parquet", CALLS)
    with Watch(psutil.Process()) as watch:  # a server that is this process itself
        patience = time.monotonic() + 120
        calls(work, lambda: time.monotonic() > patience or watch.server["parquet"] >= SECONDS)
        patience = time.monotonic() + 120
        before = watch.server["parquet"]
        _in_module("stax_pipeline.derive.anything", WORK)(
            lambda: time.monotonic() > patience or watch.server["parquet"] >= before + SECONDS
        )
    assert watch.server["parquet"] >= before + SECONDS
    assert watch.server["derive"] == 0


def test_watching_an_idle_process_books_nothing_but_its_own_work() -> None:
    with Watch(psutil.Process()) as watch:
        before = time.process_time()
        time.sleep(1)
        spent = time.process_time() - before
    assert watch.own > 0
    assert sum(watch.client.values()) < max(0.05, spent - watch.own + 0.05)
