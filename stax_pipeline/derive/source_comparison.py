"""The two sources beside each other: dollars and tokens by the key on which cost and usage meet.

Belongs here: one tenant's rows of `source_comparison`. Stays out: which days may be compared, which is
`pipeline.publish_comparison`'s.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from stax_pipeline.derive.analytics_rows import list_usd
from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.join import join_key, tokens
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.domain.money import ZERO, sum_usd

COUNTED = frozenset({"tokens", "web_search"})  # cost types with a quantity in the usage of either source


class ComparisonKey(NamedTuple):
    """What is compared. Aliases of models are dated ids, `global` stands for unknown geography too.

    What is not sold by token is compared by workspace alone: the reports tell no more.
    """

    usage_date: date
    workspace_id: str
    model: str
    cost_type: str
    token_type: str = ""
    service_tier: str = ""
    context_window: str = ""
    inference_geo: str = ""


class Compared(NamedTuple):
    """A row of `source_comparison`. USD; None where a side was not compared or has nothing to count."""

    usage_date: date
    workspace_id: str
    model: str
    cost_type: str
    token_type: str
    service_tier: str
    context_window: str
    inference_geo: str
    reports_usd: Decimal | None
    analytics_usd: Decimal | None
    analytics_set_aside_usd: Decimal
    analytics_list_usd: Decimal
    reports_quantity: int | None
    analytics_quantity: int | None


@dataclass(frozen=True, slots=True)
class Side:
    """What one source says. `set_aside` are dollars of the newer source that no cost line holds."""

    costs: list[CostLine]
    usage: list[UsageLine]
    set_aside: list[CostLine] = field(default_factory=list)


def compare(reports: Side, analytics: Side) -> list[Compared]:
    """Every key that either source knows, in a stable order; what one of them does not have is zero there."""
    left, right, apart = dollars(reports.costs), dollars(analytics.costs), dollars(analytics.set_aside)
    listed = list_dollars([*analytics.costs, *analytics.set_aside])
    left_counts, right_counts = quantities(reports.usage), quantities(analytics.usage)
    return [
        Compared(
            *key,
            left.get(key, ZERO),
            right.get(key, ZERO),
            apart.get(key, ZERO),
            listed.get(key, ZERO),
            left_counts.get(key, 0) if key.cost_type in COUNTED else None,
            right_counts.get(key, 0) if key.cost_type in COUNTED else None,
        )
        for key in sorted(left.keys() | right.keys() | apart.keys() | left_counts.keys() | right_counts.keys())
    ]


def set_aside_alone(lines: Iterable[CostLine]) -> list[Compared]:
    """The set-aside dollars where there is nothing to compare them with."""
    lines = list(lines)
    listed = list_dollars(lines)
    return [Compared(*key, None, None, usd, listed[key], None, None) for key, usd in sorted(dollars(lines).items())]


def dollars(lines: Iterable[CostLine]) -> dict[ComparisonKey, Decimal]:
    """USD by key."""
    return _summed((_cost_key(line), line.amount_usd) for line in lines)


def list_dollars(lines: Iterable[CostLine]) -> dict[ComparisonKey, Decimal]:
    """USD before discounts by key; lines of the newer source carry it in their extras."""
    return _summed((_cost_key(line), list_usd(json.loads(line.extras))) for line in lines)


def quantities(usage: Iterable[UsageLine]) -> dict[ComparisonKey, int]:
    """Tokens, and web searches, by key."""
    usage = list(usage)
    found: dict[ComparisonKey, int] = defaultdict(int)
    for key, part in tokens(usage):
        found[
            ComparisonKey(
                key.usage_date, key.workspace_id, key.model, "tokens", key.token_type, key.service_tier,
                key.context_window, key.inference_geo,
            )
        ] += part.number  # fmt: skip
    for line in usage:
        if line.web_search_requests:
            found[ComparisonKey(line.usage_date, line.workspace_id, "", "web_search")] += line.web_search_requests
    return found


def _summed(parts: Iterable[tuple[ComparisonKey, Decimal]]) -> dict[ComparisonKey, Decimal]:
    found: dict[ComparisonKey, list[Decimal]] = defaultdict(list)
    for key, usd in parts:
        found[key].append(usd)
    return {key: sum_usd(amounts) for key, amounts in found.items()}


def _cost_key(line: CostLine) -> ComparisonKey:
    if line.cost_type != "tokens":
        return ComparisonKey(line.usage_date, line.workspace_id, "", line.cost_type)
    key = join_key(line, line.token_type)
    return ComparisonKey(
        key.usage_date, key.workspace_id, key.model, "tokens", key.token_type, key.service_tier, key.context_window,
        key.inference_geo,
    )  # fmt: skip
