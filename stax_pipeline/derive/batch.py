"""All that people read, for a batch of tenants at once: spend, spend by key and price accuracy.

Which rule makes which table is told by the first line of each file in `sql`; what few rows need is done in Python.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from stax_pipeline.derive.batch_days import Day, days_of, numbered_days, versions
from stax_pipeline.derive.engine import Engine, Session
from stax_pipeline.derive.fees import Burning, spread
from stax_pipeline.derive.price_accuracy import price_accuracy
from stax_pipeline.derive.price_lists import PriceLists, Sold
from stax_pipeline.derive.reconciliation import Cell, Change
from stax_pipeline.derive.schemas import (
    RECONCILIATION,
    SPEND,
    SPEND_BY_KEY,
    SPEND_DAY_TOTALS,
    SPEND_TOTALS,
    USD,
    schema_of,
    table_of_rows,
)
from stax_pipeline.derive.terms import Terms
from stax_pipeline.pricing.prices.book import dated_model

FEES = schema_of(id=pa.int32(), fee_usd=USD, commitment_id=pa.string())
UNUSED = schema_of(
    day=pa.int32(), model=pa.string(), token_type=pa.string(), burndown_units=USD, fee_usd=USD,
    commitment_id=pa.string(), dated_model=pa.string(), version=pa.string(),
)  # fmt: skip
_BURNING = """
select day, id, dated_model, token_type, burndown_units // 1000000000000000
from lines join shown using (kind) join types using (type) left join notes using (note)
where burndown_units is not null and cost_source <> 'reported'
order by day, space, model, cost_type, token_type, service_tier, context_window, inference_geo, speed,
         coalesce(descriptions, description, ''), quantity
"""
ROLL_UPS = frozenset({"spend_totals", "spend_day_totals"})
RESULTS = frozenset({"spend", "spend_by_key", "reconciliation"}) | ROLL_UPS


class Batch(NamedTuple):
    """What several tenants' days hold, and the rules they are priced by.

    `days` (DAYS) has every tenant's day that cost or usage lines are of, settled or not, and how many minutes of its
    usage are known: 1440 for a whole day, null where usage is not covered. `terms` and `restated` are by `tenant_id`;
    `restated` gives the changes of each row of price accuracy after the fact, the newest first.
    """

    cost_lines: pa.Table
    usage_lines: pa.Table
    usage_by_key: pa.Table
    days: pa.Table
    terms: Mapping[str, Terms]
    restated: Mapping[str, Mapping[Cell, Sequence[Change]]]


class Derived(NamedTuple):
    """Tables SPEND, SPEND_TOTALS, SPEND_DAY_TOTALS, SPEND_BY_KEY, RECONCILIATION; one not wanted has no rows.

    SPEND and RECONCILIATION are in order, by tenant and day; rows of the others are in none: loading sorts them.
    """

    spend: pa.Table
    spend_totals: pa.Table
    spend_day_totals: pa.Table
    spend_by_key: pa.Table
    reconciliation: pa.Table


def _query(schema: pa.Schema, name: str) -> str:
    exact = [f"{f.name}::decimal(38, 0) as {f.name}" if f.type == USD else f.name for f in schema]
    return f"select {', '.join(exact)} from {name} join days using (day)"  # noqa: S608


_SPEND = _query(SPEND, "spend")
_SPEND_TOTALS = _query(SPEND_TOTALS, "spend_totals")
_SPEND_DAY_TOTALS = _query(SPEND_DAY_TOTALS, "spend_day_totals")
_SPEND_BY_KEY = _query(SPEND_BY_KEY, "spend_by_key")


def derive(engine: Engine, batch: Batch, wanted: frozenset[str] = RESULTS) -> Derived:
    """Derive the wanted tables, named as in the warehouse.

    Raises:
        TooLarge: a figure does not fit; halve the batch to find whose it is.
        TooFine: a price has too many decimals.
        ValueError: there are cost or usage lines of a day that is not given.
    """
    with engine.session() as session:
        days = price(session, batch)
        session.run("paid")
        spend, totals, by_day, by_key, accuracy = (
            schema.empty_table() for schema in (SPEND, SPEND_TOTALS, SPEND_DAY_TOTALS, SPEND_BY_KEY, RECONCILIATION)
        )
        if wanted - {"reconciliation"}:
            _make_spend(session, batch, days)
            spend = _in_order(session.table(_SPEND, SPEND)) if "spend" in wanted else spend
        if wanted & ROLL_UPS:
            session.run("spend_totals")
            totals = session.table(_SPEND_TOTALS, SPEND_TOTALS) if "spend_totals" in wanted else totals
            by_day = session.table(_SPEND_DAY_TOTALS, SPEND_DAY_TOTALS) if "spend_day_totals" in wanted else by_day
        if "spend_by_key" in wanted:
            session.give("usage_by_key", batch.usage_by_key)
            session.run("spend_by_key")
            by_key = session.table(_SPEND_BY_KEY, SPEND_BY_KEY)
        if "reconciliation" in wanted:
            session.run("reconciliation")
            accuracy = price_accuracy(session, days, batch.terms, batch.restated)
    return Derived(spend, totals, by_day, by_key, accuracy)


def _in_order(spend: pa.Table) -> pa.Table:
    return spend.sort_by([(name, "ascending") for name in ("tenant_id", "usage_date", "line")])


def price(session: Session, batch: Batch) -> list[Day]:
    """Give the session the batch's lines, and price its tokens."""
    days, lists = days_of(batch.days), PriceLists()
    session.give("cost_lines", batch.cost_lines)
    session.give("usage_lines", batch.usage_lines)
    session.give("days", numbered_days(days, batch.terms, lists))
    session.run("lines")
    [(bills, meters)] = session.rows("select (select count(*) from bills), (select count(*) from meters)")
    if (bills, meters) != (batch.cost_lines.num_rows, batch.usage_lines.num_rows):
        raise ValueError("there are lines of a day that is not given")
    sold = session.rows(
        "select sold, price_list, model, service_tier, context_window, inference_geo, speed "
        "from sold join kinds using (kind)"
    )
    prices, sources = lists.prices(Sold(*row) for row in sold)
    session.give("prices", prices)
    session.give("sources", sources)
    session.run("priced")
    return days


