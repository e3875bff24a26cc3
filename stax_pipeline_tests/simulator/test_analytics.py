"""The newer source: what it refuses, how it pages, and that its figures are those of the reports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from stax_pipeline.simulator import Simulator, realistic_organization, truth
from stax_pipeline_tests.simulator.conftest import BETA as FAST
from stax_pipeline_tests.simulator.conftest import Client, Clock, Pairs, day

COST, USAGE = "/v1/organizations/analytics/cost", "/v1/organizations/analytics/usage"
BETA = "analytics-usage-cost-2026-08-24"
RANGE: Pairs = [("starting_at", day("2026-11-18")), ("ending_at", day("2026-11-21")), ("time_bucket_width", "1d")]
DAYS = (date(2026, 11, 18), date(2026, 11, 19), date(2026, 11, 20))
FIVE = ("workspace_id", "model", "service_tier", "context_window", "inference_geo")
Rows = list[dict[str, Any]]


def grouped(*names: str) -> Pairs:
    return [("group_by[]", name) for name in names]


def ask(client: Client, path: str, params: Pairs, beta: str = BETA) -> httpx.Response:
    return client.get(path, params, anthropic_beta=beta)


def walked(client: Client, path: str, params: Pairs) -> Iterator[Rows]:
    """The pages' rows, to the end."""
    token: str | None = None
    while True:
        answer = ask(client, path, params + ([("page", token)] if token else []))
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert page["data_refreshed_at"] == client.clock.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        yield page["data"]
        token = page["next_page"]
        assert (token is not None) is page["has_more"]
        if token is None:
            return


def rows(client: Client, path: str, params: Pairs) -> Rows:
    return [row for page in walked(client, path, [*params, ("limit", "1000")]) for row in page]


def by_day(found: Rows, *path: str) -> dict[date, Decimal]:
    sums: dict[date, Decimal] = defaultdict(Decimal)
    for row in found:
        value: Any = row
        for name in path:
            value = value[name]
        sums[date.fromisoformat(row["starting_at"][:10])] += Decimal(value)
    return dict(sums)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ([*RANGE, ("bucket_width", "1d")], "bucket_width"),
        ([*RANGE, *grouped(*FIVE, "speed")], "at most 5"),
        ([*RANGE, *grouped("nonsense")], "group_by"),
        ([*RANGE[:1], ("ending_at", day("2026-12-20"))], "31 days"),
        ([RANGE[0], RANGE[2]], "ending_at"),
        ([RANGE[1]], "starting_at"),
        ([("starting_at", day("2025-12-31")), *RANGE[1:]], "2026-01-01"),
        ([*RANGE, ("limit", "1001")], "limit"),
        ([*RANGE, ("order_by", "model")], "order_by"),
        ([*RANGE, ("page", "page_bm9uc2Vuc2U")], "page"),
        ([*RANGE, ("exclude_deleted_users", "true")], "actor"),
        ([*RANGE[:2], ("time_bucket_width", "1m")], "24 hours"),
        ([("starting_at", "2026-11-18T00:00:00"), *RANGE[1:]], "timezone"),
        ([RANGE[1], ("starting_at", day("2026-11-21")), RANGE[2]], "after"),
    ],
)
@pytest.mark.parametrize("path", [COST, USAGE])
def test_what_is_wrong_is_a_400_that_says_so(client: Client, path: str, params: Pairs, words: str) -> None:
    answer = ask(client, path, params)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("beta", ["", FAST])
def test_without_its_beta_header_it_is_closed(client: Client, beta: str) -> None:
    assert BETA in ask(client, COST, RANGE, beta).json()["error"]["message"]


def test_it_looks_back_365_days_and_no_further(client: Client) -> None:
    client.clock.now = datetime(2027, 3, 1, 12, tzinfo=UTC)
    for first, status in (("2026-03-01T11:00:00Z", 400), ("2026-03-02T00:00:00Z", 200)):
        params = [("starting_at", first), ("ending_at", day("2026-03-03")), RANGE[2]]
        assert ask(client, USAGE, params).status_code == status


def test_cost_type_and_token_type_do_not_count_among_the_five(client: Client) -> None:
    found = rows(client, COST, [*RANGE, *grouped(*FIVE, "cost_type", "token_type")])
    assert {row["group"]["cost_type"] for row in found} == {"tokens", "web_search", "code_execution", "session_usage"}
    assert {row["group"]["token_type"] is None for row in found if row["group"]["cost_type"] == "tokens"} == {False}
    assert {row["cost"]["requests"] for row in found} == {None}
    assert ask(client, USAGE, [*RANGE, *grouped("cost_type")]).status_code == 400


def test_amounts_are_those_of_the_cost_report_and_never_of_the_priority_tier(client: Client) -> None:
    acme = client.simulator.organizations["acme"]
    for groups in ((*FIVE, "cost_type", "token_type"), ("api_key_id",), ("actor", "speed"), ()):
        found = rows(client, COST, [*RANGE, *grouped(*groups)])
        assert by_day(found, "cost", "amount") == {d: truth(acme, d).reported_usd * 100 for d in DAYS}
    assert "priority" not in {row["group"]["service_tier"] for row in rows(client, COST, [*RANGE, *grouped(*FIVE)])}


