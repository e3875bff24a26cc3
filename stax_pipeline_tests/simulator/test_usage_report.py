"""The usage report's documented rules, and that all queries of it agree."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stax_pipeline.simulator import Organization, demo_organizations, truth
from stax_pipeline.simulator.usage import day_usage
from stax_pipeline.simulator.usage_report import DIMENSIONS
from stax_pipeline_tests.simulator.conftest import BETA, USAGE, Client, day

ALL = ("workspace_id", "model", "service_tier", "context_window", "inference_geo")
BY_KEY = ("api_key_id", "account_id", "workspace_id", "model", "service_tier")
START, END = day("2026-11-10"), day("2026-11-11")


def flat(row: dict[str, Any]) -> Counter[str]:
    return Counter(
        {
            "uncached_input_tokens": row["uncached_input_tokens"],
            **{f"cache_creation.{name}": count for name, count in row["cache_creation"].items()},
            "cache_read_input_tokens": row["cache_read_input_tokens"],
            "output_tokens": row["output_tokens"],
            "web_search_requests": row["server_tool_use"]["web_search_requests"],
        }
    )


def total(rows: list[dict[str, Any]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in rows:
        found.update(flat(row))
    return found


@pytest.mark.parametrize("group_by", [ALL, BY_KEY, ("model",), ("speed", "service_account_id"), ("account_id",)])
def test_every_grouping_adds_up_to_the_ungrouped_total(client: Client, group_by: tuple[str, ...]) -> None:
    grouped = client.rows(USAGE, START, END, group_by, beta=BETA)
    (ungrouped,) = client.rows(USAGE, START, END)
    assert total(grouped) == flat(ungrouped)
    keys = [tuple(row[name] for name in group_by) for row in grouped]
    assert len(keys) == len(set(keys))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    group_by=st.lists(st.sampled_from(DIMENSIONS), max_size=5, unique=True),
    first=st.dates(date(2025, 8, 10), date(2026, 11, 20)),
    days=st.integers(1, 3),
    tiers=st.sets(st.sampled_from(["standard", "batch", "priority"])),
)
def test_any_query_of_any_window_holds_the_same_tokens(
    client: Client, group_by: list[str], first: date, days: int, tiers: set[str]
) -> None:
    client.key = client.simulator.keys["globex"]
    last = min(first + timedelta(days=days), date(2026, 11, 21))
    params = [("starting_at", f"{first}T00:00:00Z"), ("ending_at", f"{last}T00:00:00Z")]
    params += [("group_by[]", name) for name in group_by] + [("service_tiers[]", tier) for tier in sorted(tiers)]
    page = client.get(USAGE, params, anthropic_beta=BETA).json()
    found = total([row for bucket in page["data"] for row in bucket["results"]])
    told = truth_of_window(client.simulator.organizations["globex"], first, last, tiers)
    assert sum(found.values()) - found["web_search_requests"] == told


def truth_of_window(organization: Organization, first: date, last: date, tiers: set[str]) -> int:
    return sum(
        count
        for ordinal in range(first.toordinal(), last.toordinal())
        for (_, tier, _), count in truth(organization, date.fromordinal(ordinal)).tokens.items()
        if not tiers or tier in tiers
    )


def test_the_report_is_the_truth(client: Client) -> None:
    told = truth(client.simulator.organizations["acme"], date(2026, 11, 10))
    found = {
        (row["model"], row["service_tier"], name): count
        for row in client.rows(USAGE, START, END, ("model", "service_tier"))
        for name, count in flat(row).items()
        if count and name != "web_search_requests"
    }
    assert found == told.tokens


@pytest.mark.parametrize("width", ["1h", "1m"])
def test_narrow_buckets_add_up_to_the_day(client: Client, width: str) -> None:
    client.key = client.simulator.keys["globex"]
    limit = {"1h": "168", "1m": "1440"}[width]
    buckets = client.buckets(USAGE, START, END, (), bucket_width=width, limit=limit)
    assert len(buckets) == {"1h": 24, "1m": 1440}[width]
    starts = [bucket["starting_at"] for bucket in buckets]
    assert starts == sorted(starts)
    rows = [row for bucket in buckets for row in bucket["results"]]
    assert total(rows) == total(client.rows(USAGE, START, END))


@pytest.mark.parametrize(("width", "default", "maximum"), [("1d", 7, 31), ("1h", 24, 168), ("1m", 60, 1440)])
def test_limits_count_buckets_by_width(client: Client, width: str, default: int, maximum: int) -> None:
    params = [("starting_at", day("2025-06-01")), ("ending_at", day("2025-08-01")), ("bucket_width", width)]
    assert len(client.get(USAGE, params).json()["data"]) == default
    assert len(client.get(USAGE, [*params, ("limit", str(maximum))]).json()["data"]) == maximum
    assert client.get(USAGE, [*params, ("limit", str(maximum + 1))]).status_code == 400


def test_at_most_five_dimensions(client: Client) -> None:
    params = [("starting_at", START), *(("group_by[]", name) for name in (*ALL, "api_key_id"))]
    answer = client.get(USAGE, params)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Cannot specify more than 5 group_by[] dimensions."


@pytest.mark.parametrize("param", [("group_by[]", "speed"), ("speeds[]", "fast")])
def test_speed_needs_the_beta_header(client: Client, param: tuple[str, str]) -> None:
    params = [("starting_at", START), ("ending_at", END), param]
    assert client.get(USAGE, params).status_code == 400
    assert client.get(USAGE, params, anthropic_beta="other-2026-01-01").status_code == 400
    assert client.get(USAGE, params, anthropic_beta=f"other-2026-01-01, {BETA}").status_code == 200


def test_fast_mode_is_a_part_of_standard_tier(client: Client) -> None:
    fast = client.rows(USAGE, START, END, ALL, **{"speeds[]": "fast", "beta": BETA})
    every = {tuple(row[name] for name in ALL): flat(row) for row in client.rows(USAGE, START, END, ALL)}
    assert {row["service_tier"] for row in fast} == {"standard"}
    assert {row["model"] for row in fast} == {"claude-opus-4-8", "claude-opus-5", "claude-opus-5-5"}
    for row in fast:
        assert flat(row) <= every[tuple(row[name] for name in ALL)]


@pytest.mark.parametrize(
    ("parameter", "dimension"),
    [
        ("service_tiers[]", "service_tier"),
        ("context_window[]", "context_window"),
        ("inference_geos[]", "inference_geo"),
        ("models[]", "model"),
        ("api_key_ids[]", "api_key_id"),
        ("account_ids[]", "account_id"),
        ("service_account_ids[]", "service_account_id"),
        ("workspace_ids[]", "workspace_id"),
    ],
)
def test_a_filter_keeps_exactly_its_value(client: Client, parameter: str, dimension: str) -> None:
    groups = {row[dimension]: flat(row) for row in client.rows(USAGE, START, END, (dimension,))}
    for value in [value for value in groups if value is not None]:
        (row,) = client.rows(USAGE, START, END, (), **{parameter: value})
        assert flat(row) == groups[value]


def test_the_default_workspace_is_null_but_can_be_asked_for_by_its_id(client: Client) -> None:
    groups = {row["workspace_id"]: flat(row) for row in client.rows(USAGE, START, END, ("workspace_id",))}
    default = client.simulator.organizations["acme"].default_workspace
    (row,) = client.rows(USAGE, START, END, (), **{"workspace_ids[]": default.id})
    assert default.id not in groups
    assert flat(row) == groups[None]


def test_null_rules(client: Client) -> None:
    rows = client.rows(USAGE, START, END, ("api_key_id", "account_id", "service_account_id"))
    actors = {(bool(row["api_key_id"]), bool(row["account_id"]), bool(row["service_account_id"])) for row in rows}
    assert actors == {(True, False, False), (False, True, False), (False, False, True), (False, False, False)}
    (ungrouped,) = client.rows(USAGE, START, END)
    assert all(ungrouped[name] is None for name in (*ALL, *BY_KEY))
    assert "speed" not in ungrouped


def test_place_of_inference_is_not_available_for_old_models(client: Client) -> None:
    old = {"claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001"}
    for row in client.rows(USAGE, START, END, ("model", "inference_geo")):
        assert (row["inference_geo"] == "not_available") == (row["model"] in old)


def test_wrong_filter_values(client: Client) -> None:
    for wrong in ("service_tiers[]", "context_window[]", "inference_geos[]"):
        assert client.get(USAGE, [("starting_at", START), (wrong, "none")]).status_code == 400


def test_the_open_day_grows_with_the_clock(client: Client) -> None:
    sizes = []
    for hour, minute in ((0, 3), (9, 0), (9, 1), (23, 59)):
        client.clock.now = datetime(2026, 11, 22, hour, minute, tzinfo=UTC)
        (bucket,) = client.buckets(USAGE, day("2026-11-22"), day("2026-11-23"))
        sizes.append(total(bucket["results"])["output_tokens"])
    assert sizes[0] == 0
    assert sizes == sorted(set(sizes))


def test_usage_shows_after_five_minutes(client: Client) -> None:
    whole = sum(row.counts[4] for row in day_usage(client.simulator.organizations["acme"], date(2026, 11, 21)))

    def yesterday(minute: int, second: int) -> int:
        client.clock.now = datetime(2026, 11, 22, 0, minute, second, tzinfo=UTC)
        return total(client.rows(USAGE, day("2026-11-21"), day("2026-11-22")))["output_tokens"]

    assert yesterday(4, 59) < whole
    assert yesterday(5, 0) == whole


def test_without_an_end_the_open_bucket_is_included(client: Client) -> None:
    page = client.get(USAGE, [("starting_at", day("2026-11-21"))]).json()
    assert [bucket["starting_at"] for bucket in page["data"]] == [day("2026-11-21"), day("2026-11-22")]
    assert not page["has_more"]


def test_days_depend_on_seed_and_day_alone() -> None:
    first, second = demo_organizations(seed=7)[0], demo_organizations(seed=7)[0]
    when = date(2026, 11, 10)
    day_usage(second, date(2026, 1, 1))
    assert day_usage(first, when) == day_usage(second, when)
    assert day_usage(first, when) != day_usage(demo_organizations(seed=8)[0], when)


@pytest.mark.parametrize("when", [date(2026, 10, 28), date(2026, 11, 10), date(2026, 11, 21)])
def test_the_demo_is_of_realistic_size(when: date) -> None:
    for organization in demo_organizations():
        told = truth(organization, when)
        assert 150 < told.reported_usd < 5000
        assert told.priority_usd > 0
        rows = day_usage(organization, when)
        groups = {tuple(getattr(row, name) for name in ALL) for row in rows}
        assert 60 <= len(groups) <= 250
        assert 5 <= len({row.model for row in rows}) <= 8
        assert not [row for row in rows if row.speed == "fast" and row.service_tier != "standard"]


def test_a_priority_share_of_acme() -> None:
    tokens = truth(demo_organizations()[0], date(2026, 11, 10)).tokens
    share = sum(count for (_, tier, _), count in tokens.items() if tier == "priority") / sum(tokens.values())
    assert 0.2 <= share <= 0.3


def test_every_day_since_the_start_has_a_price() -> None:
    acme, _ = demo_organizations()
    for ordinal in range(date(2025, 8, 18).toordinal(), date(2026, 12, 15).toordinal(), 3):
        assert truth(acme, date.fromordinal(ordinal)).reported_usd > 0
