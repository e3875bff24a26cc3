"""What must not be published, or not go unsaid: changed units, cost that is not grouped, a settled day that shrinks,
tokens without a cost.

Pure rules over one tenant's window.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from stax_pipeline.anthropic.fields import DEFAULT_WORKSPACE
from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.guards import UNIT_TOO_HIGH, UNIT_TOO_LOW, unit_mismatch
from stax_pipeline.derive.reconciliation import Reconciliation
from stax_pipeline.derive.spend import METERED_TIERS
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.domain.money import multiply, sum_usd
from stax_pipeline.domain.next_step import UNIT_MISMATCH
from stax_pipeline.domain.time import is_old_enough_to_settle
from stax_pipeline_tests.oracle.reconciliation import reconcile


def unit_fault(costs: Iterable[CostLine], usage: Iterable[UsageLine], terms: Terms) -> str | None:
    """The unit guard over a tenant's window: a reason not to publish, or None. Needs priced and billed tokens both."""
    charges = (line for line in costs if line.amount_usd > 0)
    rows = [row for row in reconcile(charges, usage, terms, frozenset()) if row.priced_usd and row.reported_usd]
    priced = sum_usd(row.priced_usd for row in rows if row.priced_usd)
    reported = sum_usd(row.reported_usd for row in rows)
    if not unit_mismatch(priced, reported) or not _is_everywhere(rows, high=priced > reported):
        return None
    return f"{UNIT_MISMATCH}: tokens × price say ${priced:.2f}, the cost report says ${reported:.2f}"


def _is_everywhere(rows: Sequence[Reconciliation], *, high: bool) -> bool:
    """Whether most dollars are off to that side: a unit changes for all of them, tokens lack their cost one by one."""
    off = [
        row.reported_usd
        for row in rows
        if row.ratio is not None and (row.ratio >= UNIT_TOO_HIGH if high else row.ratio <= UNIT_TOO_LOW)
    ]
    return multiply(sum_usd(off), 2) > sum_usd(row.reported_usd for row in rows)


def grouping_fault(costs: Iterable[CostLine], usage: Iterable[UsageLine], settled: frozenset[date]) -> str | None:
    """A reason not to publish cost that is not grouped as asked: the same tokens would be reported and estimated.

    Charges alone prove it; a credit is of no model and no workspace. Priority use proves nothing: it has no cost.
    """
    charges = [line for line in costs if line.amount_usd > 0]
    metered = [line for line in usage if _is_metered(line)]
    return _dimension_fault(charges, {line.usage_date for line in metered}) or _workspace_fault(
        charges, (line for line in metered if line.usage_date in settled)
    )


def _dimension_fault(charges: Iterable[CostLine], used: Collection[date]) -> str | None:
    """A day with standard or batch tokens whose token charges name no model, or no token type."""
    by_day: dict[date, list[CostLine]] = defaultdict(list)
    for line in charges:
        if line.cost_type == "tokens" and line.usage_date in used:
            by_day[line.usage_date].append(line)
    for day, lines in sorted(by_day.items()):
        for name in ("model", "token_type"):
            if not any(getattr(line, name) for line in lines):
                return (
                    f"the cost report is not grouped as asked: no token charge of {day} names a "
                    f"{name.replace('_', ' ')}, and standard or batch tokens were used"
                )
    return None


def _workspace_fault(charges: Sequence[CostLine], metered: Iterable[UsageLine]) -> str | None:
    """Charges that name no workspace at all, though tokens that are billed were used in one."""
    if not charges or any(line.workspace_id != DEFAULT_WORKSPACE for line in charges):
        return None
    elsewhere = [
        (line.usage_date, line.workspace_id) for line in metered if line.workspace_id not in ("", DEFAULT_WORKSPACE)
    ]
    if not elsewhere:
        return None
    day, workspace_id = min(elsewhere)
    return (
        "the cost report is not grouped by workspace as asked: no row names one, and on "
        f"{day} standard or batch tokens were used in {workspace_id}"
    )


def shrunk_days(
    before: Mapping[date, Decimal], after: Mapping[date, Decimal], settled: frozenset[date]
) -> list[date]:  # fmt: skip
    """Settled days that had rows and now have none, or lose more than half of their charges or tokens."""
    return sorted(
        day
        for day, old in before.items()
        if day in settled and (day not in after or (old > 0 and multiply(after[day], 2) < old))
    )


def settled_days(
    extracted: Mapping[date, datetime],
    costs: Iterable[CostLine],
    usage: Iterable[UsageLine],
    settle: timedelta,
) -> frozenset[date]:
    """Days whose missing costs may be read as zero.

    `extracted` gives, by usage date, the moment of the current cost extraction. A day that has standard or batch tokens
    and no cost line but credits is not settled, however old: the cost may simply be missing.
    """
    return _old_enough(extracted, settle) - _without_cost(costs, usage)


def days_without_cost(
    extracted: Mapping[date, datetime],
    costs: Iterable[CostLine],
    usage: Iterable[UsageLine],
    settle: timedelta,
) -> list[date]:
    """Days old enough to settle that have standard or batch tokens and no cost line but credits, in order."""
    return sorted(_old_enough(extracted, settle) & _without_cost(costs, usage))


def _old_enough(extracted: Mapping[date, datetime], settle: timedelta) -> frozenset[date]:
    return frozenset(day for day, moment in extracted.items() if is_old_enough_to_settle(day, moment, settle))


def _without_cost(costs: Iterable[CostLine], usage: Iterable[UsageLine]) -> frozenset[date]:
    with_cost = {line.usage_date for line in costs if line.amount_usd >= 0}
    return frozenset(line.usage_date for line in usage if line.usage_date not in with_cost and _is_metered(line))


def _is_metered(line: UsageLine) -> bool:
    """Whether the line's tokens belong on the cost report."""
    return (line.service_tier or "standard") in METERED_TIERS and any(line.counts[:5])
