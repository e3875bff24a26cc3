"""The price book as the warehouse keeps it: dated, with its sources; superseded rows stay."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from stax_pipeline.domain.prices import ListPrice, PriceBook
from stax_pipeline.resources.warehouse.copy import copy_in
from stax_pipeline.resources.warehouse.tables import list_prices

_COLUMNS = [list_prices.c[name] for name in ListPrice._fields]
_METER = 6  # model, effective_from, cost_type, token_type, context_window, speed: what a price is for


def read_book(connection: sa.Connection) -> PriceBook:
    """The prices in force."""
    query = sa.select(*_COLUMNS).where(list_prices.c.superseded_at.is_(None))
    return PriceBook.of(ListPrice(*row) for row in connection.execute(query))


def record_prices(connection: sa.Connection, prices: Iterable[ListPrice]) -> int:
    """Add the prices that are new or changed, superseding those they replace; returns how many. One transaction."""
    connection.execute(sa.text("select pg_advisory_xact_lock(hashtext('list_prices'))"))
    known = {price[:_METER]: price for price in read_book(connection).prices}
    changed = [price for price in prices if _differs(known.get(price[:_METER]), price)]
    for price in changed:
        if price[:_METER] in known:
            meter = dict(zip(ListPrice._fields[:_METER], price[:_METER], strict=True))
            same = [list_prices.c[name] == value for name, value in meter.items()]
            connection.execute(
                list_prices.update()
                .where(*same, list_prices.c.superseded_at.is_(None))
                .values(superseded_at=sa.func.now())
            )
    now = connection.execute(sa.select(sa.func.now())).scalar_one()
    return copy_in(
        connection,
        list_prices,
        [*ListPrice._fields, "recorded_at", "imported"],
        ((*price, now, False) for price in changed),
    )


def _differs(known: ListPrice | None, price: ListPrice) -> bool:
    return known is None or known != price
