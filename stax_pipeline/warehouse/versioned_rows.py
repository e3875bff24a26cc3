"""Tables that are corrected by superseding: a replaced or withdrawn row stays, with the instant from which
it no longer held.

Instants come from the database's clock after the lock was taken, so that they order as the transactions do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import sqlalchemy as sa

Row = TypeVar("Row", bound=tuple[Any, ...])


class Replaced(NamedTuple, Generic[Row]):
    old: Row
    new: Row


class Recorded(NamedTuple, Generic[Row]):
    """What recording rows came to. `unchanged` rows stood there already, equal in every column."""

    added: list[Row]
    replaced: list[Replaced[Row]]
    unchanged: list[Row]

    @property
    def changed(self) -> int:
        """How many rows were written."""
        return len(self.added) + len(self.replaced)

    @property
    def written(self) -> list[Row]:
        return [*self.added, *(change.new for change in self.replaced)]


def in_force(table: sa.Table, at: datetime | None) -> sa.ColumnElement[bool]:
    """The rows in force now, or those that were at the instant `at`."""
    if at is None:
        return table.c.superseded_at.is_(None)
    return sa.and_(table.c.recorded_at <= at, sa.or_(table.c.superseded_at.is_(None), table.c.superseded_at > at))


def compare(known: Iterable[Row], rows: Iterable[Row], key: Callable[[Row], Any]) -> Recorded[Row]:
    """What `rows` add to, replace in and find in the rows that are known; each key stands once on either side."""
    standing = {key(row): row for row in known}
    recorded: Recorded[Row] = Recorded([], [], [])
    for row in rows:
        old = standing.get(key(row))
        if old is None:
            recorded.added.append(row)
        elif old == row:
            recorded.unchanged.append(row)
        else:
            recorded.replaced.append(Replaced(old, row))
    return recorded


def supersede(
    connection: sa.Connection,
    table: sa.Table,
    key: Sequence[str],
    recorded: Recorded[Row],
    also: Mapping[str, object],
    withdrawn: Sequence[Row] = (),
) -> None:
    """At one instant write what is new, and close what it replaces and what is withdrawn without a successor.

    `key` names the fields by which a row replaces another (of the same tenant), `also` are the columns that all rows
    share and no row holds; the caller holds the lock.
    """
    if not recorded.changed and not withdrawn:
        return
    now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    if closed := [*withdrawn, *(change.old for change in recorded.replaced)]:
        columns = [table.c[name] for name in key]
        olds = [tuple(_fields(row)[name] for name in key) for row in closed]
        owner = [table.c.tenant_id == also["tenant_id"]] if "tenant_id" in also else []
        connection.execute(
            table.update()
            .where(sa.tuple_(*columns).in_(olds), table.c.superseded_at.is_(None), *owner)
            .values(superseded_at=now)
        )
    if recorded.changed:
        connection.execute(table.insert(), [{**_fields(row), **also, "recorded_at": now} for row in recorded.written])


def _fields(row: Any) -> dict[str, object]:
    return dict(row._asdict())
