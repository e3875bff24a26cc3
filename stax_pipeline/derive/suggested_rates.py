"""Contract rates that price accuracy speaks for: where bills lie below list price by one and the same share, every day.

Evidence is a row of `reconciliation` (token dollars of a day, model and tier) that has a price, a bill of a dollar or
more and no recorded rate. A price that steps where the report cannot see is evidence only where its bounds agree;
elsewhere it can object, but not speak. The row proposed is the widest that no evidence objects to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from stax_pipeline.derive.reconciliation import Cause, Reconciliation
from stax_pipeline.derive.usage_lines import TOKEN_TYPES
from stax_pipeline.domain.money import EXACT, ratio, round_usd, sum_usd
from stax_pipeline.pricing.contract_rates import ANY, ContractRate, ContractRates
from stax_pipeline.pricing.prices import Usage

LEAST_DAYS = 5
LEAST_USD = Decimal(1)
LEAST_DISCOUNT = Decimal("0.005")
TOLERANCE = Decimal("0.002")  # how far a discount may lie from the overall one: 0.2 percentage points
STEP = Decimal("0.001")  # contracts are made in tenths of a percent
NO_EVIDENCE = frozenset(  # a gap with another proven cause
    {
        Cause.UNKNOWN_PRICE, Cause.NOT_ARRIVED, Cause.UNBILLED, Cause.BILLED_AT_ZERO, Cause.OTHER_MODEL,
        Cause.FAST_MODE,
    }
)  # fmt: skip
CLAUDE = "claude-"


class Evidence(NamedTuple):
    """One row's list and reported USD, and the discounts it implies at the lower and the upper list price."""

    day: date
    model: str
    tier: str
    list_usd: Decimal
    reported_usd: Decimal
    low: Decimal
    high: Decimal

    @property
    def settled(self) -> bool:
        return self.high - self.low <= TOLERANCE


@dataclass(frozen=True)
class Suggestion:
    """A rate and what speaks for it: `days` with evidence from the rate's first day to `last`, USD, list ÷ reported."""

    rate: ContractRate
    days: int
    last: date
    models: tuple[str, ...]
    tiers: tuple[str, ...]
    list_usd: Decimal
    reported_usd: Decimal
    lowest_ratio: Decimal
    highest_ratio: Decimal


@dataclass(frozen=True)
class Contradiction:
    """A recorded rate that the bills steadily do not follow: they lie `billed`, a share, below list (above: negative).

    `models` and `tiers` are those whose bills say so, on `days` days from `first` to `last`; USD at list and reported.
    """

    rate: ContractRate
    billed: Decimal
    days: int
    first: date
    last: date
    models: tuple[str, ...]
    tiers: tuple[str, ...]
    list_usd: Decimal
    reported_usd: Decimal


def contradicted(rows: Iterable[Reconciliation], recorded: ContractRates) -> list[Contradiction]:
    """Recorded discounts on every token type that the newest bills contradict by a steady other share.

    As a whole if all that a rate holds for is billed alike, else by model and tier.
    """
    by_rate: dict[ContractRate, list[Evidence]] = defaultdict(list)
    for one in filter(None, map(_evidence, rows)):
        rate = recorded.rate_for(Usage(one.day, one.model, next(iter(TOKEN_TYPES)), one.tier, "", "", ""))
        if rate and rate.token_type == ANY and rate.discount is not None:
            by_rate[rate].append(one)
    return [found for rate in recorded.rates for found in _contradictions(rate, by_rate[rate])]


def _contradictions(rate: ContractRate, evidence: list[Evidence]) -> Iterator[Contradiction]:
    cells: dict[tuple[str, str], list[Evidence]] = defaultdict(list)
    for one in evidence:
        cells[one.model, one.tier].append(one)
    whole = _steady_run(evidence)
    for run in [whole] if whole else [_steady_run(cells[cell]) for cell in sorted(cells)]:
        found = run and _suggestion(rate.model_pattern, rate.service_tier, run)
        if not found or found.rate.discount is None or rate.discount is None:
            continue
        if abs(found.rate.discount - rate.discount) >= LEAST_DISCOUNT:
            yield Contradiction(
                rate, found.rate.discount, found.days, found.rate.effective_from, found.last, found.models,
                found.tiers, found.list_usd, found.reported_usd,
            )  # fmt: skip


