"""What the newer source may not do: each broken promise stops that tenant alone, with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stax_pipeline.simulator import faults
from stax_pipeline.simulator.faults import Fault
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.analytics_support import CLOSED, COST, USAGE, Page, edit, gaps, holds, reading
from stax_pipeline_tests.pipeline.support import errors, query, sync, true_usd, usd_by_day


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with reading(stax_home, "analytics") as opened:
        yield opened


class TestGuards:
    @pytest.mark.parametrize(
        ("path", "fault", "words"),
        [
            (COST, faults.has_more_without_token(), "has_more is true without a next_page"),
            (COST, faults.missing_field("list_amount"), "list_amount is missing"),
            (COST, faults.missing_field("group"), "group is missing"),
            (COST, faults.nan_amount(), "not a decimal string"),
            (COST, faults.currency(), "is not USD"),
            (USAGE, faults.missing_field("cache_creation"), "cache_creation is missing"),
            (USAGE, faults.missing_field("total_tokens"), "total_tokens"),
            (USAGE, faults.missing_field("workspace_id"), "workspace_id is missing from group"),
            (USAGE, faults.missing_field("starting_at"), "starting_at is missing"),
        ],
    )
    def test_what_breaks_the_contract_stops_that_tenant_alone(
        self, made: Installation, path: str, fault: Fault, words: str
    ) -> None:
        made.simulator.faults.add(fault, key=made.simulator.keys["acme"], path=path, times=None)
        ran = sync(made)
        assert list(ran.failures) == ["acme"]
        assert any(words in reason for reason in errors(made, "acme")), errors(made, "acme")
        assert usd_by_day(made, "globex", "reported") == true_usd(made, "globex", CLOSED)

    def test_a_token_type_nobody_knows_is_not_lost(self, made: Installation) -> None:
        def more(page: Page) -> None:
            page["data"][0]["usage"]["total_tokens"] += 1

        edit(USAGE, more, made, key=made.simulator.keys["acme"], times=None)
        assert "a type is missing" in sync(made).failures["acme"][0]

    def test_a_walk_that_goes_in_circles_is_stopped(self, made: Installation) -> None:
        made.simulator.faults.add(faults.repeated_token(), key=made.simulator.keys["acme"], path=COST, times=None)
        assert "repeats an earlier page's cursor" in sync(made).failures["acme"][0]

    def test_a_row_that_changes_while_reading_is_read_once_more(self, made: Installation) -> None:
        def twice(page: Page) -> None:
            row = page["data"][0]
            page["data"].append({**row, "cost": {**row["cost"], "amount": "1"}})

        edit(COST, twice, made, key=made.simulator.keys["acme"])
        ran = sync(made)
        assert ran.failures == {}
        assert any("read twice" in words for words in ran.findings)
        assert usd_by_day(made, "acme", "reported") == true_usd(made, "acme", CLOSED)

    def test_a_row_that_comes_twice_word_for_word_counts_once(self, made: Installation) -> None:
        edit(COST, lambda page: page["data"].append(page["data"][0]), made, key=made.simulator.keys["acme"])
        ran = sync(made)
        assert ran.failures == {}
        assert any("1 row came twice" in words for words in ran.findings)
        assert usd_by_day(made, "acme", "reported") == true_usd(made, "acme", CLOSED)
        assert gaps(made) == []

    def test_a_default_workspace_that_cannot_be_told_stops_the_tenant(self, made: Installation) -> None:
        def hide(page: Page) -> None:
            page["data"] = [space for space in page["data"] if space["name"] != "Default"]

        edit("/v1/organizations/workspaces", hide, made, key=made.simulator.keys["acme"], times=None)
        ran = sync(made)
        assert list(ran.failures) == ["acme"]
        assert "the default workspace cannot be told" in ran.failures["acme"][0]
        assert usd_by_day(made, "globex", "reported") == true_usd(made, "globex", CLOSED)

    def test_enterprise_use_without_a_workspace_is_kept_apart_from_the_default_one(self, made: Installation) -> None:
        acme = made.simulator.organizations["acme"]

        def homeless(page: Page) -> None:
            for row in page["data"]:
                if row["group"]["workspace_id"] == acme.default_workspace.id:
                    row["group"]["workspace_id"] = None

        for path in (COST, USAGE):
            edit(path, homeless, made, key=made.simulator.keys["acme"], times=None)
        assert sync(made).failures == {}
        for table in ("cost_lines", "usage_lines", "usage_by_key", "spend", "spend_by_key"):
            rows = query(made, f"select distinct workspace_id from stax.{table} join stax.tenants using (tenant_id) "
                               "where slug = 'acme'")  # fmt: skip
            spaces = {row.workspace_id for row in rows}
            assert "" in spaces, table
            assert "default" not in spaces, table
        assert usd_by_day(made, "acme", "reported") == true_usd(made, "acme", CLOSED)
        assert (holds(made), gaps(made)) == ([], [])
