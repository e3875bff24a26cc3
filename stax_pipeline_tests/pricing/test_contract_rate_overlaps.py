"""Two rates overlap exactly when some token of some day has both; two commitments when some day of a model has."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.commitments import overlapping as overlapping_commitments
from stax_pipeline.pricing.contract_rates import ContractRate
from stax_pipeline.pricing.contract_rates import overlapping as overlapping_rates
from stax_pipeline.pricing.imports.prices import WINDOWS
from stax_pipeline.pricing.prices import PriceBook, Usage
from stax_pipeline.pricing.prices.book import ALIASES, dated_model, shadowing
from stax_pipeline_tests.derive.builders import list_price

START = date(2026, 1, 1)
DATED = "claude-opus-4-5-20251101"
MODELS = ["claude-a", "claude-ab", "claude-abc", "claude-b", "x", DATED]
PATTERNS = [*MODELS, *(f"{model}*" for model in MODELS), "claude-*", "claude-opus-4-5*", "*"]
TIERS, TYPES = ["standard", "batch"], ["output_tokens", "uncached_input_tokens"]
DAYS = [START + timedelta(days=n) for n in range(6)]
USAGES = [Usage(d, m, t, tier, "", "", "") for d in DAYS for m in MODELS for t in TYPES for tier in TIERS]

days_ = st.sampled_from(DAYS)
rates_ = st.builds(
    lambda pattern, tier, token_type, first, length: ContractRate(
        pattern, tier, token_type, first, None if length is None else min(first + timedelta(days=length), DAYS[-1]),
        Decimal("0.1"), None,
    ),
    st.sampled_from(PATTERNS), st.sampled_from([*TIERS, "*"]), st.sampled_from([*TYPES, "*"]), days_,
    st.none() | st.integers(0, 3),
)  # fmt: skip
commitments_ = st.builds(
    lambda key, model, first, length: Commitment(
        f"c{key}", model, 1, 1, Decimal(1), first, first + timedelta(days=length)
    ),
    st.integers(), st.sampled_from(MODELS[:2]), days_, st.integers(0, 3),
)  # fmt: skip


@given(rates_, rates_)
def test_rates_overlap_exactly_when_some_token_of_some_day_has_both(one: ContractRate, other: ContractRate) -> None:
    both = any(one.holds_for(usage) and other.holds_for(usage) for usage in USAGES)
    assert one.overlaps(other) == other.overlaps(one) == both


@given(st.lists(rates_, max_size=4))
def test_an_overlap_among_several_rates_is_found(rates: list[ContractRate]) -> None:
    found = overlapping_rates(rates)
    assert (found is not None) == any(a.overlaps(b) for a, b in combinations(rates, 2))
    assert found is None or found[0].overlaps(found[1])


@given(st.lists(commitments_, max_size=4))
def test_commitments_overlap_exactly_when_some_day_of_a_model_has_both(rows: list[Commitment]) -> None:
    shared = any(
        a.model == b.model and any(a.starts_on + timedelta(days=n) in b for n in range(a.days))
        for a, b in combinations(rows, 2)
    )
    assert (overlapping_commitments(rows) is not None) == shared


def test_every_alias_ends_in_a_dated_id() -> None:
    assert not any(dated_model(dated) != dated for dated in ALIASES.values())


@given(st.lists(st.sampled_from(sorted(WINDOWS)), unique=True, max_size=5))
def test_prices_shadow_each_other_exactly_when_a_look_up_would_pass_one_over(windows: list[str]) -> None:
    """Each price has its own USD: without shadowing, every row of a book that can price is the price of some usage."""
    prices = [list_price(str(number + 1), context_window=window) for number, window in enumerate(windows)]
    whole = {"0-100k", "100k-1M"}
    kinds = {"band" if w in whole else "all" if w == "all" else "split" for w in windows}
    assert bool(list(shadowing(prices))) == (len(kinds) > 1)
    if len(kinds) == 1 and (not whole & set(windows) or whole <= set(windows)):
        book, seen = PriceBook.of(prices), set()
        for window in ("0-200k", "200k-1M"):
            usage = Usage(prices[0].effective_from, prices[0].model, prices[0].token_type, "standard", window, "", "")
            price = book.token_price(usage)
            seen |= {price.low, price.high} if price else set()
        assert seen == {price.usd_per_unit for price in prices}


def test_a_band_ends_where_one_price_follows_it() -> None:
    band = [list_price("1", context_window="0-100k"), list_price("5", context_window="100k-1M")]
    flat = list_price("2", effective_from=date(2026, 6, 1))
    book = PriceBook.of([*band, flat])

    def price(day: date) -> tuple[Decimal, Decimal]:
        found = book.token_price(Usage(day, flat.model, flat.token_type, "standard", "0-200k", "", "standard"))
        assert found
        return found.low, found.high

    assert price(date(2026, 5, 31)) == (1, 5)
    assert price(date(2026, 6, 1)) == (2, 2)