def test_tokens_are_those_of_the_usage_report(client: Client) -> None:
    acme = client.simulator.organizations["acme"]
    for groups in (FIVE, ("api_key_id", "actor", *FIVE[:3]), ("speed", "product")):
        found = rows(client, USAGE, [*RANGE, *grouped(*groups)])
        assert by_day(found, "usage", "total_tokens") == {d: sum(truth(acme, d).tokens.values()) for d in DAYS}
    fast = rows(client, USAGE, [*RANGE, ("speeds[]", "fast"), *grouped("speed")])
    assert {row["group"]["speed"] for row in fast} == {"fast"}


def test_the_default_workspace_has_its_real_id_and_unknown_geography_is_null(client: Client) -> None:
    acme = client.simulator.organizations["acme"]
    groups = [row["group"] for row in rows(client, USAGE, [*RANGE, *grouped(*FIVE)])]
    assert acme.default_workspace.id in {group["workspace_id"] for group in groups}
    assert None not in {group["workspace_id"] for group in groups}
    assert {group["inference_geo"] for group in groups} == {"global", "us", None}
    null = rows(client, USAGE, [*RANGE, ("inference_geos[]", "not_available"), *grouped("inference_geo")])
    assert {row["group"]["inference_geo"] for row in null} == {None}


def test_actors_are_objects_by_kind(client: Client) -> None:
    actors = [row["group"]["actor"] for row in rows(client, USAGE, [*RANGE, *grouped("actor")])]
    assert {actor and actor["type"] for actor in actors} == {
        "user_actor", "api_actor", "service_account_actor", None,
    }  # fmt: skip
    users = [actor for actor in actors if actor and actor["type"] == "user_actor"]
    assert users
    assert all(set(user) == {"type", "user_id", "name", "email_address", "deleted"} for user in users)


def test_an_empty_day_is_missing_and_code_execution_has_requests_without_tokens(client: Client) -> None:
    early = [("starting_at", day("2026-11-21")), ("ending_at", day("2026-11-24")), RANGE[2]]
    assert by_day(rows(client, COST, early), "cost", "amount").keys() == {date(2026, 11, 21), date(2026, 11, 22)}
    idle = [row for row in rows(client, USAGE, [*RANGE, *grouped(*FIVE)]) if not row["usage"]["total_tokens"]]
    assert idle
    assert all(row["usage"]["requests"] > 0 and row["group"]["model"] is None for row in idle)


def test_rows_come_by_amount_unless_asked_by_time(client: Client) -> None:
    params = [*RANGE, *grouped(*FIVE)]
    amounts = [Decimal(row["cost"]["amount"]) for row in rows(client, COST, params)]
    assert amounts == sorted(amounts, reverse=True)
    times = [row["starting_at"] for row in rows(client, COST, [*params, ("order_by", "time"), ("order", "asc")])]
    assert times == sorted(times)
    assert len(set(times)) == len(DAYS)


def test_pages_are_by_rows_and_a_page_may_be_longer_by_its_fan_out(client: Client) -> None:
    params = [*RANGE, *grouped("workspace_id", "cost_type", "token_type")]
    pages = list(walked(client, COST, [*params, ("limit", "2")]))
    assert len(pages) > 2
    assert len(pages[0]) > 2
    assert [row for page in pages for row in page] == rows(client, COST, params)
    assert len(ask(client, COST, [*RANGE, *grouped(*FIVE)]).json()["data"]) == 20


def test_a_token_belongs_to_its_query(client: Client) -> None:
    token = ask(client, COST, [*RANGE, *grouped("model"), ("limit", "1")]).json()["next_page"]
    changed = ask(client, COST, [*RANGE, *grouped("model"), ("limit", "2"), ("page", token)])
    assert changed.status_code == 400


def test_discount_lowers_the_amount_alone_and_priority_money_appears_on_request() -> None:
    clock = Clock()
    organization = realistic_organization(
        "acme", priority_share=0.25, discount=Decimal("0.1"), priority_in_analytics=True, daily_tokens=100_000_000
    )
    with (
        Simulator([organization], clock=clock) as simulator,
        httpx.Client(base_url=simulator.base_url, trust_env=False) as http,
    ):
        client = Client(simulator, clock, http, simulator.keys["acme"])
        found = rows(client, COST, [*RANGE, *grouped("service_tier", "cost_type")])
    for row in found:
        assert Decimal(row["cost"]["amount"]) == Decimal(row["cost"]["list_amount"]) * Decimal("0.9")
    tokens = {"priority": "tokens"}
    priority = [r for r in found if tokens.get(r["group"]["service_tier"] or "") == r["group"]["cost_type"]]
    expected = {d: truth(organization, d).priority_usd * 100 for d in DAYS}
    assert by_day(priority, "cost", "list_amount") == expected
