"""The cost report's documented rules, and that its amounts follow from usage and list price."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from stax_pipeline.simulator import Organization, realistic_organization, truth
from stax_pipeline.simulator.billing import cost_lines, display_name
from stax_pipeline.simulator.cost_report import amount_text
from stax_pipeline.simulator.usage import day_usage
from stax_pipeline_tests.simulator.conftest import COST, USAGE, Client, day

FULL = ("workspace_id", "description")
START, END = day("2026-10-28"), day("2026-11-04")


def total(rows: list[dict[str, str]]) -> Decimal:
    return sum((Decimal(row["amount"]) for row in rows), Decimal(0))


@pytest.mark.parametrize("group_by", [(), ("workspace_id",), ("description",), FULL])
def test_grouped_sums_equal_the_truth(client: Client, group_by: tuple[str, ...]) -> None:
    acme = client.simulator.organizations["acme"]
    for bucket in client.buckets(COST, START, END, group_by, limit="3"):
        when = date.fromisoformat(bucket["starting_at"][:10])
        assert total(bucket["results"]) == truth(acme, when).reported_usd * 100


def test_fields_are_null_unless_grouped(client: Client) -> None:
    (row,) = client.rows(COST, START, day("2026-10-29"))
    assert {name for name, value in row.items() if value is not None} == {"amount", "currency"}
    by_workspace = client.rows(COST, START, day("2026-10-29"), ("workspace_id",))
    assert {name for row in by_workspace for name, value in row.items() if value} == {
        "amount",
        "currency",
        "workspace_id",
    }
    assert sum(row["workspace_id"] is None for row in by_workspace) == 1
    by_description = client.rows(COST, START, day("2026-10-29"), ("description",))
    assert {row["workspace_id"] for row in by_description} == {None}
    for row in by_description:
        parsed = [row[name] for name in ("token_type", "context_window", "service_tier", "inference_geo", "model")]
        assert all(parsed) if row["cost_type"] == "tokens" else not any(parsed)


def test_what_is_in_it_and_what_is_not(client: Client) -> None:
    rows = client.rows(COST, START, END, FULL)
    assert {row["cost_type"] for row in rows} == {"tokens", "web_search", "code_execution", "session_usage"}
    assert {row["service_tier"] for row in rows} == {"standard", "batch", None}
    assert {row["inference_geo"] for row in rows} == {"global", "us", "not_available", None}
    assert {row["context_window"] for row in rows} == {"0-200k", "200k-1M", None}
    assert "Claude Opus 5.5 Usage (Fast) - Input Tokens" in {row["description"] for row in rows}
    assert "Claude Sonnet 4.5 Usage - Input Tokens" in {row["description"] for row in rows}


def test_one_token_line_by_hand(client: Client) -> None:
    """Batch Opus 5.5 output at $20 per million, half of it for batch."""
    where = {"model": "claude-opus-5-5", "service_tier": "batch", "context_window": "0-200k", "inference_geo": "global"}
    tokens = sum(
        row["output_tokens"]
        for row in client.rows(USAGE, START, day("2026-10-29"), ("workspace_id", *where))
        if all(row[name] == value for name, value in where.items())
    )
    lines = [
        row
        for row in client.rows(COST, START, day("2026-10-29"), FULL)
        if row["token_type"] == "output_tokens" and all(row[name] == value for name, value in where.items())
    ]
    assert tokens > 0
    assert total(lines) == Decimal(tokens) * 20 / 2 / 1_000_000 * 100


@pytest.mark.parametrize(
    ("when", "model", "speed", "geo", "token_type", "usd_per_mtok"),
    [
        (date(2026, 10, 6), "claude-sonnet-5-5", "standard", "global", "cache_read_input_tokens", "0.20"),
        (date(2026, 10, 7), "claude-sonnet-5-5", "standard", "global", "cache_read_input_tokens", "0.10"),
        (date(2026, 10, 7), "claude-sonnet-5-5", "standard", "us", "output_tokens", "11"),
        (date(2026, 10, 7), "claude-opus-5-5", "fast", "global", "uncached_input_tokens", "8"),
        (date(2026, 10, 7), "claude-haiku-5-5", "standard", "global", "output_tokens", "0.5"),
        (date(2026, 10, 7), "claude-haiku-4-5-20251001", "standard", "not_available", "output_tokens", "5"),
    ],
)
def test_cost_is_tokens_times_list_price(
    client: Client, when: date, model: str, speed: str, geo: str, token_type: str, usd_per_mtok: str
) -> None:
    acme = client.simulator.organizations["acme"]
    position = ("uncached_input_tokens", "", "", "cache_read_input_tokens", "output_tokens").index(token_type)
    tokens = sum(
        row.counts[position]
        for row in day_usage(acme, when)
        if (row.model, row.speed, row.inference_geo, row.service_tier, row.context_window)
        == (model, speed, geo, "standard", "0-200k")
    )
    cents = sum(
        amount
        for line, amount in cost_lines(acme, when).items()
        if (line.model, line.token_type, line.inference_geo, line.service_tier, line.context_window)
        == (model, token_type, geo, "standard", "0-200k")
        and ("(Fast)" in line.description) == (speed == "fast")
    )
    assert tokens > 0
    assert cents == tokens * Decimal(usd_per_mtok) / 10_000


def test_long_context_costs_more_where_it_did(client: Client) -> None:
    acme = client.simulator.organizations["acme"]
    when = date(2026, 3, 4)
    tokens = sum(
        row.counts[4]
        for row in day_usage(acme, when)
        if row.model.startswith("claude-sonnet-4-5")
        and row.context_window != "0-200k"
        and row.service_tier == "standard"
    )
    cents = sum(
        amount
        for line, amount in cost_lines(acme, when).items()
        if line.token_type == "output_tokens"
        and (line.model, line.context_window, line.service_tier)
        == ("claude-sonnet-4-5-20250929", "200k-1M", "standard")
    )
    assert tokens > 0
    assert cents == tokens * Decimal("22.5") / 10_000


def test_a_web_search_costs_one_cent(client: Client) -> None:
    searches = sum(row["server_tool_use"]["web_search_requests"] for row in client.rows(USAGE, START, END))
    lines = [row for row in client.rows(COST, START, END, FULL) if row["cost_type"] == "web_search"]
    assert {(row["description"], row["model"]) for row in lines} == {("Web Search Usage", None)}
    assert total(lines) == searches > 0


def test_only_completed_days(client: Client) -> None:
    buckets = client.buckets(COST, day("2026-11-20"), day("2026-12-01"))
    assert [bucket["starting_at"] for bucket in buckets] == [day("2026-11-20"), day("2026-11-21")]
    today = client.get(COST, [("starting_at", day("2026-11-22")), ("ending_at", day("2026-11-23"))])
    assert today.status_code == 400
    assert today.json()["error"]["message"] == "ending date must be after starting date"


def test_yesterday_is_whole_five_minutes_after_midnight(client: Client) -> None:
    midnight = datetime(2026, 11, 22, tzinfo=UTC)

    def yesterday(after: timedelta) -> Decimal:
        client.clock.now = midnight + after
        return total(client.rows(COST, day("2026-11-21"), day("2026-11-22")))

    whole = truth(client.simulator.organizations["acme"], date(2026, 11, 21)).reported_usd * 100
    assert yesterday(timedelta(minutes=4, seconds=59)) < whole
    assert yesterday(timedelta(minutes=5)) == whole


def test_pages_and_their_tokens(client: Client) -> None:
    params = [("starting_at", day("2026-10-01")), ("ending_at", day("2026-10-20"))]
    first = client.get(COST, params).json()
    assert len(first["data"]) == 7
    assert first["has_more"]
    second = client.get(COST, [*params, ("page", first["next_page"])]).json()
    assert second["data"][0]["starting_at"] == first["data"][-1]["ending_at"] == day("2026-10-08")
    token = ("page", first["next_page"])
    for other in (
        [*params, ("limit", "8"), token],
        [params[0], token],
        [*params, ("group_by[]", "description"), token],
    ):
        assert client.get(COST, other).status_code == 400
    assert client.get(USAGE, [*params, token]).status_code == 400
    assert client.get(COST, [*params, token], x_api_key=client.simulator.keys["globex"]).status_code == 400


def test_days_before_the_first_use_are_empty_buckets(client: Client) -> None:
    buckets = client.buckets(COST, day("2025-08-16"), day("2025-08-19"), FULL)
    assert [len(bucket["results"]) > 0 for bucket in buckets] == [False, False, True]


def test_starting_at_is_snapped_to_its_day(client: Client) -> None:
    buckets = client.buckets(COST, "2026-11-18T13:37:00+02:00", day("2026-11-19"))
    assert [bucket["starting_at"] for bucket in buckets] == [day("2026-11-18")]


def test_amounts_are_plain_exact_text() -> None:
    assert amount_text(Decimal("527.99976")) == "527.999760"
    assert amount_text(Decimal("1")) == "1.000000"
    assert amount_text(Decimal("1E+3")) == "1000.000000"
    assert amount_text(Decimal("0.000000123456")) == "0.000000123456"


def test_names_as_displayed() -> None:
    assert display_name("claude-3-5-haiku-20241022") == "Claude 3.5 Haiku"
    assert display_name("claude-opus-5") == "Claude Opus 5"


def acme(**options: object) -> Organization:
    return realistic_organization("acme", **options)  # type: ignore[arg-type]


def test_a_discount_is_in_the_cost_alone() -> None:
    when = date(2026, 11, 10)
    plain, reduced = truth(acme(), when), truth(acme(discount=Decimal("0.15")), when)
    assert reduced.reported_usd == plain.reported_usd * Decimal("0.85")
    assert (reduced.tokens, reduced.list_usd, reduced.priority_usd) == (
        plain.tokens,
        plain.list_usd,
        plain.priority_usd,
    )


def test_blocked_requests_have_tokens_and_no_cost() -> None:
    when = date(2026, 11, 10)
    blocked = acme(blocked_rate=1.0)
    lines = cost_lines(blocked, when)
    assert not [line for line in lines if line.model and "haiku" in line.model and line.service_tier == "standard"]
    assert any("haiku" in model and tier == "standard" for model, tier, _ in truth(blocked, when).tokens)
    assert all(row.billed for row in day_usage(acme(), when))


def test_long_prompts_are_unseen_in_usage_but_billed() -> None:
    when = date(2026, 11, 10)
    plain, long = truth(acme(), when), truth(acme(long_prompt_rate=0.5), when)
    assert plain.tokens == long.tokens
    assert long.reported_usd > plain.reported_usd
