"""What is said of a run's tenants: one row per tenant and reason with its mend, and when nothing arrived at all."""

from __future__ import annotations

import pytest

from stax_pipeline.domain.next_step import next_step
from stax_pipeline.pipeline.run_result import LEFT_OUT, RunResult, in_words, judge

REFUSED = "Anthropic answered 401 authentication_error to GET /v1/{}: invalid x-api-key (request req_{})"
ACME = {"acme": [("raw_cost_report", "404")]}


def test_a_reason_is_told_once_with_every_asset_that_met_it() -> None:
    found = [
        ("raw_cost_report", REFUSED.format("a", 1)),
        ("raw_usage_report", REFUSED.format("b", 2)),
        ("spend", "odd"),
    ]
    result = judge(["acme", "globex"], [], {"acme": found}, {"globex"}, {"acme"})
    assert [row[:3] for row in result.rows] == [
        ("acme", "raw_cost_report, raw_usage_report", REFUSED.format("a", 1)),
        ("acme", "spend", "odd"),
    ]
    assert all("`stax rotate-key acme`" in row[3] for row in result.rows)
    assert (str(result), result.is_nothing_arrived) == ("failed for 1 of 2 tenants: acme", False)
    assert str(judge(["acme"], [], {"acme": found}, set(), set())) == "failed for 1 of 1 tenant: acme"


def test_tenants_that_a_run_leaves_out_are_told_with_their_mend() -> None:
    mend = next_step("globex", "", key_rejected=True)
    result = judge(["acme"], ["globex"], {}, {"acme"}, {"globex"})
    assert result == RunResult([("globex", "", LEFT_OUT, mend)], 2, False)
    assert str(result) == "failed for 1 of 2 tenants: globex"


def test_who_failed_and_who_was_left_out_are_one_count_of_all_tenants() -> None:
    assert str(judge(["acme"], ["globex"], ACME, set(), {"globex"})) == "failed for 2 of 2 tenants: acme, globex"


@pytest.mark.parametrize(
    ("chosen", "left_out", "failures", "arrived", "nothing"),
    [
        ([], [], {}, set(), False),
        ([], ["acme"], {}, set(), True),
        (["acme"], [], ACME, set(), True),
        (["acme"], [], ACME, {"acme"}, False),
        (["acme"], [], {}, set(), False),
        (["acme", "globex"], [], ACME, set(), False),
        (["acme"], ["globex"], ACME, set(), True),
    ],
)
def test_nothing_arrived_when_every_tenant_failed_and_none_got_a_report(
    chosen: list[str], left_out: list[str], failures: dict[str, list[tuple[str, str]]], arrived: set[str], nothing: bool
) -> None:
    assert judge(chosen, left_out, failures, arrived, set()).is_nothing_arrived is nothing


def test_in_words_each_tenant_has_its_reason_and_its_mend_and_no_dollars() -> None:
    rows = [("acme", "spend", "shrunk from $12.50 to $3", "Run it."), ("globex", "", "named `stax sync globex`.", "")]
    assert in_words(rows) == "acme: shrunk from $… to $…. Run it.\nglobex: named `stax sync globex`."


@pytest.mark.parametrize(("rows", "end"), [(20, "t19: odd. mend 19"), (23, "and 3 more: `stax status` names each.")])
def test_in_words_twenty_are_told_and_the_rest_are_counted(rows: int, end: str) -> None:
    told = in_words([(f"t{n:02}", "spend", "odd", f"mend {n}") for n in range(rows)]).splitlines()
    assert told[:20] == [f"t{n:02}: odd. mend {n}" for n in range(20)]
    assert (len(told), told[-1]) == (min(rows, 21), end)
