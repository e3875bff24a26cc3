"""The shipped book against literal expectations from Anthropic's published prices."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from stax_pipeline.pricing.prices import Usage, shipped_prices
from stax_pipeline.pricing.prices.book import dated_model
from stax_pipeline_tests.derive.builders import DAY, INPUT, OPUS, OUTPUT, READ, WRITE_1H, WRITE_5M, book

TYPES = (INPUT, WRITE_5M, WRITE_1H, READ, OUTPUT)
NOW = "2026-11-20"


def price(model: str, day: str = NOW, token_type: str = INPUT, **changes: str) -> tuple[Decimal, Decimal] | None:
    usage = Usage(date.fromisoformat(day), model, token_type, "standard", "0-200k", "global", "standard")
    found = book().token_price(usage._replace(**changes))
    return found and (found.low, found.high)


def flat(model: str, day: str = NOW, token_type: str = INPUT, **changes: str) -> Decimal | None:
    found = price(model, day, token_type, **changes)
    assert found is None or found[0] == found[1]
    return found and found[0]


@pytest.mark.parametrize(
    ("model", "day", "window", "published"),
    [
        ("claude-fable-5-2", NOW, "0-200k", "8 10 16 0.20 40"),
        ("claude-mythos-5-2", NOW, "0-200k", "8 10 16 0.20 40"),
        ("claude-fable-5-1", NOW, "200k-1M", "10 12.5 20 0.25 50"),
        ("claude-mythos-5-1", "2026-09-01", "0-200k", "10 12.5 20 0.25 50"),
        ("claude-fable-5", "2026-06-09", "0-200k", "10 12.5 20 1 50"),
        ("claude-mythos-5", NOW, "0-200k", "10 12.5 20 1 50"),
        ("claude-opus-5-5", "2026-09-22", "0-200k", "4 5 8 0.20 20"),
        ("claude-opus-5", NOW, "200k-1M", "5 6.25 10 0.50 25"),
        ("claude-opus-4-8", NOW, "0-200k", "5 6.25 10 0.50 25"),
        ("claude-opus-4-7", NOW, "0-200k", "5 6.25 10 0.50 25"),
        ("claude-opus-4-6", "2026-02-05", "0-200k", "5 6.25 10 0.50 25"),
        ("claude-opus-4-6", "2026-03-12", "200k-1M", "10 12.5 20 1 37.5"),
        ("claude-opus-4-6", "2026-03-13", "200k-1M", "5 6.25 10 0.50 25"),
        ("claude-opus-4-5-20251101", NOW, "0-200k", "5 6.25 10 0.50 25"),
        ("claude-opus-4-1-20250805", "2026-08-01", "0-200k", "15 18.75 30 1.50 75"),
        ("claude-opus-4-20250514", "2026-06-01", "0-200k", "15 18.75 30 1.50 75"),
        ("claude-sonnet-5-5", "2026-10-06", "0-200k", "2 2.5 4 0.20 10"),
        ("claude-sonnet-5-5", "2026-10-07", "0-200k", "2 2.5 4 0.10 10"),
        ("claude-sonnet-5", "2026-09-01", "0-200k", "2 2.5 4 0.20 10"),
        ("claude-sonnet-4-6", NOW, "0-200k", "3 3.75 6 0.30 15"),
        ("claude-sonnet-4-6", "2026-03-12", "200k-1M", "6 7.5 12 0.60 22.5"),
        ("claude-sonnet-4-6", "2026-03-13", "200k-1M", "3 3.75 6 0.30 15"),
        ("claude-sonnet-4-5-20250929", NOW, "0-200k", "3 3.75 6 0.30 15"),
        ("claude-sonnet-4-5-20250929", "2026-04-01", "200k-1M", "6 7.5 12 0.60 22.5"),
        ("claude-sonnet-4-20250514", "2026-06-01", "0-200k", "3 3.75 6 0.30 15"),
        ("claude-sonnet-4-20250514", "2025-08-18", "200k-1M", "6 7.5 12 0.60 22.5"),
        ("claude-3-7-sonnet-20250219", "2026-02-01", "0-200k", "3 3.75 6 0.30 15"),
        ("claude-haiku-4-5-20251001", NOW, "0-200k", "1 1.25 2 0.10 5"),
        ("claude-3-5-haiku-20241022", "2026-02-01", "0-200k", "0.80 1 1.60 0.08 4"),
        ("claude-3-haiku-20240307", "2026-04-01", "0-200k", "0.25 0.30 0.50 0.03 1.25"),
        ("claude-3-opus-20240229", "2026-01-01", "0-200k", "15 18.75 30 1.50 75"),
    ],
)
def test_published_prices(model: str, day: str, window: str, published: str) -> None:
    found = [flat(model, day, token_type, context_window=window) for token_type in TYPES]
    assert found == [Decimal(usd) for usd in published.split()]


@pytest.mark.parametrize(
    ("model", "launch"),
    [
        ("claude-fable-5-2", "2026-11-09"),
        ("claude-opus-5-5", "2026-09-22"),
        ("claude-sonnet-5-5", "2026-09-28"),
        ("claude-haiku-5-5", "2026-10-07"),
        ("claude-opus-4-6", "2026-02-05"),
        ("claude-sonnet-4-5-20250929", "2025-09-29"),
    ],
)
def test_there_is_no_price_before_launch(model: str, launch: str) -> None:
    eve = (date.fromisoformat(launch) - timedelta(days=1)).isoformat()
    assert price(model, eve) is None
    assert price(model, launch) is not None


@pytest.mark.parametrize(
    ("model", "day", "window", "usd_in_out"),
    [
        ("claude-opus-4-6", "2026-02-06", "0-200k", None),
        ("claude-opus-4-6", "2026-02-07", "0-200k", "30 150"),
        ("claude-opus-4-6", "2026-02-07", "200k-1M", "60 225"),
        ("claude-opus-4-6", "2026-03-01", "200k-1M", "30 150"),
        ("claude-opus-4-6", "2026-06-28", "0-200k", "30 150"),
        ("claude-opus-4-6", "2026-06-29", "0-200k", "5 25"),
        ("claude-opus-4-7", "2026-05-11", "0-200k", None),
        ("claude-opus-4-7", "2026-05-12", "0-200k", "30 150"),
        ("claude-opus-4-8", "2026-05-28", "0-200k", "10 50"),
        ("claude-opus-5", "2026-07-24", "0-200k", "10 50"),
        ("claude-opus-5-5", "2026-09-23", "0-200k", None),
        ("claude-opus-5-5", "2026-09-24", "200k-1M", "8 40"),
        ("claude-fable-5-2", "2026-11-09", "0-200k", "16 80"),
        ("claude-mythos-5-2", "2026-11-08", "0-200k", None),
        ("claude-mythos-5-2", "2026-11-09", "200k-1M", "16 80"),
        ("claude-haiku-5-5", NOW, "0-200k", None),
        ("claude-sonnet-5-5", NOW, "0-200k", None),
    ],
)
def test_fast_mode_has_its_own_prices(model: str, day: str, window: str, usd_in_out: str | None) -> None:
    found = [flat(model, day, token_type, speed="fast", context_window=window) for token_type in (INPUT, OUTPUT)]
    assert found == ([Decimal(usd) for usd in usd_in_out.split()] if usd_in_out else [None, None])


def test_cache_multipliers_apply_on_top_of_fast() -> None:
    found = [flat("claude-opus-5-5", NOW, token_type, speed="fast") for token_type in (WRITE_5M, WRITE_1H, READ)]
    assert found == [Decimal(10), Decimal(16), Decimal("0.4")]


@pytest.mark.parametrize("model", ["claude-fable-5-2", "claude-mythos-5-2"])
def test_fast_mode_of_the_newest_models_in_every_token_type(model: str) -> None:
    found = [flat(model, NOW, token_type, speed="fast") for token_type in TYPES]
    assert found == [Decimal(usd) for usd in ("16", "20", "32", "0.40", "80")]


def test_an_unknown_speed_is_priced_as_standard() -> None:
    assert flat(OPUS, speed="") == 4


@pytest.mark.parametrize("token_type", TYPES)
def test_batch_halves_every_token_type(token_type: str) -> None:
    standard, batch = flat(OPUS, NOW, token_type), flat(OPUS, NOW, token_type, service_tier="batch")
    assert standard and batch and batch * 2 == standard


def test_priority_lists_like_standard() -> None:
    assert flat(OPUS, service_tier="priority") == 4


@pytest.mark.parametrize("token_type", TYPES)
@pytest.mark.parametrize("model", ["claude-opus-4-6", "claude-sonnet-4-6", "claude-opus-5-5", "claude-fable-5-2"])
def test_us_costs_a_tenth_more_from_4_6_on(model: str, token_type: str) -> None:
    worldwide, us = flat(model, NOW, token_type), flat(model, NOW, token_type, inference_geo="us")
    assert worldwide and us == worldwide * Decimal("1.1")


@pytest.mark.parametrize("model", ["claude-opus-4-5-20251101", "claude-haiku-4-5-20251001", "claude-sonnet-4-5"])
def test_us_costs_nothing_more_before_4_6(model: str) -> None:
    assert flat(model, inference_geo="us") == flat(model)


def test_factors_multiply() -> None:
    assert flat(OPUS, service_tier="batch", inference_geo="us") == Decimal("2.2")
    assert flat(OPUS, speed="fast", inference_geo="us") == Decimal("8.8")


@pytest.mark.parametrize("geo", ["", "global", "not_available"])
def test_no_place_costs_the_list_price(geo: str) -> None:
    assert flat(OPUS, inference_geo=geo) == 4


@pytest.mark.parametrize("geo", ["eu", "US", "apac", "unknown"])
@pytest.mark.parametrize("tier", ["standard", "batch", "priority"])
def test_a_place_without_a_published_factor_has_no_price(geo: str, tier: str) -> None:
    assert price(OPUS, inference_geo=geo, service_tier=tier) is None


@pytest.mark.parametrize(
    ("alias", "dated"),
    [
        ("claude-opus-4-5", "claude-opus-4-5-20251101"),
        ("claude-opus-4-1", "claude-opus-4-1-20250805"),
        ("claude-opus-4-0", "claude-opus-4-20250514"),
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("claude-sonnet-4-0", "claude-sonnet-4-20250514"),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("claude-3-7-sonnet-latest", "claude-3-7-sonnet-20250219"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku-20241022"),
        ("claude-3-opus-latest", "claude-3-opus-20240229"),
    ],
)
def test_an_alias_costs_what_its_dated_id_costs(alias: str, dated: str) -> None:
    assert dated_model(alias) == dated
    assert dated_model(dated) == dated
    assert price(alias, "2025-12-01") is not None
    assert price(alias, "2025-12-01") == price(dated, "2025-12-01")


@pytest.mark.parametrize("model", ["claude-opus-4-6-foo", "claude-opus-9", "gpt-5", "", "claude-mythos-preview"])
def test_an_unknown_model_has_no_price(model: str) -> None:
    assert price(model) is None


@pytest.mark.parametrize("tier", ["priority_on_demand", "flex", "flex_discount", "turbo", ""])
def test_a_tier_without_public_price_has_none(tier: str) -> None:
    assert price(OPUS, service_tier=tier) is None


def test_an_unknown_token_type_has_no_price() -> None:
    assert price(OPUS, token_type="thinking_tokens") is None


@pytest.mark.parametrize(
    ("token_type", "low", "high"),
    [(INPUT, "0.10", "0.50"), (WRITE_5M, "0.125", "0.625"), (WRITE_1H, "0.20", "1.00"), (READ, "0.01", "0.05"),
     (OUTPUT, "0.50", "2.50")],
)  # fmt: skip
def test_haiku_5_5_is_banded_below_200k_and_exact_above(token_type: str, low: str, high: str) -> None:
    assert price("claude-haiku-5-5", NOW, token_type) == (Decimal(low), Decimal(high))
    assert price("claude-haiku-5-5", NOW, token_type, context_window="") == (Decimal(low), Decimal(high))
    assert flat("claude-haiku-5-5", NOW, token_type, context_window="200k-1M") == Decimal(high)
    assert price("claude-haiku-5-5", NOW, token_type, service_tier="batch", inference_geo="us") == (
        Decimal(low) * Decimal("0.55"), Decimal(high) * Decimal("0.55")
    )  # fmt: skip


def test_a_banded_price_says_so() -> None:
    usage = Usage(DAY, "claude-haiku-5-5", INPUT, "standard", "0-200k", "global", "standard")
    found = book().token_price(usage)
    assert found and found.banded and found.source == "band-lower"
    exact = book().token_price(usage._replace(context_window="200k-1M"))
    assert exact and not exact.banded and exact.source != "band-lower"


@pytest.mark.parametrize(("window", "usd"), [("0-100k", "0.10"), ("100k-1M", "0.50"), ("200k-1M", "0.50")])
def test_a_window_that_the_report_names_is_exact(window: str, usd: str) -> None:
    usage = Usage(DAY, "claude-haiku-5-5", INPUT, "standard", window, "global", "standard")
    found = book().token_price(usage)
    assert found and not found.banded and found.source != "band-lower"
    assert found.low == Decimal(usd)


@pytest.mark.parametrize(
    ("window", "usd"), [("0-100k", "3 3"), ("0-200k", "3 3"), ("100k-1M", "3 6"), ("200k-1M", "6 6")]
)
def test_a_window_across_a_step_has_both_prices_and_one_beside_it_the_exact_one(window: str, usd: str) -> None:
    low, high = map(Decimal, usd.split())
    assert price("claude-sonnet-4-5", "2026-04-01", context_window=window) == (low, high)


@pytest.mark.parametrize("window", ["0-100k", "100k-1M", "1M-2M"])
def test_a_flat_price_holds_for_every_window(window: str) -> None:
    assert flat(OPUS, context_window=window) == 4


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "claude-sonnet-4-5"])
def test_a_window_that_nobody_knows_has_no_price_where_prices_go_by_window(model: str) -> None:
    assert price(model, context_window="1M-2M") is None


def test_an_empty_window_means_up_to_200k() -> None:
    assert flat("claude-opus-4-6", "2026-03-12", context_window="") == 5


@pytest.mark.parametrize(
    ("cost_type", "day", "usd", "unit"),
    [("web_search", "2025-08-18", "10", "1k requests"), ("code_execution", "2026-01-01", "0.05", "hour"),
     ("session_usage", "2026-04-08", "0.08", "hour")],
)  # fmt: skip
def test_services_have_prices(cost_type: str, day: str, usd: str, unit: str) -> None:
    found = book().service_price(cost_type, date.fromisoformat(day))
    assert found and (found.low, found.high, found.pricing_unit) == (Decimal(usd), Decimal(usd), unit)


def test_services_have_no_price_before_they_were_sold() -> None:
    assert book().service_price("session_usage", date(2026, 4, 7)) is None
    assert book().service_price("gpu_hours", DAY) is None


def test_the_fallback_is_used_only_for_models_the_csvs_do_not_name() -> None:
    fallback = {row.model for row in shipped_prices() if row.source == "genai-prices 0.2.3"}
    reviewed = {row.model for row in shipped_prices() if row.source != "genai-prices 0.2.3"}
    assert "claude-3-sonnet" in fallback
    assert flat("claude-3-sonnet", token_type=OUTPUT) == 15
    assert not fallback & reviewed
    assert not any(dated_model(model) != model for model in fallback)


def test_prices_come_with_a_source_and_are_positive() -> None:
    assert all(row.source and row.usd_per_unit > 0 for row in shipped_prices())
    keys = [row[:6] for row in shipped_prices()]
    assert len(keys) == len(set(keys))
