"""Warnings about a file of prices are looked for once a price, not once a pair."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from stax_pipeline.pricing.imports import warnings
from stax_pipeline.pricing.imports.sourced import Sourced
from stax_pipeline.pricing.imports.table import Row
from stax_pipeline.pricing.imports.warnings import price_warnings
from stax_pipeline.pricing.prices import ListPrice


def price(number: int, usd: int = 1, days: int = 0) -> Sourced[ListPrice]:
    first = date(2026, 1, 1) + timedelta(days=days)
    value = ListPrice(f"claude-{number}", first, "tokens", "output_tokens", "all", "standard", "1M tokens",
                      Decimal(usd), Decimal(1), "file")  # fmt: skip
    return Sourced(Row("f.csv", number + 2, {}), value)


def test_each_price_is_compared_with_those_of_its_own_sale_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    real = warnings._sale

    def counted(one: ListPrice) -> tuple[str, ...]:
        nonlocal asked
        asked += 1
        return real(one)

    monkeypatch.setattr(warnings, "_sale", counted)
    prices = [price(number) for number in range(300)]
    jump = price(7, usd=100, days=1)
    models = [one.value.model for one in prices]
    [told] = price_warnings([*prices, jump], [], models)
    assert "claude-7 output_tokens was 1 until 2026-01-02, factor 100" in told
    assert asked < 4 * len(prices)
