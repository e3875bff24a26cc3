"""Batches of several tenants at random: lines, terms, settlement. Stays out: expectations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from stax_pipeline.derive.batch import Batch
from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.reconciliation import Cell, Change
from stax_pipeline.derive.schemas import COST_LINES, DAYS, USAGE_BY_KEY, USAGE_LINES, table_of, table_of_rows
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import TOKEN_TYPES, KeyUsageLine, UsageLine
from stax_pipeline.domain.money import EXACT, round_usd
from stax_pipeline.pricing import commitments, contract_rates
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.contract_rates import ContractRate, ContractRates
from stax_pipeline.pricing.prices import PriceBook, Usage
from stax_pipeline.pricing.prices.book import dated_model
from stax_pipeline_tests.derive.builders import (
    DAY,
    GEOS,
    MODELS,
    OPUS,
    SPEEDS,
    TIERS,
    USD,
    WINDOWS,
    book,
    cost_lines_,
    key_usage_lines_,
    list_price,
    scaled,
    usage_lines_,
)
from stax_pipeline_tests.derive.builders import (
    DAYS as LINE_DAYS,
)

TENANTS = [f"0000000{number}-0000-4000-8000-000000000000" for number in range(3)]
TWO_DAYS = [DAY, DAY + timedelta(days=1)]
_near = st.sampled_from([date(2025, 1, 1), *(DAY + timedelta(days=n) for n in (-1, 0, 1, 2))])

shares = st.integers(0, 10**18 - 1).map(scaled)
prices = st.integers(0, 10**20).map(scaled)


@st.composite
def rates_(draw: st.DrawFn) -> ContractRate:
    starts = draw(_near)
    ends = draw(st.none() | _near.filter(lambda day: day >= starts))
    absolute = draw(st.booleans())
    return ContractRate(
        draw(st.sampled_from(["claude-*", "*", OPUS, "claude-opus-4-5", "claude-nobody-knows"])),
        draw(st.sampled_from(["*", "standard", "batch", "priority", "flex"])),
        draw(st.sampled_from(["*", *TOKEN_TYPES])),
        starts,
        ends,
        None if absolute else draw(shares),
        draw(prices) if absolute else None,
    )


commitments_ = st.builds(
    lambda name, model, into, out, fee, starts, days: Commitment(
        f"c-{name}", model, into, out, fee, starts, starts + timedelta(days=days)
    ),
    st.integers(1, 2), st.sampled_from([OPUS, "claude-opus-4-5-20251101", "claude-nobody-knows"]),
    st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**22).map(scaled), _near, st.integers(0, 40),
)  # fmt: skip
books = st.sampled_from([
    book(), book(), book(),
    PriceBook.of([list_price("10.123456789012"), list_price("7", effective_from=DAY + timedelta(days=1))]),
    PriceBook.of([]),
])  # fmt: skip


@st.composite
def terms_(draw: st.DrawFn) -> Terms:
    rates: list[ContractRate] = []
    for rate in draw(st.lists(rates_(), max_size=3)):
        if contract_rates.overlapping([*rates, rate]) is None:
            rates.append(rate)
    fees: list[Commitment] = []
    for fee in draw(st.lists(commitments_, max_size=2)):
        if commitments.overlapping([*fees, fee]) is None:
            fees.append(fee)
    return Terms(draw(books), ContractRates.of(rates), tuple(fees))


changes = st.builds(
    Change,
    USD,
    st.lists(
        st.tuples(
            st.builds(Usage, LINE_DAYS, MODELS, st.sampled_from([*TOKEN_TYPES]), TIERS, WINDOWS, GEOS, SPEEDS),
            st.integers(-(10**6), 10**6),
        ),
        max_size=2,
    ).map(tuple),
)
restated = st.dictionaries(
    st.builds(Cell, LINE_DAYS, MODELS.map(dated_model), st.sampled_from(["standard", "batch"])),
    st.lists(changes, max_size=2),
    max_size=3,
)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """A batch whose bills are near its usage often enough for every cause and cost source to occur."""
    costs: dict[str, list[CostLine]] = {}
    usage: dict[str, list[UsageLine]] = {}
    keys: dict[str, list[KeyUsageLine]] = {}
    changed: dict[str, dict[Cell, list[Change]]] = {}
    terms = {tenant_id: draw(terms_()) for tenant_id in TENANTS}
    for tenant_id in TENANTS:
        is_plain = draw(st.booleans())
        usage[tenant_id] = draw(st.lists(charged if is_plain else usage_lines_, max_size=4))
        costs[tenant_id] = [] if is_plain else draw(st.lists(cost_lines_, max_size=4))
        keys[tenant_id] = draw(st.lists(key_usage_lines_, max_size=4))
        changed[tenant_id] = draw(restated)
        for line in usage[tenant_id]:
            manner, factor = draw(st.sampled_from(MANNERS)), draw(st.sampled_from(FACTORS))
            bills = _billed(line, terms[tenant_id], manner, factor)
            costs[tenant_id] += bills
            if manner == "restated" and bills:
                cell = Cell(line.usage_date, dated_model(line.model), line.service_tier or "standard")
                changed[tenant_id][cell] = [Change(_share(bill.amount_usd, Decimal("0.5")), ()) for bill in bills]
            if draw(st.booleans()):
                keys[tenant_id].append(_keyed(line, draw(st.sampled_from(["", "apikey_1"]))))
    return batch_of(
        costs, usage, keys, terms,
        settled=draw(st.frozensets(st.tuples(st.sampled_from(TENANTS), st.sampled_from(TWO_DAYS)))),
        minutes=draw(st.dictionaries(st.sampled_from(TWO_DAYS), st.integers(0, 1440))),
        restated=changed,
    )  # fmt: skip


@st.composite
def unit_batches(draw: st.DrawFn) -> Batch:
    """Bills of a hundred or a hundredth of the usage's price, or of the price, cell by cell."""
    usage = {t: draw(st.lists(charged, max_size=4)) for t in TENANTS}
    terms = {t: Terms(book()) for t in TENANTS}
    factors = st.sampled_from([Decimal("0.01"), Decimal("0.1"), Decimal(1), Decimal(100)])
    costs = {t: [bill for line in usage[t] for bill in _billed(line, terms[t], "list", draw(factors))] for t in TENANTS}
    return batch_of(costs, usage, {}, terms)


