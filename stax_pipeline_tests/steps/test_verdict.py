"""What is said of a run's tenants: one row per tenant and reason with its mend, and when nothing arrived at all."""

from __future__ import annotations

import pytest

from stax_pipeline.domain.next_step import next_step
from stax_pipeline.steps.verdict import LEFT_OUT, Verdict, judge

REFUSED = "Anthropic answered 401 authentication_error to GET /v1/{}: invalid x-api-key (request req_{})"
ACME = {"acme": [("raw_cost_report", "404")]}


def test_a_reason_is_told_once_with_every_asset_that_met_it() -> None:
    found = [
        ("raw_cost_report", REFUSED.format("a", 1)),
        ("raw_usage_report", REFUSED.format("b", 2)),
        ("spend", "odd"),
    ]
    verdict = judge(["acme", "globex"], [], {"acme": found}, {"globex"}, {"acme"})
    assert [row[:3] for row in verdict.rows] == [
        ("acme", "raw_cost_report, raw_usage_report", REFUSED.format("a", 1)),
        ("acme", "spend", "odd"),
    ]
    assert all("`stax rotate-key acme`" in row[3] for row in verdict.rows)
    assert (str(verdict), verdict.is_nothing_arrived) == ("failed for 1 of 2 tenants: acme", False)
    assert str(judge(["acme"], [], {"acme": found}, set(), set())) == "failed for 1 of 1 tenant: acme"


def test_tenants_that_a_run_leaves_out_are_told_with_their_mend() -> None:
    mend = next_step("globex", "", key_rejected=True)
    verdict = judge(["acme"], ["globex"], {}, {"acme"}, {"globex"})
    assert verdict == Verdict([("globex", "", LEFT_OUT, mend)], 2, False)
    assert str(verdict) == "failed for 1 of 2 tenants: globex"


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
