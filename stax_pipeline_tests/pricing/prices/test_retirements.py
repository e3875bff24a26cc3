"""What Anthropic retires, and from when it is named."""

from __future__ import annotations

from datetime import date

import pytest

from stax_pipeline.pricing.prices import retiring, shipped_prices
from stax_pipeline.pricing.prices.retirements import shipped_retirements

SONNET, OPUS, FAST = (
    ("claude-sonnet-4-5-20250929", "standard"),
    ("claude-opus-4-5-20251101", "standard"),
    ("claude-opus-4-8", "fast"),
)


@pytest.mark.parametrize(
    ("day", "named"),
    [
        (date(2026, 9, 30), []),
        (date(2026, 10, 1), [FAST, SONNET]),
        (date(2026, 11, 22), [FAST, SONNET]),
        (date(2026, 11, 23), [FAST, SONNET, OPUS]),
        (date(2026, 11, 30), [FAST, SONNET, OPUS]),
        (date(2026, 12, 1), [OPUS]),
        (date(2027, 1, 22), [OPUS]),
        (date(2027, 1, 23), []),
    ],
)
def test_a_model_is_named_from_sixty_days_before_to_the_day_it_ends(day: date, named: list[tuple[str, str]]) -> None:
    found = [(one.model, one.speed) for one in retiring(day)]
    assert found == named


def test_every_retirement_is_of_a_model_with_a_price_and_says_its_source() -> None:
    priced = {(price.model, price.speed) for price in shipped_prices()}
    for one in shipped_retirements():
        assert (one.model, one.speed) in priced, one
        assert one.source
    assert len(set(shipped_retirements())) == len(shipped_retirements())