def suggest(rows: Iterable[Reconciliation], recorded: ContractRates) -> list[Suggestion]:
    """Rates for one tenant that overlap neither each other nor a recorded one: for all models and tiers if they are
    alike, else by tier, by model, or by model and tier.
    """
    cells: dict[tuple[str, str], list[Evidence]] = defaultdict(list)
    for one in filter(None, map(_evidence, rows)):
        if not _is_covered(one, recorded):
            cells[one.model, one.tier].append(one)
    made: list[Suggestion] = []
    settled: set[tuple[str, str]] = set()
    for by_model, by_tier in ((False, False), (False, True), (True, False), (True, True)):
        for (pattern, tier), members in _groups(sorted(cells), by_model, by_tier).items():
            run = None if settled & set(members) else _steady_run([one for cell in members for one in cells[cell]])
            found = run and _suggestion(pattern, tier, run)
            if not found or _is_taken(found.rate, recorded, made):
                continue
            settled |= set(members)
            if found.rate.discount is not None and found.rate.discount >= LEAST_DISCOUNT:
                made.append(found)
    return made


def _groups(
    cells: Iterable[tuple[str, str]], by_model: bool, by_tier: bool
) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Models and tiers by the pattern and tier of the rate that would hold for them."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for model, tier in cells:
        groups[model if by_model else f"{CLAUDE}{ANY}", tier if by_tier else ANY].append((model, tier))
    return groups


def _evidence(row: Reconciliation) -> Evidence | None:
    low, high = row.list_priced_usd, row.priced_high_usd
    if low is None or high is None or row.cause in NO_EVIDENCE or not row.model.startswith(CLAUDE):
        return None
    if min(low, high, row.reported_usd) < LEAST_USD:
        return None
    return Evidence(
        row.usage_date, row.model, row.service_tier, low, row.reported_usd,
        _discount(low, row.reported_usd), _discount(high, row.reported_usd),
    )  # fmt: skip


def _discount(listed: Decimal, reported: Decimal) -> Decimal:
    return round_usd(EXACT.subtract(Decimal(1), EXACT.divide(reported, listed)))


def _is_covered(one: Evidence, recorded: ContractRates) -> bool:
    return any(
        rate.holds_for(Usage(one.day, one.model, token_type, one.tier, "", "", ""))
        for rate in recorded.rates
        for token_type in TOKEN_TYPES
    )


def _is_taken(rate: ContractRate, recorded: ContractRates, made: list[Suggestion]) -> bool:
    return any(rate.overlaps(other) for other in (*recorded.rates, *(one.rate for one in made)))


def _steady_run(rows: list[Evidence]) -> list[Evidence] | None:
    """The evidence of the last days whose rows all imply one discount; None where it is of too few days."""
    by_day: dict[date, list[Evidence]] = defaultdict(list)
    for one in rows:
        by_day[one.day].append(one)
    run: list[Evidence] = []
    for day in sorted(by_day, reverse=True):
        longer = [*run, *by_day[day]]
        if not _is_steady(longer):
            break
        run = longer
    return run if len({one.day for one in run if one.settled}) >= LEAST_DAYS else None


def _is_steady(rows: list[Evidence]) -> bool:
    settled = [one for one in rows if one.settled]
    if not settled:
        return True
    overall = _overall(settled)
    return all(one.low - TOLERANCE <= overall <= one.high + TOLERANCE for one in rows)


def _overall(rows: list[Evidence]) -> Decimal:
    return _discount(sum_usd(one.list_usd for one in rows), sum_usd(one.reported_usd for one in rows))


def _suggestion(pattern: str, tier: str, run: list[Evidence]) -> Suggestion:
    rows = [one for one in run if one.settled]
    by_day: dict[date, list[Evidence]] = defaultdict(list)
    for one in rows:
        by_day[one.day].append(one)
    daily = [_overall(of_day) for of_day in by_day.values()]
    overall = _overall(rows)
    rounded = overall.quantize(STEP)
    discount = rounded if min(daily) <= rounded <= max(daily) else overall.quantize(Decimal("0.000001"))
    listed, reported = sum_usd(one.list_usd for one in rows), sum_usd(one.reported_usd for one in rows)
    ratios = [found for share in daily if (found := ratio(Decimal(1), 1 - share)) is not None]
    return Suggestion(
        rate=ContractRate(pattern, tier, ANY, min(by_day), None, discount.normalize(EXACT), None),
        days=len(by_day),
        last=max(by_day),
        models=tuple(sorted({one.model for one in rows})),
        tiers=tuple(sorted({one.tier for one in rows})),
        list_usd=listed,
        reported_usd=reported,
        lowest_ratio=min(ratios),
        highest_ratio=max(ratios),
    )
