"""What is printed of the figures: ratios first, each beside the limit it is held to, then where the seconds went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.cases import CASES
from benchmarks.stages import ORDER

Figures = Mapping[str, Any]
Found = Mapping[str, Sequence[Figures]]
"""By case, what each of its repetitions measured."""

REPEAT, DLT, MEMORY_MB = 0.3, 0.8, 700
MANY = 30  # tenant-days from which on what a run costs by itself is the smaller part
TENANT_MS, REQUEST_MS = 4.0, 1.5


def lines(found: Found) -> Iterator[str]:
    """The whole report."""
    yield "CPU seconds of client + Postgres, medians; limits in brackets"
    for name, times in found.items():
        yield ""
        yield from _case(name, times)
    yield ""
    yield from _between_cases(found)


def _case(name: str, times: Sequence[Figures]) -> Iterator[str]:
    case = CASES[name]
    first = [one["first"] for one in times]
    written = sum(first[0]["written"].values())
    yield f"{name}: {times[0]['rows']:,} source rows, {written:,} rows written, {len(times)} times"
    yield f"  first load        {_seconds(first)}   peak {_peak(first):.0f} MB"
    yield f"    stages          {_stages(first)}"
    if case.floor:
        yield f"  floor             {_seconds([floor(one) for one in times])}   {_floor_steps(times)}"
        yield f"  product ÷ floor   {_limited(_ratio(first, [floor(one) for one in times]), case.most)}"
    if case.repeat:
        repeat = REPEAT if case.tenants * case.days >= MANY and not case.small else None
        yield f"  repeat ÷ first    {_limited(_ratio([one['repeat'] for one in times], first), repeat)}"
        yield f"    rows written    {_limited(_most_written(times), 0, 0)}"
    if case.replay:
        yield f"  replay ÷ first    {_ratio([one['replay'] for one in times], first):.2f}"
    if case.one_more:
        yield f"  one more tenant   {_seconds([one['one_more'] for one in times])}"
    if case.peers:
        yield from _peer(times, first)


def _peer(times: Sequence[Figures], first: Sequence[Figures]) -> Iterator[str]:
    peer = [one["dlt"] for one in times]
    if not all(peer):
        yield "  dlt               NOT MEASURED: it cannot be installed here"
        return
    rows = ", ".join(f"{table} {count:,}" for table, count in peer[0]["rows"].items())
    yield f"  dlt               {_seconds(peer)}   {rows}"
    yield f"  product ÷ dlt     {_limited(_ratio(first, peer), DLT)}"


def _between_cases(found: Found) -> Iterator[str]:
    if "small-20x1" in found and "small-220x1" in found:
        few, many = found["small-20x1"], found["small-220x1"]
        more = CASES["small-220x1"].tenants - CASES["small-20x1"].tenants
        tenant = 1000 * (_cpu(one["first"] for one in many) - _cpu(one["first"] for one in few)) / more
        requests = (many[0]["requests"] - few[0]["requests"]) / more
        limit = TENANT_MS + REQUEST_MS * requests
        yield f"marginal tenant with {requests:.0f} requests, ms: {_limited(tenant, limit, 1)}"
    if "1x1" in found and "200x1" in found:
        alone, among = (
            _cpu(one[which] for one in found[case]) for case, which in (("1x1", "first"), ("200x1", "one_more"))
        )
        yield f"one tenant synced among 200 ÷ alone: {among / alone:.2f}"
    for name, times in found.items():
        if name.startswith("memory"):
            peak = _peak([one["first"] for one in times])
            yield f"peak memory, {CASES[name].tenants} tenants, MB: {_limited(peak, MEMORY_MB, 0)}"


def floor(one: Figures) -> dict[str, float]:
    """The floor of one repetition, its steps added up."""
    return {side: sum(step[side] for step in one["floor"].values()) for side in ("client", "server", "wall")}


def _floor_steps(times: Sequence[Figures]) -> str:
    steps = times[0]["floor"]
    return ", ".join(f"{step} {_cpu(one['floor'][step] for one in times):.2f}" for step in steps)


def _stages(first: Sequence[Figures]) -> str:
    parts = []
    for stage in ORDER:
        client = median(one["client_stages"].get(stage, 0.0) for one in first)
        server = median(one["server_stages"].get(stage, 0.0) for one in first)
        parts.append(f"{stage} {client:.2f} + {server:.2f}")
    return ", ".join(parts)


def _cpu(measured: Iterable[Figures]) -> float:
    return median(float(one["client"] + one["server"]) for one in measured)


def _ratio(above: Sequence[Figures], below: Sequence[Figures]) -> float:
    return _cpu(above) / _cpu(below)


def _seconds(measured: Sequence[Figures]) -> str:
    client, server, wall = (median(one[side] for one in measured) for side in ("client", "server", "wall"))
    return f"{client:.2f} + {server:.2f} s, wall {wall:.2f} s"


def _peak(measured: Sequence[Figures]) -> float:
    return max(float(one["peak_mb"]) for one in measured)


def _most_written(times: Sequence[Figures]) -> float:
    return max(float(sum(one["repeat"]["written"].values())) for one in times)


def _limited(value: float, limit: float | None, digits: int = 2) -> str:
    if limit is None:
        return f"{value:,.{digits}f}"
    return f"{value:,.{digits}f}  [{limit:g}]{'' if value <= limit else '  MISSED'}"
