"""What changed after the fact: a past day's figures before and after, line by line. Pure comparison; nothing is stored.

A day that was still open, or whose cost had not arrived, has nothing to restate: its figures were not there yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import pyarrow as pa

from stax_pipeline.derive.engine import Engine
from stax_pipeline.derive.price_lists import usd
from stax_pipeline.derive.schemas import schema_of, table_of_rows


class RestatementKind(StrEnum):
    COST = "cost"
    USAGE = "usage"
    PRICE = "price"
    USAGE_DOLLARS = "usage-dollars"


class Key(NamedTuple):
    """What one restatement is about; equal rows are summed under it.

    Of dollars under new prices or of other usage `description` names the measure of `spend` that changed.
    """

    usage_date: date
    kind: RestatementKind
    workspace_id: str
    description: str
    cost_type: str
    token_type: str
    model: str
    service_tier: str
    context_window: str
    inference_geo: str
    speed: str


class Restatement(NamedTuple):
    """One changed figure: USD for cost and price, tokens or searches for usage; None where there was no line."""

    usage_date: date
    kind: RestatementKind
    workspace_id: str
    description: str
    cost_type: str
    token_type: str
    model: str
    service_tier: str
    context_window: str
    inference_geo: str
    speed: str
    seen_at: datetime
    old_usd: Decimal | None
    new_usd: Decimal | None
    old_quantity: int | None
    new_quantity: int | None
    reason: str
    old_extraction_id: UUID | None
    new_extraction_id: UUID | None


class Later(NamedTuple):
    """The extraction that changed things, when it was recorded, and by day the one that was current before."""

    extraction_id: UUID
    recorded_at: datetime
    before: Mapping[date, UUID]


def _restatement(
    key: Key, later: Later, reason: str, *, old_usd: Decimal | None = None, new_usd: Decimal | None = None,
    old_quantity: int | None = None, new_quantity: int | None = None,
) -> Restatement:  # fmt: skip
    return Restatement(
        *key, later.recorded_at, old_usd, new_usd, old_quantity, new_quantity, reason,
        later.before[key.usage_date], later.extraction_id,
    )  # fmt: skip


class Repricing(NamedTuple):
    """A change of prices, rates or commitments: when spend was built by it, and the versions before and after."""

    recorded_at: datetime
    old_version: str
    new_version: str

    @property
    def words(self) -> str:
        """What is new: a version is the book's, with that of rates and commitments behind a plus."""
        old, new = (version.partition("+") for version in (self.old_version, self.new_version))
        changed = ["list prices"] * (old[0] != new[0]) + ["rates or commitments"] * (old[2] != new[2])
        return f"new {' and '.join(changed)}"


class _Figures(NamedTuple):
    cost_usd: Decimal | None
    contracted_cost_usd: Decimal | None
    effective_cost_usd: Decimal | None
    quantity: int | None


_MEASURES = ("cost_usd", "contracted_cost_usd", "effective_cost_usd")
_NOTHING = _Figures(None, None, None, None)
_GONE = _Figures(Decimal(0), Decimal(0), Decimal(0), 0)


def _moved(then: _Figures, now: _Figures, measure: str) -> bool:
    """A line that comes or goes moved only what it held; one that stays also when a first price makes 0 of NULL."""
    was, becomes = getattr(then, measure), getattr(now, measure)
    return (was or 0) != (becomes or 0) if then is _NOTHING or now is _GONE else was != becomes


def cost_restatements(
    engine: Engine, old: pa.Table, new: pa.Table, later: Mapping[str, Later]
) -> dict[str, list[Restatement]]:
    """Reported dollars that changed, by `tenant_id`.

    Args:
        old, new: COST_LINES of several tenants, as they were and as they become.
        later: by `tenant_id`; only days of `before` have something to restate.
    """
    found: dict[str, list[Restatement]] = defaultdict(list)
    for tenant_id, was, becomes, key in _changes(engine, "cost_changes", old, new, later, RestatementKind.COST):
        then, now = (None if figure is None else usd(figure) for figure in (was, becomes))
        found[tenant_id].append(_restatement(
            key, later[tenant_id], _reason(was, becomes), old_usd=then, new_usd=Decimal(0) if now is None else now,
        ))  # fmt: skip
    return dict(found)


def usage_restatements(
    engine: Engine, old: pa.Table, new: pa.Table, later: Mapping[str, Later]
) -> dict[str, list[Restatement]]:
    """Counts of tokens and web searches that changed, by `tenant_id`; as `cost_restatements`, of USAGE_LINES."""
    found: dict[str, list[Restatement]] = defaultdict(list)
    for tenant_id, was, becomes, key in _changes(engine, "usage_changes", old, new, later, RestatementKind.USAGE):
        why = _reason(was, becomes)
        found[tenant_id].append(
            _restatement(key, later[tenant_id], why, old_quantity=was, new_quantity=becomes or 0)
        )  # fmt: skip
    return dict(found)


