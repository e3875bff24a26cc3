"""The price book as the warehouse keeps it: dated, with its sources; superseded rows stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

import sqlalchemy as sa

from stax_pipeline.domain.errors import Overlap
from stax_pipeline.pricing.prices import ListPrice, PriceBook, shipped_prices
from stax_pipeline.pricing.prices.book import METER, shadowing
from stax_pipeline.warehouse.tables import list_prices
from stax_pipeline.warehouse.versioned_rows import Recorded, compare, in_force, supersede

_COLUMNS = [list_prices.c[name] for name in ListPrice._fields]


def read_book(connection: sa.Connection, at: datetime | None = None) -> PriceBook:
    """The prices in force, or those that were on record at the instant `at`."""
    return PriceBook.of(
        ListPrice(*row) for row in connection.execute(sa.select(*_COLUMNS).where(in_force(list_prices, at)))
    )


def known_book(connection: sa.Connection) -> PriceBook:
    """The prices in force; the shipped ones before anything was recorded."""
    book = read_book(connection)
    return book if book.prices else PriceBook.of(shipped_prices())


class LatestBook:
    """The prices in force, read again only when they changed: a step reads them in every tenant's transaction."""

    def __init__(self) -> None:
        self._known: tuple[object, PriceBook] | None = None

    def read(self, connection: sa.Connection) -> PriceBook:
        mark = connection.execute(
            sa.select(sa.func.count(), sa.func.max(list_prices.c.recorded_at), sa.func.max(list_prices.c.superseded_at))
        ).one()
        if self._known is None or self._known[0] != tuple(mark):
            self._known = tuple(mark), read_book(connection)
        return self._known[1]


def record_prices(
    connection: sa.Connection, prices: Iterable[ListPrice], imported: bool = False
) -> Recorded[ListPrice]:
    """Add the prices that are new or changed, superseding those they replace, in the caller's transaction.

    Shipped prices never replace an imported one, nor stand beside it where one would shadow the other. Raises Overlap
    when an imported price would.
    """
    known = _lock_and_read(connection)
    if not imported:
        fixed = [price for price, by_operator in known.items() if by_operator]
        prices = _beside(fixed, prices)
    recorded = compare(known, prices, lambda price: price[:METER])
    if imported:
        after = {price[:METER]: price for price in (*known, *recorded.written)}
        written = set(recorded.written)
        pair = next((pair for pair in shadowing(after.values()) if written & set(pair)), None)
        if pair:
            advice = "the same context windows on the same day: all, those of the API, or both halves of a band"
            raise Overlap("are for the same tokens on the same day", advice, *pair)
    supersede(connection, list_prices, ListPrice._fields[:METER], recorded, {"imported": imported})
    return recorded


def withdraw_prices(
    connection: sa.Connection, chosen: Callable[[ListPrice], bool]
) -> tuple[list[ListPrice], list[ListPrice]]:
    """Close the imported prices that are chosen; what was closed, and the shipped prices that hold from then on."""
    known = _lock_and_read(connection)
    closed = sorted(price for price, by_operator in known.items() if by_operator and chosen(price))
    if not closed:
        return [], []
    left = {price: by_operator for price, by_operator in known.items() if price not in set(closed)}
    fixed = [price for price, by_operator in left.items() if by_operator]
    back = compare(left, _beside(fixed, shipped_prices()), lambda price: price[:METER])
    supersede(connection, list_prices, ListPrice._fields[:METER], back, {"imported": False}, closed)
    return closed, back.written


def _lock_and_read(connection: sa.Connection) -> dict[ListPrice, bool]:
    """The prices in force, each with whether the operator imported it; nobody else records any until the end."""
    connection.execute(sa.text("select pg_advisory_xact_lock(hashtext('list_prices'))"))
    query = sa.select(*_COLUMNS, list_prices.c.imported).where(in_force(list_prices, None))
    return {ListPrice(*row[:-1]): row.imported for row in connection.execute(query)}


def _beside(fixed: list[ListPrice], prices: Iterable[ListPrice]) -> list[ListPrice]:
    """The shipped prices that neither replace nor shadow one that the operator imported."""
    taken = {price[:METER] for price in fixed}
    free = [price for price in prices if price[:METER] not in taken]
    own = set(fixed)
    shadowed = {price for pair in shadowing([*fixed, *free]) if own & set(pair) for price in pair}
    return [price for price in free if price not in shadowed]
