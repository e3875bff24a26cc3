"""What is printed follows from the figures: medians, ratios, and whether a limit is kept."""

from __future__ import annotations

from typing import Any

from benchmarks.report import lines

STEP = {"client": 0.5, "server": 0.5, "wall": 1.0, "number": 8}


def run(cpu: float, written: int = 6) -> dict[str, Any]:
    return {
        "client": cpu / 2, "server": cpu / 2, "wall": cpu, "peak_mb": 100 * cpu,
        "client_stages": {"parse": cpu / 2}, "server_stages": {"load": cpu / 2}, "written": {"spend": written},
    }  # fmt: skip


def once(first: float, **more: Any) -> dict[str, Any]:
    """A repetition whose floor is 2 CPU seconds."""
    found = {"first": run(first), "rows": 1000, "requests": 180, "floor": {"request": STEP, "COPY": STEP}}
    return {**found, "repeat": run(first / 4, 0), **more}


def printed(case: str, *times: dict[str, Any]) -> str:
    return "\n".join(lines({case: times}))


def test_the_median_of_the_first_loads_is_divided_by_the_median_of_the_floors() -> None:
    text = printed("200x1", *(once(first, one_more=run(1.5)) for first in (4.0, 4.2, 90.0)))
    assert "product ÷ floor   2.10  [2.2]\n" in text
    assert "repeat ÷ first    0.25  [0.3]\n" in text
    assert "rows written    0  [0]\n" in text
    assert "parse 2.10 + 0.00" in text
    assert "load 0.00 + 2.10" in text


def test_a_limit_that_is_not_kept_is_named() -> None:
    text = printed("1x365", {**once(4.6), "repeat": run(2.3, written=1)})
    assert "product ÷ floor   2.30  [2.2]  MISSED" in text
    assert "repeat ÷ first    0.50  [0.3]  MISSED" in text
    assert "rows written    1  [0]  MISSED" in text


def test_a_peer_that_cannot_be_installed_is_named_as_not_measured() -> None:
    assert "NOT MEASURED" in printed("20x30", once(4.0, replay=run(1.0), dlt={}))
    peer = {"client": 4.0, "server": 1.0, "wall": 6.0, "rows": {"cost_report": 70}}
    text = printed("20x30", once(4.0, replay=run(1.0), dlt=peer))
    assert "product ÷ dlt     0.80  [0.8]\n" in text
    assert "replay ÷ first    0.25" in text


def test_what_a_run_costs_by_itself_is_held_to_no_share() -> None:
    found = {**once(4.0), "repeat": run(3.0)}
    assert "repeat ÷ first    0.75\n" in printed("1x1", found)
    assert "repeat ÷ first    0.75\n" in printed("small-20x1", found)
    assert "repeat ÷ first    0.75  [0.3]  MISSED" in printed("1x30", found)


def test_the_marginal_tenant_is_the_difference_of_two_sizes() -> None:
    few, many = {**once(2.0), "requests": 180}, {**once(5.0), "requests": 1980}
    text = "\n".join(lines({"small-20x1": [few], "small-220x1": [many]}))
    assert "marginal tenant with 9 requests, ms: 15.0  [17.5]" in text


def test_memory_is_the_largest_of_all_runs() -> None:
    text = "\n".join(lines({"memory-200x1": [{"first": run(6.0), "rows": 1}, {"first": run(7.5), "rows": 1}]}))
    assert "peak memory, 200 tenants, MB: 750  [700]  MISSED" in text
