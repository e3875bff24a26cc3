"""What pages of one extraction say, read by the product and read row by row, in one shape that can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from typing import NamedTuple, TypeVar

from stax_pipeline.anthropic.envelope import PageOfDays, WalkCheck, WalkStep, parse_report_page
from stax_pipeline.anthropic.typed_pages import read_report_page
from stax_pipeline.derive.analytics_rows import is_set_aside
from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.normalise import PageReader
from stax_pipeline.derive.plain_rows import lines_of_table
from stax_pipeline.derive.usage_lines import KeyUsageLine, UsageLine
from stax_pipeline.domain.errors import TenantStopped
from stax_pipeline.domain.extraction import QueryName, RawPage, Window
from stax_pipeline_tests.oracle import pages as oracle


class Told(NamedTuple):
    """Everything that an extraction takes from its pages."""

    costs: list[CostLine]
    set_aside: list[CostLine]
    lines: list[UsageLine]
    by_key: list[KeyUsageLine]
    key_days: frozenset[date]
    days_apart: set[date]
    unknown: Counter[str]
    rounded: int
    answered_until: dict[QueryName, date]


T = TypeVar("T")
Refused = tuple[type[TenantStopped], str]


def by_product(pages: Sequence[RawPage], window: Window) -> Told | Refused:
    def read() -> Told:
        reader = PageReader(window)
        for page in pages:
            reader.add(page)
        found = reader.normalised()
        return Told(
            lines_of_table(found.cost_lines, CostLine), lines_of_table(found.set_aside, CostLine),
            lines_of_table(found.usage_lines, UsageLine), lines_of_table(found.usage_by_key, KeyUsageLine),
            found.key_days, reader.days_apart(found), reader.unknown, reader.rounded,
            {query: reader.answered_until([query]) for query in QueryName},
        )  # fmt: skip

    return _or_refused(read)


def by_rows(pages: Sequence[RawPage], window: Window) -> Told | Refused:
    def read() -> Told:
        reader = oracle.UsageReader(window)
        costs: list[CostLine] = []
        apart: list[CostLine] = []
        for page in pages:
            if page.query in oracle.COSTS:
                for line in reader.cost(page):
                    (apart if page.query.is_analytics and is_set_aside(line) else costs).append(line)
            else:
                reader.add(page)
        return Told(
            oracle._final(reader, costs), oracle._final(reader, apart), reader.lines(), reader.by_key(),
            reader.key_days, {day for day, _ in reader.disagreements()}, reader.unknown,
            sum(line.is_rounded for line in (*costs, *apart)),
            {query: reader.answered_until([query]) for query in QueryName},
        )  # fmt: skip

    return _or_refused(read)


def walked_by_product(bodies: Sequence[str], window: Window, query: QueryName) -> list[WalkStep] | Refused:
    return _walked(lambda body: read_report_page(body, window, query), bodies, window)


def walked_by_rows(bodies: Sequence[str], window: Window) -> list[WalkStep] | Refused:
    return _walked(lambda body: parse_report_page(body, window), bodies, window)


def _walked(parse: Callable[[str], PageOfDays], bodies: Sequence[str], window: Window) -> list[WalkStep] | Refused:
    check = WalkCheck(window)
    return _or_refused(lambda: [check.add(parse(body)) for body in bodies])


def _or_refused(read: Callable[[], T]) -> T | Refused:
    try:
        return read()
    except TenantStopped as stopped:
        return type(stopped), str(stopped)
