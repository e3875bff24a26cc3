"""Contract rates proposed from price accuracy: the widest that no evidence objects to, none without a steady one."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.derive.reconciliation import Cause, Reconciliation
from stax_pipeline.derive.suggested_rates import contradicted, suggest
from stax_pipeline.domain.money import EXACT, multiply
from stax_pipeline.pricing.contract_rates import ContractRate, ContractRates
from stax_pipeline.pricing.contract_rates import overlapping as overlapping_rates
from stax_pipeline.pricing.imports.rates import rates_csv, read_rates

FIRST = date(2026, 11, 1)
OPUS, SONNET, HAIKU = "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"
NONE = ContractRates()
CELLS = [(model, tier) for model in (OPUS, SONNET) for tier in ("standard", "batch")]


def row(
    day: int, discount: str, model: str = OPUS, tier: str = "standard", usd: int = 100, high: int | None = None,
    cause: str = "unexplained",
) -> Reconciliation:  # fmt: skip
    """A row whose bill lies `discount` below the list price of `usd`."""
    low = Decimal(usd)
    reported = multiply(low, EXACT.subtract(Decimal(1), Decimal(discount)))
    upper = low if high is None else Decimal(high)
    return Reconciliation(FIRST + timedelta(days=day), model, tier, low, low, upper, low, reported, None, cause)


def days(count: int, discount: str = "0.15", start: int = 0, **more: object) -> list[Reconciliation]:
    return [row(start + day, discount, **more) for day in range(count)]  # type: ignore[arg-type]


def everywhere(count: int, discount: str = "0.15", start: int = 0) -> list[Reconciliation]:
    return [one for model, tier in CELLS for one in days(count, discount, start, model=model, tier=tier)]


def proposed(rows: list[Reconciliation], recorded: ContractRates = NONE) -> list[tuple[str, str, date, Decimal | None]]:
    return [(s.rate[0], s.rate[1], s.rate[3], s.rate.discount) for s in suggest(rows, recorded)]


def test_one_discount_everywhere_is_one_row_with_its_evidence() -> None:
    (found,) = suggest(everywhere(6), NONE)
    assert found.rate == ContractRate("claude-*", "*", "*", FIRST, None, Decimal("0.15"), None)
    assert (found.days, found.last) == (6, FIRST + timedelta(days=5))
    assert (found.models, found.tiers) == ((OPUS, SONNET), ("batch", "standard"))
    assert (found.list_usd, found.reported_usd) == (2400, 2040)
    assert f"{found.lowest_ratio:.4f}" == f"{found.highest_ratio:.4f}" == "1.1765"


@pytest.mark.parametrize(
    "rows",
    [
        everywhere(30, "0"),
        everywhere(30, "-0.15"),
        everywhere(30, "0.004"),
        everywhere(4),
        [row(day, ("0.15", "0.155")[day % 2]) for day in range(30)],
        [row(day, "0.15", usd=1) for day in range(30)],
        days(30, cause="unknown price"),
        days(30, cause=str(Cause.UNBILLED)),
        days(30, cause="fast mode"),
        days(30, high=110),
        days(30, model="other-model"),
        [],
    ],
    ids=[
        "none",
        "negative",
        "tiny",
        "short",
        "noisy",
        "small",
        "unpriced",
        "unbilled",
        "fast",
        "band",
        "other",
        "empty",
    ],
)
def test_nothing_is_proposed_without_a_steady_discount(rows: list[Reconciliation]) -> None:
    assert suggest(rows, NONE) == []


def test_where_tiers_or_models_differ_the_rows_are_narrower() -> None:
    by_tier = days(6) + days(6, tier="batch", discount="0.1")
    assert proposed(by_tier) == [
        ("claude-*", "batch", FIRST, Decimal("0.1")), ("claude-*", "standard", FIRST, Decimal("0.15"))
    ]  # fmt: skip
    by_model = [*days(6), *days(6, tier="batch"), *days(6, model=SONNET, discount="0"),
                *days(6, model=SONNET, tier="batch", discount="0")]  # fmt: skip
    assert proposed(by_model) == [(OPUS, "*", FIRST, Decimal("0.15"))]
    one_cell = [*days(6), *days(6, tier="batch", discount="0"), *days(6, model=SONNET, discount="0"),
                *days(6, model=SONNET, tier="batch", discount="0")]  # fmt: skip
    assert proposed(one_cell) == [(OPUS, "standard", FIRST, Decimal("0.15"))]


def test_a_rate_begins_where_the_uninterrupted_run_begins() -> None:
    assert proposed(everywhere(10, "0") + everywhere(7, start=10)) == [
        ("claude-*", "*", FIRST + timedelta(days=10), Decimal("0.15"))
    ]
    gap = [one for one in everywhere(12) if one.usage_date.day not in (4, 5)]
    assert proposed(gap) == [("claude-*", "*", FIRST, Decimal("0.15"))]
    assert suggest(everywhere(10) + everywhere(2, "0", start=10), NONE) == []


def test_a_discount_is_rounded_only_within_the_evidence() -> None:
    wavering = [row(day, ("0.1495", "0.1507")[day % 2]) for day in range(6)]
    assert proposed(wavering)[0][3] == Decimal("0.15")
    assert proposed(days(6, "0.1234"))[0][3] == Decimal("0.1234")


def test_a_price_of_two_bounds_objects_but_does_not_speak() -> None:
    agrees = [row(day, "0", model=HAIKU, usd=100, high=500) for day in range(6)]
    assert proposed(everywhere(6) + agrees) == [("claude-*", "*", FIRST, Decimal("0.15"))]
    objects = [row(day, "0.6", model=HAIKU, usd=100, high=500) for day in range(6)]
    narrower = [("claude-*", "batch"), (OPUS, "standard"), (SONNET, "standard")]
    assert [one[:2] for one in proposed(everywhere(6) + objects)] == narrower
    settled = [row(day, "0.15", model=HAIKU, usd=10000, high=10010) for day in range(6)]
    assert proposed(settled)[0][:2] == ("claude-*", "*")


def test_what_is_on_record_is_not_proposed_again() -> None:
    everything = ContractRate("claude-*", "*", "*", FIRST, None, Decimal("0.15"), None)
    assert suggest(everywhere(9), ContractRates.of([everything])) == []
    opus = everything._replace(model_pattern=OPUS)
    assert proposed(everywhere(9), ContractRates.of([opus])) == [(SONNET, "*", FIRST, Decimal("0.15"))]
    ended = everything._replace(effective_to=FIRST + timedelta(days=2))
    assert proposed(everywhere(9), ContractRates.of([ended]))[0][2] == FIRST + timedelta(days=3)
    coming = everything._replace(effective_from=date(2027, 1, 1))
    assert suggest(everywhere(9), ContractRates.of([coming])) == []


def test_a_recorded_rate_is_contradicted_by_another_steady_share_alone() -> None:
    everything = ContractRate("claude-*", "*", "*", FIRST, None, Decimal("0.15"), None)
    recorded = ContractRates.of([everything])
    (found,) = contradicted(everywhere(18, "0"), recorded)
    assert (found.rate, found.billed, found.days, found.list_usd) == (everything, 0, 18, 7200)
    (found,) = contradicted(everywhere(9) + everywhere(6, "0.2", start=9), recorded)
    assert (found.billed, found.first, found.days) == (Decimal("0.2"), FIRST + timedelta(days=9), 6)
    (found,) = contradicted(days(6) + days(6, "-0.1", model=SONNET), recorded)
    assert (found.billed, found.models) == (Decimal("-0.1"), (SONNET,))
    for rows in (everywhere(9), everywhere(4, "0"), [row(day, ("0", "0.1")[day % 2]) for day in range(20)], []):
        assert contradicted(rows, recorded) == []
    absolute = everything._replace(token_type="output_tokens", discount=None, usd_per_unit=Decimal(4))
    assert contradicted(everywhere(9, "0"), ContractRates.of([absolute])) == []


rates_ = st.builds(
    ContractRate,
    st.sampled_from(["claude-*", "claude-opus-*", OPUS, SONNET]),
    st.sampled_from(["*", "standard", "batch", "priority"]),
    st.sampled_from(["*", "output_tokens"]),
    st.sampled_from([FIRST, FIRST + timedelta(days=6)]),
    st.sampled_from([None, FIRST + timedelta(days=8)]),
    st.just(Decimal("0.1")),
    st.none(),
)
rows_ = st.lists(
    st.builds(
        row,
        st.integers(0, 9),
        st.sampled_from(["0", "0.1", "0.15", "0.151"]),
        st.sampled_from([OPUS, SONNET, HAIKU]),
        st.sampled_from(["standard", "batch"]),
        st.sampled_from([1, 100, 1000]),
        st.sampled_from([None, 1001]),
    ),
    max_size=80,
    unique_by=lambda one: one[:3],
)


@given(rows_, st.lists(rates_, max_size=3))
def test_what_is_proposed_can_be_imported_beside_what_is_on_record(
    rows: list[Reconciliation], rates: list[ContractRate]
) -> None:
    found = suggest(rows, ContractRates.of(rates))
    made = [one.rate for one in found]
    assert overlapping_rates(made) is None
    assert not any(rate.overlaps(other) for rate in made for other in rates)
    for one in found:
        assert one.days >= 5
        assert one.rate.discount is not None and one.rate.discount >= Decimal("0.005")
    if made:
        text = rates_csv(("acme", rate) for rate in made)
        assert [(one.tenant, one.value) for one in read_rates("f.csv", text.encode())] == [("acme", r) for r in made]
