"""What the source refuses costs a tenant that much and no more: a cursor, one scope, the old days of one query."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from stax_pipeline.alerts.causes import Kind
from stax_pipeline.alerts.facts import judge
from stax_pipeline.checks.conservation import USAGE_READINGS_AGREE
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.simulator import faults
from stax_pipeline.simulator.faults import Fault
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import (
    COST,
    DAYS,
    USAGE,
    content,
    errors,
    execute,
    query,
    status,
    sync,
    true_usd,
    two_tenants,
    usd_by_day,
)
from stax_pipeline_tests.pipeline.test_history import replayed

CLOSED = DAYS.days[:-1]
SCOPE = "lacks the scope read:members"


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        yield installation


def refuse(made: Installation, fault: Fault, path: str, **more: object) -> None:
    more = {"times": None, **more}
    made.simulator.faults.add(fault, key=made.simulator.keys["acme"], path=path, **more)  # type: ignore[arg-type]


def kinds_of_alerts(made: Installation) -> set[Kind]:
    with made.engine.connect() as connection:
        return {cause.kind for cause in judge(connection, made.settings, made.clock.now, {}).causes}


def days_of(made: Installation, table: str) -> list[date]:
    sql = f"select distinct usage_date from stax.{table} join stax.tenants using (tenant_id) where slug = 'acme'"
    return sorted(row.usage_date for row in query(made, sql))


def asked(made: Installation, path: str) -> int:
    hint = made.simulator.keys["acme"][-4:]
    return sum(request.path == path and request.key_hint == hint for request in made.simulator.requests)


class TestPageCursor:
    SIXTY = Window(DAYS.end - timedelta(days=61), DAYS.end)  # sixty complete days in two pages, and the open one

    @pytest.fixture
    def made(self, stax_home: Path) -> Iterator[Installation]:
        with two_tenants(stax_home) as installation:
            yield installation

    @pytest.mark.parametrize("path", [COST, USAGE])
    def test_a_cursor_that_is_gone_once_costs_no_day(self, made: Installation, path: str) -> None:
        refuse(made, faults.cursor_gone(), path, when=faults.later_page, times=1)
        ran = sync(made, self.SIXTY)
        assert ran.failures == {}
        assert [words for words in ran.findings if "read twice" in words and "410" in words]
        assert usd_by_day(made, "acme", "reported") == true_usd(made, "acme", self.SIXTY.days[:-1])
        assert days_of(made, "usage_by_key") == self.SIXTY.days

    def test_the_second_time_stops_this_report_of_this_tenant(self, made: Installation) -> None:
        refuse(made, faults.cursor_gone(), COST, when=faults.later_page)
        ran = sync(made, self.SIXTY)
        assert list(ran.failures) == ["acme"]
        assert "cursor expired" in errors(made, "acme")[0]
        assert days_of(made, "usage_lines") == self.SIXTY.days
        assert usd_by_day(made, "globex", "reported") == true_usd(made, "globex", self.SIXTY.days[:-1])


class TestOneScope:
    @pytest.mark.parametrize(
        ("path", "table"), [("users", "members"), ("api_keys", "api_keys"), ("workspaces", "workspaces")]
    )
    @pytest.mark.parametrize("times", [1, 2], ids=["first run", "next run"])
    def test_one_list_is_missing_and_nothing_else(self, made: Installation, path: str, table: str, times: int) -> None:
        whole = content(made, "acme")
        for _ in range(times - 1):
            sync(made)
            whole = content(made, "acme")
            execute(made, "update stax.extractions set window_start = window_start - 1, window_end = window_end - 1"
                    " where report = 'organization'")  # as of yesterday: names are read once a day  # fmt: skip
        refuse(made, faults.missing_scope("read:members"), f"organizations/{path}")
        ran = sync(made)
        assert list(ran.failures) == ["acme"]
        [why] = ran.failures["acme"]
        assert SCOPE in why
        assert f"GET /v1/organizations/{path}" in why
        assert status(made, "acme") == "connected"
        assert usd_by_day(made, "acme", "reported") == true_usd(made, "acme", CLOSED)
        for other in {"workspaces", "api_keys", "members"} - {table}:
            assert content(made, "acme")[other]
        assert content(made, "acme")[table] == whole[table]
        assert kinds_of_alerts(made).isdisjoint({Kind.KEY_REJECTED, Kind.TENANT_LATE})
        assert asked(made, f"/v1/organizations/{path}") <= times + (path == "workspaces") * (times - 1)
        assert [why] == errors(made, "acme")

    def test_a_list_that_an_organization_does_not_offer_makes_it_no_individual_account(
        self, made: Installation
    ) -> None:
        fault = faults.error_envelope("invalid_request_error", 400, "organization_type_not_supported")
        refuse(made, fault, "organizations/users")
        [why] = sync(made).failures["acme"]
        assert "organization_type_not_supported" in why and "ndividual account" not in why

    def test_a_key_of_the_default_workspace_is_known_without_the_list_of_workspaces(self, made: Installation) -> None:
        sync(made)
        before = content(made, "acme")["api_keys"]
        refuse(made, faults.missing_scope("read:workspaces"), "organizations/workspaces")
        execute(made, "delete from stax.api_keys")
        sync(made)
        assert content(made, "acme")["api_keys"] == before

    def test_the_run_after_that_without_a_name_asks_the_tenant_again_and_all_is_well(self, made: Installation) -> None:
        refuse(made, faults.missing_scope("read:members"), "organizations/users", times=1)
        sync(made)
        assert sync(made).failures == {}
        assert content(made, "acme")["members"]

    def test_without_any_list_the_names_fail_and_the_figures_stand(self, made: Installation) -> None:
        for path in ("users", "api_keys", "workspaces"):
            refuse(made, faults.missing_scope("org:read"), f"organizations/{path}")
        ran = sync(made)
        assert len(ran.failures["acme"]) == 1
        assert status(made, "acme") == "connected"
        assert usd_by_day(made, "acme", "reported") == true_usd(made, "acme", CLOSED)

    def test_a_refusal_in_the_middle_of_a_list_is_no_missing_list(self, made: Installation) -> None:
        """Half a list must not pass for a whole one."""
        more = Fault(change=lambda page, token: page.update(has_more=True))
        refuse(made, more, "organizations/users", times=1)
        refuse(made, faults.missing_scope("read:members"), "organizations/users", nth=2)
        sync(made)
        assert content(made, "acme")["members"] == []
        assert status(made, "acme") == "connected"

    @pytest.mark.parametrize("path", ["organizations/me", "cost_report", "usage_report/messages"])
    def test_where_every_key_is_let_in_403_rejects_it(self, made: Installation, path: str) -> None:
        refuse(made, faults.missing_scope("org:admin"), path)
        sync(made)
        assert status(made, "acme") == "key_rejected"
        assert Kind.KEY_REJECTED in kinds_of_alerts(made)

    def test_401_rejects_the_key_wherever_it_comes(self, made: Installation) -> None:
        refuse(made, faults.status(401), "organizations/users")
        sync(made)
        assert status(made, "acme") == "key_rejected"


class TestTheOrganizationItself:
    def test_an_account_that_lost_its_organization_is_told_so(self, made: Installation) -> None:
        refuse(made, faults.status(404), "organizations/me")
        sync(made)
        assert all("individual accounts have no Admin API; set up an organization" in e for e in errors(made, "acme"))
        assert status(made, "acme") == "connected"

    def test_a_spend_limit_of_its_contract_is_asked_about_once_a_report(self, made: Installation) -> None:
        limit = faults.error_envelope("rate_limit_error", 429, "contract_spend_limit_reached")
        refuse(made, limit, "cost_report")
        sync(made)
        assert asked(made, COST) == 1
        assert "paused by the provider until that limit is raised" in errors(made, "acme")[0]
        assert days_of(made, "usage_lines") == DAYS.days


class TestOldDaysOfOneQuery:
    MONTH = Window(DAYS.end - timedelta(days=31), DAYS.end)

    def no_key_before(self, made: Installation, first: date) -> None:
        words = f"group_by[] account_id is not available before {first}"
        fault = faults.error_envelope("invalid_request_error", 400, message=words)
        refuse(made, fault, USAGE, when=faults.groups_before("account_id", first))

    @pytest.mark.parametrize("back", [1, 2, 9, 30])
    def test_usage_is_whole_and_by_key_from_the_first_day_that_answers(self, made: Installation, back: int) -> None:
        first = self.MONTH.end - timedelta(days=back)
        self.no_key_before(made, first)
        ran = sync(made, self.MONTH)
        assert ran.failures == {}
        assert days_of(made, "usage_lines") == self.MONTH.days
        assert days_of(made, "usage_by_key") == [day for day in self.MONTH.days if day >= first]
        [told] = [words for words in ran.findings if words.startswith("usage by key is known")]
        last = first - timedelta(days=1)
        assert f"known from {first} on only, not for {self.MONTH.start} to {last}: " in told
        assert f"not available before {first}" in told
        assert asked(made, USAGE) <= 3 + 6
        with made.engine.connect() as connection:
            assert run_rule(connection, USAGE_READINGS_AGREE, self.MONTH, made.clock.now, made.settings).holds

    def test_where_no_day_answers_two_requests_say_so(self, made: Installation) -> None:
        self.no_key_before(made, self.MONTH.end + timedelta(days=9))
        ran = sync(made, self.MONTH)
        assert ran.failures == {}
        assert days_of(made, "usage_lines") == self.MONTH.days
        assert days_of(made, "usage_by_key") == []
        assert [words for words in ran.findings if words.startswith("usage by key is not known for ")]
        assert asked(made, USAGE) == 2 + 2

    def test_what_was_known_by_key_stays_and_a_difference_is_still_seen(self, made: Installation) -> None:
        sync(made)
        before = content(made, "acme")
        self.no_key_before(made, DAYS.days[-1])
        assert sync(made).failures == {}
        assert content(made, "acme")["usage_by_key"] == before["usage_by_key"]
        execute(
            made, "update stax.usage_by_key set output_tokens = output_tokens + 1 where usage_date = :d", d=CLOSED[0]
        )
        with made.engine.connect() as connection:
            found = run_rule(connection, USAGE_READINGS_AGREE, DAYS, made.clock.now, made.settings)
        assert {row[1] for row in found.rows} == {CLOSED[0]}

    def test_a_replay_keeps_what_was_known_by_key(self, made: Installation) -> None:
        self.no_key_before(made, CLOSED[1])
        sync(made)
        made.simulator.faults.clear()
        self.no_key_before(made, CLOSED[2])
        sync(made)
        before = content(made)
        assert days_of(made, "usage_by_key") == DAYS.days[1:]
        assert all(not outcome.failures for outcome in replayed(made))
        assert content(made) == before

    def test_fast_use_too_is_known_from_the_first_day_that_answers(self, made: Installation) -> None:
        first = CLOSED[-1]
        fault = faults.error_envelope("invalid_request_error", 400, message="speeds[] is not available")
        refuse(
            made, fault, USAGE,
            when=lambda params: ("speeds[]", "fast") in params and dict(params)["starting_at"][:10] < f"{first}",
        )  # fmt: skip
        ran = sync(made)
        assert ran.failures == {}
        assert [words for words in ran.findings if words.startswith(f"speed is known from {first} on only")]
        lines = "stax.usage_lines join stax.tenants using (tenant_id) where slug = 'acme'"
        speeds = {(row.usage_date, row.speed) for row in query(made, f"select usage_date, speed from {lines}")}
        assert {speed for day, speed in speeds if day < first} == {""}
        assert {speed for day, speed in speeds if day >= first} == {"standard", "fast"}

    def test_another_query_that_is_refused_stops_the_report(self, made: Installation) -> None:
        refuse(made, faults.status(400), USAGE)
        ran = sync(made)
        assert list(ran.failures) == ["acme"]
        assert days_of(made, "usage_lines") == []
        assert errors(made, "acme")[0].startswith("Anthropic answered 400")
        assert query(made, "select 1 from stax.extractions where report = :r and error is null", r=Report.COST)
