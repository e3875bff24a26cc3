"""The lines of pages as plain lines, in a stable order, for tests that say what they should be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.normalise import read_pages
from stax_pipeline.derive.plain_rows import lines_of_table
from stax_pipeline.derive.usage_lines import KeyUsageLine, UsageLine
from stax_pipeline.domain.extraction import RawPage, Window


class Costs(NamedTuple):
    lines: list[CostLine]
    set_aside: list[CostLine]


class Usage(NamedTuple):
    lines: list[UsageLine]
    by_key: list[KeyUsageLine]


def read_costs(pages: Iterable[RawPage], window: Window) -> Costs:
    found = read_pages(pages, window)
    return Costs(lines_of_table(found.cost_lines, CostLine), lines_of_table(found.set_aside, CostLine))


def read_usage(pages: Iterable[RawPage], window: Window) -> Usage:
    found = read_pages(pages, window)
    return Usage(lines_of_table(found.usage_lines, UsageLine), lines_of_table(found.usage_by_key, KeyUsageLine))
