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
def work(until, now):
    while now() < until:
        pass
"""
CALLS = "def calls(work, *given): return work(*given)"


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
        work(time.thread_time() + 0.5, time.thread_time)
    assert watch.client["derive"] == pytest.approx(0.5, abs=0.1)
    assert sum(watch.client.values()) - watch.client["derive"] < 0.1


def test_work_in_a_room_without_a_stage_is_booked_on_its_caller() -> None:
    work, calls = _in_module("stax_pipeline.warehouse.copy", WORK), _in_module("stax_pipeline.lake.parquet", CALLS)
    with Watch(psutil.Process()) as watch:
        calls(work, time.thread_time() + 0.3, time.thread_time)
    assert watch.client["parquet"] == pytest.approx(0.3, abs=0.1)


def test_each_thread_is_booked_on_its_own_stage() -> None:
    parse = _in_module("stax_pipeline.anthropic.strict_json", WORK)
    checks = _in_module("stax_pipeline.checks.anything", WORK)

    def beside() -> None:
        checks(time.thread_time() + 0.3, time.thread_time)

    with Watch(psutil.Process()) as watch:
        thread = threading.Thread(target=beside)
        thread.start()
        parse(time.thread_time() + 0.3, time.thread_time)
        thread.join()
    assert watch.client["parse"] == pytest.approx(0.3, abs=0.1)
    assert watch.client["checks"] == pytest.approx(0.3, abs=0.1)


def test_watching_an_idle_process_books_nothing_and_costs_little() -> None:
    with Watch(psutil.Process()) as watch:
        time.sleep(1)
    assert sum(watch.client.values()) < 0.05
    assert 0 < watch.own < 0.2