def price_restatements(
    engine: Engine, old: pa.Table, new: pa.Table, changes: Mapping[str, Mapping[date, Repricing]]
) -> dict[str, list[Restatement]]:
    """Dollars of the same usage and cost before and after new prices, rates or commitments, by `tenant_id`.

    Args:
        old, new: SPEND of several tenants.
        changes: by `tenant_id` and day; days without one restate nothing.
    """
    told = {
        (tenant_id, day): (change.recorded_at, f"under {change.words}, {change.old_version} → {change.new_version}")
        for tenant_id, days in changes.items()
        for day, change in days.items()
    }
    return _figure_restatements(engine, old, new, RestatementKind.PRICE, told)


def dollar_restatements(
    engine: Engine, old: pa.Table, new: pa.Table, recorded_at: Mapping[str, Mapping[date, datetime]]
) -> dict[str, list[Restatement]]:
    """Dollars at the same prices and of the same cost before and after the usage changed, by `tenant_id`; as
    `price_restatements`, with the instant (UTC) of each day's change.
    """
    told = {
        (tenant_id, day): (moment, "of usage that changed at a later extraction")
        for tenant_id, days in recorded_at.items()
        for day, moment in days.items()
    }
    return _figure_restatements(engine, old, new, RestatementKind.USAGE_DOLLARS, told)


_DIMENSIONS = ", ".join(Key._fields[4:])


def _changes(
    engine: Engine, rule: str, old: pa.Table, new: pa.Table, later: Mapping[str, Later], kind: RestatementKind
) -> Iterator[tuple[str, int | None, int | None, Key]]:
    """By tenant and key the figure before and after, None where there was no line."""
    days = [(tenant_id, day) for tenant_id, one in later.items() for day in one.before]
    query = (
        f"select tenant_id, was, becomes, usage_date, workspace_id, description, {_DIMENSIONS} from changes "  # noqa: S608
        f"order by tenant_id, usage_date, workspace_id, description, {_DIMENSIONS}"
    )
    for tenant_id, was, becomes, day, workspace_id, description, *rest in _changed_rows(
        engine, rule, old, new, days, query
    ):
        yield tenant_id, was, becomes, Key(day, kind, workspace_id, description, *rest)


def _changed_rows(
    engine: Engine, rule: str, old: pa.Table, new: pa.Table, days: Iterable[tuple[str, date]], query: str
) -> list[tuple[Any, ...]]:
    with engine.session() as session:
        session.give("old", old)
        session.give("new", new)
        session.give("days", table_of_rows(_DAYS, list(days)))
        session.run(rule)
        return session.rows(query)


_DAYS = schema_of(tenant_id=pa.string(), usage_date=pa.date32())


def _reason(was: int | None, becomes: int | None) -> str:
    what = "appeared" if was is None else "vanished" if becomes is None else "changed"
    return f"{what} at a later extraction"


def _figure_restatements(
    engine: Engine, old: pa.Table, new: pa.Table, kind: RestatementKind,
    told: Mapping[tuple[str, date], tuple[datetime, str]],
) -> dict[str, list[Restatement]]:  # fmt: skip
    """Each figure of `spend` that moved is told by itself, so that the differences of one figure sum to its change;
    figures are never added to each other.
    """
    query = (
        "select was, stays, old_cost, old_contracted, old_effective, old_quantity, new_cost, new_contracted, "  # noqa: S608
        f"new_effective, new_quantity, tenant_id, usage_date, workspace_id, {_DIMENSIONS} from changes "
        f"order by tenant_id, usage_date, workspace_id, {_DIMENSIONS}"
    )
    found: dict[str, list[Restatement]] = defaultdict(list)
    for was, stays, *row in _changed_rows(engine, "figure_changes", old, new, told, query):
        then = _figures(*row[:4]) if was else _NOTHING
        now = _figures(*row[4:8]) if stays else _GONE
        tenant_id, day, *dimensions = row[8:]
        moment, why = told[tenant_id, day]
        for measure in _MEASURES:
            if _moved(then, now, measure):
                key = Key(day, kind, dimensions[0], measure, *dimensions[1:])
                found[tenant_id].append(Restatement(
                    *key, moment, getattr(then, measure),
                    getattr(now, measure), then.quantity, now.quantity, f"{measure} {why}", None, None,
                ))  # fmt: skip
    return dict(found)


def _figures(cost: int | None, contracted: int | None, effective: int | None, quantity: int | None) -> _Figures:
    cost_usd, contracted_usd, effective_usd = (
        None if figure is None else usd(figure) for figure in (cost, contracted, effective)
    )
    return _Figures(cost_usd, contracted_usd, effective_usd, quantity)
