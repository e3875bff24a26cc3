"""What changed after the fact: a past day's figures before and after, line by line. Pure comparison; nothing is stored.

A day that was still open, or whose cost had not arrived, has nothing to restate: its figures were not there yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, TypeVar

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.restatement import Key, Later, Repricing, Restatement, RestatementKind
from stax_pipeline.derive.spend import SpendLine
from stax_pipeline.derive.usage_lines import TOKEN_TYPES, UsageLine
from stax_pipeline.domain.money import EXACT

T = TypeVar("T")


def restated_cost(old: Iterable[CostLine], new: Iterable[CostLine], later: Later) -> list[Restatement]:
    """Reported dollars that changed on the days of `later.before`."""
    before, after = _dollars(old), _dollars(new)
    return [
        _restatement(key, later, _why(before, after, key), old_usd=before.get(key), new_usd=after.get(key, Decimal(0)))
        for key in _changed(before, after, later)
    ]


def restated_usage(old: Iterable[UsageLine], new: Iterable[UsageLine], later: Later) -> list[Restatement]:
    """Counts of tokens and web searches that changed on the days of `later.before`."""
    before, after = _counts(old), _counts(new)
    return [
        _restatement(key, later, _why(before, after, key), old_quantity=before.get(key), new_quantity=after.get(key, 0))
        for key in _changed(before, after, later)
    ]


def _changed(before: Mapping[Key, T], after: Mapping[Key, T], later: Later) -> list[Key]:
    return sorted(
        key
        for key in before.keys() | after.keys()
        if key.usage_date in later.before and (before.get(key) or 0) != (after.get(key) or 0)
    )


def _why(before: Mapping[Key, T], after: Mapping[Key, T], key: Key) -> str:
    what = "appeared" if key not in before else "vanished" if key not in after else "changed"
    return f"{what} at a later extraction"


def _restatement(
    key: Key, later: Later, reason: str, *, old_usd: Decimal | None = None, new_usd: Decimal | None = None,
    old_quantity: int | None = None, new_quantity: int | None = None,
) -> Restatement:  # fmt: skip
    return Restatement(
        *key, later.recorded_at, old_usd, new_usd, old_quantity, new_quantity, reason,
        later.before[key.usage_date], later.extraction_id,
    )  # fmt: skip


def _dollars(lines: Iterable[CostLine]) -> dict[Key, Decimal]:
    sums: dict[Key, Decimal] = defaultdict(Decimal)
    for line in lines:
        key = Key(
            line.usage_date, RestatementKind.COST, line.workspace_id, line.description, line.cost_type, line.token_type,
            line.model, line.service_tier, line.context_window, line.inference_geo, "",
        )  # fmt: skip
        sums[key] = EXACT.add(sums[key], line.amount_usd)
    return sums


def _counts(lines: Iterable[UsageLine]) -> dict[Key, int]:
    sums: dict[Key, int] = defaultdict(int)
    for line in lines:
        for cost_type, token_type, count in _meters(line):
            key = Key(
                line.usage_date, RestatementKind.USAGE, line.workspace_id, "", cost_type, token_type, line.model,
                line.service_tier, line.context_window, line.inference_geo, line.speed,
            )  # fmt: skip
            sums[key] += count
    return sums


def _meters(line: UsageLine) -> Iterator[tuple[str, str, int]]:
    for token_type, column in TOKEN_TYPES.items():
        if count := getattr(line, column):
            yield "tokens", token_type, count
    if line.web_search_requests:
        yield "web_search", "", line.web_search_requests


def restated_prices(old: Iterable[SpendLine], new: Iterable[SpendLine], change: Repricing) -> list[Restatement]:
    """Dollars of the same usage and cost before and after new prices, rates or commitments."""
    why = f"under {change.words}, {change.old_version} → {change.new_version}"
    return _restated_figures(old, new, RestatementKind.PRICE, change.recorded_at, why)


def restated_dollars(old: Iterable[SpendLine], new: Iterable[SpendLine], recorded_at: datetime) -> list[Restatement]:
    """Dollars at the same prices and of the same cost before and after the usage changed."""
    return _restated_figures(
        old, new, RestatementKind.USAGE_DOLLARS, recorded_at, "of usage that changed at a later extraction"
    )


def _restated_figures(
    old: Iterable[SpendLine], new: Iterable[SpendLine], kind: RestatementKind, recorded_at: datetime, why: str
) -> list[Restatement]:
    """Each figure of `spend` that moved is told by itself, so that the differences of one figure sum to its change;
    figures are never added to each other.
    """
    before, after = _by_key(old), _by_key(new)
    found = []
    for key in sorted(before.keys() | after.keys()):
        then, now = before.get(key, _NOTHING), after.get(key, _GONE)
        for figure in _FIGURES:
            if _moved(then, now, figure):
                found.append(
                    Restatement(
                        *key._replace(kind=kind, description=figure), recorded_at,
                        getattr(then, figure), getattr(now, figure), then.quantity, now.quantity,
                        f"{figure} {why}", None, None,
                    )
                )  # fmt: skip
    return found


class _Figures(NamedTuple):
    cost_usd: Decimal | None
    contracted_cost_usd: Decimal | None
    effective_cost_usd: Decimal | None
    quantity: int | None


_FIGURES = ("cost_usd", "contracted_cost_usd", "effective_cost_usd")
_NOTHING = _Figures(None, None, None, None)
_GONE = _Figures(Decimal(0), Decimal(0), Decimal(0), 0)


def _moved(then: _Figures, now: _Figures, figure: str) -> bool:
    """A line that comes or goes moved only what it held; one that stays also when a first price makes 0 of NULL."""
    was, becomes = getattr(then, figure), getattr(now, figure)
    return (was or 0) != (becomes or 0) if then is _NOTHING or now is _GONE else was != becomes


def _by_key(lines: Iterable[SpendLine]) -> dict[Key, _Figures]:
    found: dict[Key, _Figures] = {}
    for line in lines:
        key = Key(
            line.usage_date, RestatementKind.PRICE, line.workspace_id, "", line.cost_type, line.token_type, line.model,
            line.service_tier, line.context_window, line.inference_geo, line.speed,
        )  # fmt: skip
        figures = _Figures(line.cost_usd, line.contracted_cost_usd, line.effective_cost_usd, line.quantity)
        found[key] = _added(found[key], figures) if key in found else figures
    return found


def _added(one: _Figures, other: _Figures) -> _Figures:
    return _Figures(
        _sum(one.cost_usd, other.cost_usd),
        _sum(one.contracted_cost_usd, other.contracted_cost_usd),
        _sum(one.effective_cost_usd, other.effective_cost_usd),
        one.quantity if other.quantity is None else other.quantity + (one.quantity or 0),
    )


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return other if one is None else one if other is None else EXACT.add(one, other)