def _make_spend(session: Session, batch: Batch, days: Sequence[Day]) -> None:
    session.run("spend")
    used = session.rows(
        "select distinct day, dated_model || case speed when 'fast' then '/fast' else '' end "
        "from meters join kinds using (kind) "
        "union select day, 'web_search' from meters where web_search_requests > 0"
    )
    session.give("versions", versions(days, batch.terms, used))
    fees, unused = _fees(session, batch.terms, days)
    session.give("fees", table_of_rows(FEES, fees))
    session.give("unused", table_of_rows(UNUSED, unused))
    session.run("numbered")


def _fees(
    session: Session, terms: Mapping[str, Terms], days: Sequence[Day]
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Rows of FEES and UNUSED of every tenant that has a commitment."""
    committed = {tenant_id: own for tenant_id, own in terms.items() if own.commitments}
    if not committed:
        return [], []
    burning: dict[str, list[Burning]] = defaultdict(list)
    for number, line, *burned in session.rows(_BURNING):
        day = days[number]
        if day.tenant_id in committed:
            burning[day.tenant_id].append(Burning(line, day.usage_date, *burned))
    with_lines = {number for (number,) in session.rows("select distinct day from lines")}
    fees: list[tuple[Any, ...]] = []
    unused: list[tuple[Any, ...]] = []
    for tenant_id, own in committed.items():
        numbers = {day.usage_date: day.number for day in days if day.tenant_id == tenant_id}
        minutes = {d.usage_date: d.minutes for d in days if d.tenant_id == tenant_id and d.minutes is not None}
        borne, left = spread(burning[tenant_id], own, minutes)
        fees += borne
        for idle in left:
            day_number = numbers[idle.usage_date]
            version = None if day_number in with_lines else own.version_of(idle.usage_date, frozenset())
            unused.append((day_number, *idle[1:], dated_model(idle.model), version))
    return fees, unused
