"""One grammar in, exact decimals through, one rounding out; checked against exact fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.money import (
    EXACT,
    cents_to_usd,
    multiply,
    ratio,
    round_usd,
    sum_usd,
    token_count,
    was_rounded,
)
from stax_pipeline_tests.derive.builders import scaled

WIDE = Decimal("12345678901234567890.123456789012345678")  # 38 digits: what the warehouse's column holds
DOLLARS = st.integers(-(10**38) + 1, 10**38 - 1).map(scaled)


@pytest.mark.parametrize(
    ("amount", "usd"),
    [
        ("123.45", "1.2345"),  # Anthropic's own example: "123.45" is $1.23
        ("1.000000", "0.01"),
        ("527.999760", "5.2799976"),
        ("123.78912", "1.2378912"),
        ("0", "0"),
        ("-250", "-2.5"),
        ("1e2", "1"),
        ("1.5E-3", "0.000015"),
        ("1E-7", "0.000000001"),
        ("1e+05", "1000"),
        ("0e99", "0"),
        ("00012", "0.12"),
        ("0.0000000000000001", "0.000000000000000001"),
        ("9999999999999999999999", "99999999999999999999.99"),
        ("1234567890123456789012.3456789012345678", "12345678901234567890.123456789012345678"),
        ("123456789012345678901234567890e-10", "123456789012345678.90123456789"),
        ("1.50000000000000000000000000000", "0.015"),
    ],
)
def test_cents_become_exact_dollars(amount: str, usd: str) -> None:
    assert cents_to_usd(amount) == Decimal(usd)


def test_the_documented_example_is_one_dollar_twenty_three() -> None:
    assert f"{cents_to_usd('123.45'):.2f}" == "1.23"


@pytest.mark.parametrize("amount", ["-0", "-0.00", "-0e5", "0.000"])
def test_zero_has_one_form(amount: str) -> None:
    assert str(cents_to_usd(amount)) == "0"


@pytest.mark.parametrize(
    "amount",
    [
        "NaN", "sNaN", "Infinity", "-Infinity", "inf", "1_000", " 1", "1 ", "1\n", "", ".5", "5.", "+1", "--1", "1,5",
        "0x10", "1e", "1e100", "1.2.3", "١٢٣", "１２３", "१", "1é", "$1", "None", "1" * 101,
        1, 1.5, True, None, Decimal(1), [], {}, b"1",
    ],
)  # fmt: skip
def test_anything_but_a_decimal_string_breaks_the_contract(amount: object) -> None:
    with pytest.raises(ContractBroken, match="not a decimal string in cents"):
        cents_to_usd(amount)


@pytest.mark.parametrize(
    "amount",
    [
        "10000000000000000000000",  # 21 whole digits of a dollar
        "123456789012345678901234567890",  # 30 digits of cents
        "1e99",
        "-1e30",
        "9999999999999999999999.99999999999999999",  # 21 whole digits once it is rounded
    ],
)
def test_more_than_twenty_whole_digits_are_refused(amount: str) -> None:
    with pytest.raises(ContractBroken, match="does not fit"):
        cents_to_usd(amount)


@pytest.mark.parametrize(
    ("amount", "usd", "rounded"),
    [
        ("0.0000000000000001", "0.000000000000000001", False),
        ("0.00000000000000001", "0", True),  # 19 decimals of a dollar
        ("0.00000000000000005", "0", True),  # half-even
        ("0.00000000000000015", "0.000000000000000002", True),
        ("-0.00000000000000015", "-0.000000000000000002", True),
        ("1.23456789012345678", "0.012345678901234568", True),
        ("1e-17", "0", True),
        ("123.4500000000000000000000", "1.2345", False),
    ],
)
def test_more_than_sixteen_decimals_of_a_cent_are_rounded_and_it_can_be_told(
    amount: str, usd: str, rounded: bool
) -> None:
    found = cents_to_usd(amount)
    assert (found, was_rounded(amount, found)) == (Decimal(usd), rounded)


def test_a_refused_amount_is_shown_only_in_part() -> None:
    with pytest.raises(ContractBroken) as broken:
        cents_to_usd("x" * 5000)
    assert len(str(broken.value)) < 120


def to_eighteen(exact: Fraction) -> Fraction:
    """Half-even, as `round` does."""
    return Fraction(round(exact * 10**18), 10**18)


AMOUNTS = st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,2})?", fullmatch=True, alphabet=st.characters(
    codec="ascii"))  # fmt: skip


@given(AMOUNTS)
def test_an_amount_is_its_fraction_over_a_hundred_to_eighteen_decimals_or_refused(amount: str) -> None:
    exact = Fraction(amount) / 100
    kept = to_eighteen(exact)
    if abs(kept) >= 10**20:
        with pytest.raises(ContractBroken):
            cents_to_usd(amount)
        return
    usd = cents_to_usd(amount)
    assert (Fraction(usd), was_rounded(amount, usd)) == (kept, kept != exact)


@given(st.text(max_size=12))
def test_only_the_grammar_is_read(amount: str) -> None:
    try:
        usd = cents_to_usd(amount)
    except ContractBroken:
        return
    assert set(amount) <= set("0123456789.-+eE")
    assert Fraction(usd) == to_eighteen(Fraction(amount) / 100)


def by_the_reference(amount: str) -> Fraction | None:
    """The grammar once more, without a regular expression: the USD of an amount in cents, None for anything else."""
    mantissa, mark, exponent = amount.replace("E", "e").partition("e")
    whole, point, decimals = mantissa.removeprefix("-").partition(".")
    power = exponent[1:] if exponent[:1] in ("+", "-") else exponent
    numbers = [whole, *([decimals] if point else []), *([power] if mark else [])]
    if len(amount) > 100 or len(power) > 2 or not all(set(n) <= set("0123456789") and n for n in numbers):
        return None
    shift = int(power or 0) * (-1 if exponent.startswith("-") else 1) - len(decimals) - 2
    exact = Fraction(int(whole + decimals)) * Fraction(10) ** shift * (-1 if amount.startswith("-") else 1)
    kept = to_eighteen(exact)
    return kept if abs(kept) < 10**20 else None


@given(st.text(alphabet="0123456789019.-+eE_, \n\u0663\uff11", max_size=14) | AMOUNTS)
@example("0" * 98 + ".5")
@example("0" * 100)
@example("1e+05")
@example("1.e5")
@example("-")
@example("")
def test_what_is_read_and_what_is_refused_is_the_references_word(amount: str) -> None:
    expected = by_the_reference(amount)
    if expected is None:
        with pytest.raises(ContractBroken):
            cents_to_usd(amount)
    else:
        assert Fraction(cents_to_usd(amount)) == expected


@given(DOLLARS)
def test_every_storable_dollar_figure_can_be_said_in_cents(usd: Decimal) -> None:
    cents = f"{EXACT.scaleb(usd, 2):f}"
    assert cents_to_usd(cents) == usd
    assert cents_to_usd(f"-{cents.removeprefix('-')}") == usd.copy_abs().copy_negate()


@given(st.integers())
def test_a_whole_number_is_a_count_or_refused(value: int) -> None:
    if 0 <= value < 2**63:
        assert token_count(value, "output_tokens") == value
    else:
        with pytest.raises(ContractBroken, match="output_tokens"):
            token_count(value, "output_tokens")


@pytest.mark.parametrize("count", [0, 1, 2**63 - 1])
def test_counts_are_whole_numbers(count: int) -> None:
    assert token_count(count, "output_tokens") == count


@pytest.mark.parametrize("count", [-1, 2**63, 1.0, "1", True, False, None, Decimal(1)])
def test_a_bad_count_names_its_field(count: object) -> None:
    with pytest.raises(ContractBroken, match="output_tokens"):
        token_count(count, "output_tokens")


@given(st.lists(DOLLARS, max_size=20), st.randoms(use_true_random=False))
def test_sums_are_exact_in_any_order(values: list[Decimal], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert Fraction(sum_usd(values)) == sum((Fraction(v) for v in values), Fraction(0))
    assert sum_usd(values) == sum_usd(shuffled)


def test_a_sum_keeps_what_the_default_context_loses() -> None:
    tiny, huge = Decimal("1e-18"), Decimal("99999999999999999999")
    assert sum_usd([huge, tiny]) == Decimal("99999999999999999999.000000000000000001")
    assert sum_usd([]) == 0


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        ("0.0000000000000000005", "0"),
        ("0.0000000000000000015", "0.000000000000000002"),
        ("0.0000000000000000025", "0.000000000000000002"),
        ("0.00000000000000000250001", "0.000000000000000003"),
        ("-0.0000000000000000015", "-0.000000000000000002"),
        ("1.10", "1.1"),
    ],
)
def test_rounding_is_half_even_to_18_decimals(value: str, rounded: str) -> None:
    assert round_usd(Decimal(value)) == Decimal(rounded)


def test_rounding_leaves_no_negative_zero() -> None:
    assert str(round_usd(Decimal("-0.0000000000000000001"))) == "0"


@given(st.integers(-(10**42), 10**42).map(partial(scaled, decimals=22)))
def test_rounding_agrees_with_fractions_at_full_width(value: Decimal) -> None:
    assert Fraction(round_usd(value)) == Fraction(round(Fraction(value) * 10**18), 10**18)


@given(DOLLARS)
def test_rounding_twice_is_rounding_once(value: Decimal) -> None:
    assert round_usd(value) == value
    assert round_usd(round_usd(value)) == round_usd(value)


def test_rounding_keeps_all_38_digits() -> None:
    assert round_usd(WIDE) == WIDE


@given(st.integers(0, 2**63 - 1), DOLLARS)
def test_products_are_exact(count: int, usd: Decimal) -> None:
    assert Fraction(multiply(count, usd, Decimal("1.1"))) == Fraction(count) * Fraction(usd) * Fraction(11, 10)


def test_a_ratio_over_nothing_is_unknown() -> None:
    assert ratio(Decimal(1), Decimal(0)) is None
    assert ratio(Decimal(1), Decimal(3)) == Decimal("0.333333333333333333")
    assert ratio(Decimal(0), Decimal(3)) == 0
