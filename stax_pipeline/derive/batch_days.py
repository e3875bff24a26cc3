"""What holds for each tenant's day of a batch: its number there, whether it is settled, its price list, its version."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

import pyarrow as pa

from stax_pipeline.derive.engine import Engine
from stax_pipeline.derive.price_lists import PriceLists, each, units
from stax_pipeline.derive.schemas import UNITS, schema_of, table_of_rows
from stax_pipeline.derive.terms import Terms, Uses
from stax_pipeline.pricing.prices.book import WEB_SEARCH, use_of

NUMBERED_DAYS = schema_of(
    day=pa.int32(), tenant_id=pa.string(), usage_date=pa.date32(), settled=pa.bool_(), price_list=pa.int32(),
    search_usd=UNITS, search_fine=UNITS, search_unit=UNITS, search_source=pa.string(),
)  # fmt: skip
VERSIONS = schema_of(day=pa.int32(), version=pa.string())


class Day(NamedTuple):
    """One tenant's day; `number` is its place in the batch by tenant and date. `minutes` are None where not covered."""

    number: int
    tenant_id: str
    usage_date: date
    settled: bool
    minutes: int | None


def days_of(table: pa.Table) -> list[Day]:
    """The days of a table DAYS, numbered by tenant and date.

    Raises:
        ValueError: one is in it twice.
    """
    columns: list[Any] = [table.column(name).to_pylist() for name in ("tenant_id", "usage_date", "settled", "minutes")]
    rows = sorted(zip(*columns, strict=True), key=lambda row: row[:2])
    if len({row[:2] for row in rows}) < len(rows):
        raise ValueError("a tenant's day is given twice")
    return [Day(number, *row) for number, row in enumerate(rows)]


def numbered_days(days: Iterable[Day], terms: Mapping[str, Terms], lists: PriceLists) -> pa.Table:
    """A row of NUMBERED_DAYS per day, web searches priced: they have no contract rate."""
    rows = [
        (
            day.number, day.tenant_id, day.usage_date, day.settled,
            lists.number_of(terms[day.tenant_id], day.usage_date), *_search(terms[day.tenant_id], day.usage_date),
        )
        for day in days
    ]  # fmt: skip
    return table_of_rows(NUMBERED_DAYS, rows)


def _search(terms: Terms, day: date) -> tuple[object, ...]:
    price = terms.book.service_price("web_search", day)
    return (*each(price, price.low, "web searches"), units(price.low), price.source) if price else (None,) * 4


def uses_by_tenant(engine: Engine, usage_lines: pa.Table) -> dict[str, dict[date, Uses]]:
    """What is priced on each tenant's day, as `Terms.version_of` takes it: models, in fast mode apart, and searches."""
    found: dict[str, dict[date, set[str]]] = defaultdict(lambda: defaultdict(set))
    with engine.session() as session:
        session.give("usage_lines", usage_lines)
        for tenant_id, day, model, speed, searched in session.rows(_USES):
            uses = found[tenant_id][day]
            uses.add(use_of(model, speed))
            if searched:
                uses.add(WEB_SEARCH)
    return {tenant_id: {day: frozenset(uses) for day, uses in days.items()} for tenant_id, days in found.items()}


_USES = """
select tenant_id, usage_date, model, speed, bool_or(web_search_requests > 0) from usage_lines group by all
"""


def versions(days: Iterable[Day], terms: Mapping[str, Terms], used: Iterable[tuple[int, str]]) -> pa.Table:
    """A row of VERSIONS per day. `used` gives what is priced on a day, by the day's number."""
    uses: dict[int, set[str]] = defaultdict(set)
    for number, use in used:
        uses[number].add(use)
    rows = [(day.number, terms[day.tenant_id].version_of(day.usage_date, frozenset(uses[day.number]))) for day in days]
    return table_of_rows(VERSIONS, rows)
