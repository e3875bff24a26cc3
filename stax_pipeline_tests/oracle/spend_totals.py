"""Spend added up line by line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from stax_pipeline.derive.spend import CostSource, SpendLine
from stax_pipeline.derive.spend_totals import SpendDayTotal, SpendTotal
from stax_pipeline.domain.money import sum_usd


def spend_totals(lines: Iterable[SpendLine]) -> list[SpendTotal]:
    """One row for all lines of a day that agree in workspace, model, cost type, tier and cost source."""
    together: dict[tuple[object, ...], list[SpendLine]] = defaultdict(list)
    for line in lines:
        key = (
            line.usage_date, line.workspace_id, line.model, line.cost_type, line.service_tier, line.cost_source,
        )  # fmt: skip
        together[key].append(line)
    return [SpendTotal(*key, *_figures(own)) for key, own in together.items()]  # type: ignore[arg-type]


def spend_day_totals(lines: Iterable[SpendLine]) -> list[SpendDayTotal]:
    """One row for all lines of a day."""
    together: dict[date, list[SpendLine]] = defaultdict(list)
    for line in lines:
        together[line.usage_date].append(line)
    return [_day_total(day, own) for day, own in together.items()]


def _day_total(day: date, lines: list[SpendLine]) -> SpendDayTotal:
    def usd(source: CostSource) -> Decimal:
        return sum_usd(line.cost_usd or Decimal(0) for line in lines if line.cost_source == source)

    counted = [line for line in lines if line.unit == "tokens" and line.quantity]
    return SpendDayTotal(
        day,
        sum(line.quantity or 0 for line in counted),
        sum(line.quantity or 0 for line in counted if line.cost_source == CostSource.UNPRICED),
        usd(CostSource.REPORTED),
        sum_usd(line.credits_usd for line in lines),
        usd(CostSource.PRIORITY_RECONSTRUCTED),
        usd(CostSource.USAGE_ESTIMATED),
        sum_usd(line.effective_cost_usd or Decimal(0) for line in lines if line.commitment_id),
    )


def _figures(lines: list[SpendLine]) -> tuple[object, ...]:
    tokens = [line.quantity for line in lines if line.unit == "tokens" and line.quantity is not None]
    return (
        sum(tokens) if tokens else None,
        _known(line.cost_usd for line in lines),
        sum_usd(line.credits_usd for line in lines),
        _known(line.effective_cost_usd for line in lines),
        _known(line.list_cost_usd for line in lines),
        _known(line.effective_cost_usd for line in lines if line.commitment_id) or Decimal(0),
    )


def _known(figures: Iterable[Decimal | None]) -> Decimal | None:
    known = [figure for figure in figures if figure is not None]
    return sum_usd(known) if known else None
