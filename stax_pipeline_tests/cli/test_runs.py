"""What a run in this process tells: one failure per tenant and reason, with the reports that failed for it."""

from __future__ import annotations

import warnings
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from stax_pipeline.cli.runs import Ran, _quiet, _read, run_sync
from stax_pipeline.definitions import defs
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.failures import Failure
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.conftest import NOON, Installation
from stax_pipeline_tests.derive.builders import DAY

OVERLOADED = "Anthropic answered 529 overloaded_error to GET /v1/{}: Overloaded (request req_{}) after {} tries"
FIRST = OVERLOADED.format("organizations/me", "011", 8)


@pytest.fixture
def ran() -> Ran:
    ran = Ran("run", Window(DAY, DAY), True)
    ran.add_failure("initech", FIRST, "raw_cost_report")
    return ran


def test_one_outage_is_one_failure_whatever_path_request_and_count_it_names(ran: Ran) -> None:
    for asset, path, number, tries in (("raw_usage_report", "organizations/usage_report/messages", "012", 7),
                                       ("raw_organization", "organizations/me", "013", 1),
                                       ("raw_organization", "organizations/me", "013", 1)):  # fmt: skip
        ran.add_failure("initech", OVERLOADED.format(path, number, tries), asset)
    assert ran.failures == {"initech": [Failure(FIRST, ["cost_report", "usage_report", "organization"])]}


def test_instants_to_come_back_at_do_not_tell_reasons_apart(ran: Ran) -> None:
    for minute in (1, 2):
        until = f"; it asks to be left alone until 2026-11-22 10:0{minute}:00 UTC"
        ran.add_failure("acme", FIRST + until, f"asset_{minute}")
    assert [failure.where for failure in ran.failures["acme"]] == [["asset_1", "asset_2"]]


@pytest.mark.parametrize("other", [OVERLOADED.replace("529", "500"), OVERLOADED.replace("Overloaded", "Busy"), "x"])
def test_another_status_or_word_is_another_reason(ran: Ran, other: str) -> None:
    ran.add_failure("initech", other.format("x", "1", 2), "raw_usage_report")
    assert len(ran.failures["initech"]) == 2


def test_every_tenant_that_the_last_check_names_failed_however_few_reasons_are_told() -> None:
    slugs = {f"tenant-{number}" for number in range(60)}
    check = SimpleNamespace(
        passed=False,
        check_name="all_tenants_extracted",
        severity=dg.AssetCheckSeverity.ERROR,
        description="failed for 60 of 90 tenants",
        metadata={"tenants": dg.MetadataValue.text(", ".join(sorted(slugs)))},
    )
    told: Any = SimpleNamespace(
        is_job_success=True,
        is_step_failure=False,
        is_step_materialization=False,
        event_type_value="ASSET_CHECK_EVALUATION",
        asset_check_evaluation_data=check,
    )
    ran = _read("run", [told], Window(DAY, DAY))
    assert (ran.success, ran.clean, ran.lacking) == (True, False, slugs)


def test_a_range_of_days_is_planned_by_one_event_per_asset_and_made_by_one_per_asset_and_day(
    installation: Installation,
) -> None:
    installation.add_tenant("globex")
    days = Window(NOON.date() - timedelta(days=4), NOON.date())
    ran = run_sync(installation.settings, days)
    assert ran.success
    counted = sa.text(
        "select count(*), count(distinct asset_key) from dagster.event_logs"
        " where run_id = :run and dagster_event_type = :kind and asset_key like :asset"
    )
    engine = sa.create_engine(logins(installation.settings).dagster)
    with engine.connect() as connection:

        def events(kind: str, asset: str = "%") -> tuple[int, int]:
            about = {"run": ran.run_id, "kind": kind, "asset": asset}
            number, assets = connection.execute(counted, about).one()
            return number, assets

        assets = len(defs.resolve_job_def("sync").asset_layer.executable_asset_keys)
        assert events("ASSET_MATERIALIZATION_PLANNED") == (assets, assets)
        assert events("ASSET_MATERIALIZATION", '["spend"]') == (len(days.days), 1)
    engine.dispose()


@pytest.mark.parametrize("verbose", [False, True])
def test_a_warning_that_nobody_foresaw_is_shown_during_a_run(verbose: bool) -> None:
    with pytest.warns(UserWarning, match="something new"), _quiet(verbose):
        warnings.warn("something new", stacklevel=1)
