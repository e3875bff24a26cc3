"""Dollars per API key: spend lines split by the tokens each key used, tied to `spend` to the last digit.

The cost report knows no keys. The split is by the by-key query's own counts and the largest remainder, so that the
parts always sum to the whole; what the query cannot tell stays in one row of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from stax_pipeline.derive.spend import SpendLine
from stax_pipeline.derive.split_by_key import KeySpend
from stax_pipeline.derive.usage_lines import TOKEN_TYPES, KeyUsageLine
from stax_pipeline.domain.money import split, split_whole, sum_usd
from stax_pipeline.pricing.prices.book import dated_model

UNATTRIBUTED = "unattributed"


class _Pool(NamedTuple):
    """What spend and the by-key query have in common; web searches meet by day and workspace alone."""

    usage_date: date
    workspace_id: str
    model: str
    cost_type: str
    token_type: str
    service_tier: str


def spend_by_key(lines: Iterable[SpendLine], by_key: Iterable[KeyUsageLine]) -> list[KeySpend]:
    """All spend lines of the rest of the key, summed, then split over keys and accounts.

    A key's quantity is its own in the by-key query; where lines of several sources share it, it is split among them.
    """
    used = _quantities(by_key)
    pools: dict[_Pool, dict[str, list[SpendLine]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        pools[_pool(line)][line.cost_source].append(line)
    rows = [row for pool, sources in pools.items() for row in _divide_pool(pool, sources, used.get(pool, {}))]
    return sorted(rows, key=lambda row: row[:9])


def _divide_pool(
    pool: _Pool, sources: dict[str, list[SpendLine]], used: dict[tuple[str, str], int]
) -> Iterator[KeySpend]:
    held = {source: sum(line.quantity or 0 for line in members) for source, members in sources.items()}
    names = sorted(sources)
    weights = [held[name] for name in names] if sum(held.values()) else [1] * len(names)
    parts = {who: dict(zip(names, split_whole(number, weights), strict=True)) for who, number in used.items()}
    for name in names:
        yield from _divide(pool, name, sources[name], used, {who: part[name] for who, part in parts.items()})


def _pool(line: SpendLine) -> _Pool:
    tier = line.service_tier or ("standard" if line.cost_type == "tokens" else "")
    return _Pool(line.usage_date, line.workspace_id, dated_model(line.model), line.cost_type, line.token_type, tier)


def _quantities(by_key: Iterable[KeyUsageLine]) -> dict[_Pool, dict[tuple[str, str], int]]:
    used: dict[_Pool, dict[tuple[str, str], int]] = defaultdict(lambda: defaultdict(int))
    for line in by_key:
        who = line.api_key_id, line.account_id
        for token_type, column in TOKEN_TYPES.items():
            if count := getattr(line, column):
                tier = line.service_tier or "standard"
                pool = _Pool(
                    line.usage_date, line.workspace_id, dated_model(line.model), "tokens", token_type, tier
                )  # fmt: skip
                used[pool][who] += count
        if line.web_search_requests:
            pool = _Pool(line.usage_date, line.workspace_id, "", "web_search", "", "")
            used[pool][who] += line.web_search_requests
    return used


def _divide(
    pool: _Pool,
    source: str,
    members: list[SpendLine],
    used: dict[tuple[str, str], int],
    quantities: dict[tuple[str, str], int],
) -> list[KeySpend]:
    cost = _total(line.cost_usd for line in members)
    effective = _total(line.effective_cost_usd for line in members)
    if not used:
        known = [line.quantity for line in members if line.quantity is not None]
        return [_row(pool, source, (UNATTRIBUTED, ""), sum(known) if known else None, cost, effective)]
    people = sorted(used)
    weights = [used[who] for who in people]
    costs = [None] * len(people) if cost is None else split(cost, weights)
    effectives = [None] * len(people) if effective is None else split(effective, weights)
    return [
        _row(pool, source, who, quantities[who], share, effective_share)
        for who, share, effective_share in zip(people, costs, effectives, strict=True)
    ]


def _total(values: Iterable[Decimal | None]) -> Decimal | None:
    known = [value for value in values if value is not None]
    return sum_usd(known) if known else None


def _row(
    pool: _Pool,
    source: str,
    who: tuple[str, str],
    quantity: int | None,
    cost: Decimal | None,
    effective: Decimal | None,
) -> KeySpend:
    return KeySpend(
        pool.usage_date, pool.workspace_id, *who, pool.model, pool.cost_type, pool.token_type, pool.service_tier,
        source, quantity, cost, effective,
    )  # fmt: skip