charged = st.builds(
    lambda line, model, tier, window: line._replace(
        usage_date=DAY, workspace_id="default", model=model, service_tier=tier, context_window=window
    ),
    usage_lines_, st.sampled_from([OPUS, "claude-haiku-5-5", "claude-opus-4-5"]),
    st.sampled_from(["", "standard", "batch"]), WINDOWS,
)  # fmt: skip
MANNERS = ["not at all", "list", "contract", "list", "contract", "another speed", "another model", "one token type",
           "restated"]  # fmt: skip
FACTORS = [Decimal(text) for text in ("1", "1", "1", "0", "0.4", "0.8", "1.5", "1.005")]


def _billed(line: UsageLine, terms: Terms, manner: str, factor: Decimal) -> list[CostLine]:
    """What the usage costs in some manner, times `factor`."""
    if manner == "not at all":
        return []
    found = []
    speed = {"fast": "standard"}.get(line.speed, "fast") if manner == "another speed" else line.speed
    for token_type, column in TOKEN_TYPES.items():
        usage = Usage(
            line.usage_date, line.model, token_type, line.service_tier or "standard", line.context_window,
            line.inference_geo, speed,
        )  # fmt: skip
        listed, contracted = terms.quote(usage)
        price = listed if manner == "list" else contracted
        if not price or not (number := getattr(line, column)):
            continue
        one = manner == "one token type" and token_type != "output_tokens"
        usd = _share(round_usd(price.amount(number)[0]), Decimal(1) if one else factor)
        found.append(CostLine(
            line.usage_date, line.workspace_id, "", "tokens", token_type,
            "claude-renamed" if manner == "another model" else line.model, line.service_tier, line.context_window,
            line.inference_geo, "USD", 1, EXACT.multiply(usd, 2) if manner == "restated" else usd, "{}",
        ))  # fmt: skip
    return found


def _share(usd: Decimal, factor: Decimal) -> Decimal:
    return round_usd(EXACT.multiply(usd, factor))


def _keyed(line: UsageLine, key: str) -> KeyUsageLine:
    return KeyUsageLine(
        line.usage_date, line.workspace_id, key, "", line.model, line.service_tier, *line.counts, "{}"
    )  # fmt: skip


def batch_of(
    costs: Mapping[str, list[CostLine]], usage: Mapping[str, list[UsageLine]], keys: Mapping[str, list[KeyUsageLine]],
    terms: Mapping[str, Terms], *, settled: frozenset[tuple[str, date]] = frozenset(),
    minutes: Mapping[date, int] | None = None, restated: Mapping[str, Any] | None = None,
) -> Batch:  # fmt: skip
    """A batch of these lines by tenant, of every day that they name and of `TWO_DAYS`."""
    every = {
        (tenant_id, line.usage_date) for of in (costs, usage, keys) for tenant_id, rows in of.items() for line in rows
    }
    every |= {(tenant_id, day) for tenant_id in terms for day in TWO_DAYS}
    days = [(*at, at in settled, (minutes or {}).get(at[1])) for at in sorted(every)]
    return Batch(
        table_of(COST_LINES, costs), table_of(USAGE_LINES, usage), table_of(USAGE_BY_KEY, keys),
        table_of_rows(DAYS, days), terms, restated or {},
    )  # fmt: skip
