"""What is measured: how many tenants, over how many days, and what besides the first load."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """`tenants` over `days` complete days and the open one.

    `most` is the largest product ÷ floor that is accepted, None without one. `small` tenants use one model in one
    workspace. `replay`, `one_more` (a further tenant synced alone beside the others) and `peers` are measured where
    they are set; `floor` and `repeat` are left out where they are not asked for.
    """

    tenants: int
    days: int
    most: float | None = None
    small: bool = False
    floor: bool = True
    repeat: bool = True
    replay: bool = False
    one_more: bool = False
    peers: bool = False


CASES = {
    "1x30": Case(1, 30),
    "200x1": Case(200, 1, most=2.2, one_more=True),
    "1x365": Case(1, 365, most=2.2),
    "200x8": Case(200, 8, most=1.8),
    "20x30": Case(20, 30, replay=True, peers=True),
    "small-20x1": Case(20, 1, small=True),
    "small-220x1": Case(220, 1, small=True),
    "1x1": Case(1, 1),
    "50x30": Case(50, 30),
    "memory-200x1": Case(200, 1, floor=False, repeat=False),
    "memory-1000x1": Case(1000, 1, floor=False, repeat=False),
    "memory-5000x1": Case(5000, 1, floor=False, repeat=False),
}
USUAL = ("1x30", "200x1", "1x365", "200x8", "20x30", "small-20x1", "small-220x1", "1x1")
"""The cases of `make bench`; the others are measured by name."""
GROWTH = {
    f"{tenants}x{days}": Case(tenants, days, floor=False)
    for tenants, days in (
        (1, 1), (1, 7), (1, 30), (1, 90), (1, 365), (1, 730), (10, 1), (50, 1), (200, 1), (1000, 1), (5000, 1),
        (10, 7), (50, 7), (200, 7),
    )
}  # fmt: skip
"""The cases of `python -m benchmarks.growth`."""


def tenant_names(number: int) -> list[str]:
    """The organisations of a case with so many tenants: one alone is the simulator's large one."""
    return ["acme"] if number == 1 else [f"tenant-{n:04d}" for n in range(number)]
