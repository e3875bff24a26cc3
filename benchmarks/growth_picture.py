"""The picture of growth: a row per quantity, beside each other over tenants, over days and over source rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape


class Point(NamedTuple):
    """A load of so many tenants over so many days: seconds, CPU seconds of client and server, MB."""

    tenants: int
    days: int
    rows: int
    wall: float
    cpu: float
    memory_mb: float
    database_mb: float
    lake_mb: float
    repeat_wall: float
    repeat_cpu: float


class Panel(NamedTuple):
    """One quantity."""

    title: str
    of: Callable[[Point], float]


class Axis(NamedTuple):
    """What a quantity is drawn over, and the points that differ in nothing else."""

    title: str
    of: Callable[[Point], float]
    holds: Callable[[Point], bool]


PANELS = (
    Panel("time, s", lambda p: p.wall),
    Panel("CPU, s", lambda p: p.cpu),
    Panel("repeat, CPU s", lambda p: p.repeat_cpu),
    Panel("memory, MB", lambda p: p.memory_mb),
    Panel("database, MB", lambda p: p.database_mb),
    Panel("lake, MB", lambda p: p.lake_mb),
)
AXES = (
    Axis("tenants, one day", lambda p: p.tenants, lambda p: p.days == 1),
    Axis("days, one tenant", lambda p: p.days, lambda p: p.tenants == 1),
    Axis("source rows, every case", lambda p: p.rows, lambda _: True),
)
WIDTH, HEIGHT, LEFT, TOP, GAP = 230, 120, 60, 40, 66
_STYLE = (
    "text{font:11px sans-serif;fill:#333}.t{font-weight:bold}.g{stroke:#ddd;stroke-width:1}"
    ".l{stroke:#36c;stroke-width:1.5;fill:none}.p{fill:#36c}.b{fill:none;stroke:#999}"
)


def picture(points: Sequence[Point]) -> str:
    """The picture as SVG, both scales logarithmic."""
    wide, high = LEFT + len(AXES) * (WIDTH + GAP), TOP + len(PANELS) * (HEIGHT + GAP)
    drawn = [
        part
        for row, panel in enumerate(PANELS)
        for column, axis in enumerate(AXES)
        for part in _panel(points, panel, axis, LEFT + column * (WIDTH + GAP), TOP + row * (HEIGHT + GAP))
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *drawn, "</svg>", ""])


def _panel(points: Sequence[Point], panel: Panel, axis: Axis, left: int, top: int) -> Iterator[str]:
    yield f'<text class="t" x="{left}" y="{top - 8}">{escape(panel.title)}, over {escape(axis.title)}</text>'
    yield f'<rect class="b" x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}"/>'
    drawn = sorted((axis.of(p), panel.of(p)) for p in points if axis.holds(p) and panel.of(p) > 0)
    if not drawn:
        return
    across = _scale([x for x, _ in drawn], left, left + WIDTH)
    up = _scale([y for _, y in drawn], top + HEIGHT, top)
    for x in across.ticks:
        yield f'<line class="g" x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{top}" y2="{top + HEIGHT}"/>'
        yield f'<text x="{across(x):.1f}" y="{top + HEIGHT + 14}" text-anchor="middle">{_short(x)}</text>'
    for y in up.ticks:
        yield f'<line class="g" x1="{left}" x2="{left + WIDTH}" y1="{up(y):.1f}" y2="{up(y):.1f}"/>'
        yield f'<text x="{left - 6}" y="{up(y) + 4:.1f}" text-anchor="end">{_short(y)}</text>'
    places = [(across(x), up(y)) for x, y in drawn]
    if not axis.holds(Point(2, 2, *(0,) * 8)):  # a line joins what differs in one thing alone
        yield f'<polyline class="l" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'
    yield from (f'<circle class="p" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places)


class _Scale(NamedTuple):
    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    @property
    def ticks(self) -> list[float]:
        return [10.0**n for n in range(math.floor(self.low), math.ceil(self.high) + 1) if self.low <= n <= self.high]


def _scale(values: Sequence[float], begin: float, end: float) -> _Scale:
    """From the power of ten below the values to the one above."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return _Scale(low, max(high, low + 1), begin, end)


def _short(value: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
