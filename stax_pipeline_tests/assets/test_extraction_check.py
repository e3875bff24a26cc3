"""How a run ends: red when no tenant got anything, green with names when some did, always of this run's own tenants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from stax_pipeline.assets.metadata import FAILED_TENANTS
from stax_pipeline.definitions import defs
from stax_pipeline.domain.extraction import Window
from stax_pipeline.simulator import faults
from stax_pipeline_tests.assets.support import DAYS, NOW, TODAY, run
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import COST, USAGE, errors, execute, query, status, two_tenants

CHECK = "all_tenants_extracted"
OF_TODAY = Window(TODAY, DAYS.end)


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home, now=NOW) as installation:
        execute(installation, "update stax.tenants set created_at = now() - interval '2 minutes'")
        yield installation


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def check_result(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    [found] = [e for e in result.get_asset_check_evaluations() if e.check_name == CHECK]
    return found


def records(value: Any) -> list[dict[str, Any]]:
    return [dict(record.data) for record in value.records]


def steps(result: dg.ExecuteInProcessResult) -> list[str]:
    return [event.step_key for event in result.all_events if event.is_step_start and event.step_key]


def publishes(made: Installation) -> int:
    return int(query(made, "select count(*) as n from stax.spend")[0].n)


class TestNothingArrived:
    def test_the_run_fails_in_its_last_step_and_skips_nothing(
        self, made: Installation, instance: dg.DagsterInstance
    ) -> None:
        run(instance)
        before = publishes(made)
        made.simulator.faults.add(faults.status(404), times=None)
        failed = run(instance)
        assert not failed.success
        kept = instance.get_run_by_id(failed.run_id)
        assert kept and kept.status is dg.DagsterRunStatus.FAILURE
        assert kept.tags[FAILED_TENANTS] == "acme, globex"
        assert [event.step_key for event in failed.all_events if event.is_step_failure] == [CHECK]
        assert not [event for event in failed.all_events if event.event_type_value == "STEP_SKIPPED"]
        assert steps(failed)[-1] == CHECK
        assert len(failed.get_asset_check_evaluations()) == len(defs.resolve_asset_graph().asset_check_keys)
        assert publishes(made) == before

    def test_the_failure_is_not_retried_and_says_what_to_do(
        self, made: Installation, instance: dg.DagsterInstance
    ) -> None:
        for key in made.simulator.keys.values():
            made.simulator.revoke(key)
        failed = run(instance)
        [event] = [event for event in failed.all_events if event.is_step_failure]
        told = event.step_failure_data.user_failure_data
        assert told
        [first, *each] = str(told.description).splitlines()
        assert first.startswith("No tenant got any report in this run.")
        assert [line.partition(":")[0] for line in each] == ["acme", "globex"]
        for line, slug in zip(each, ("acme", "globex"), strict=True):
            assert "401" in line
            assert f"`stax rotate-key {slug}`" in line
        [ended] = [event for event in failed.all_events if event.is_run_failure]
        for error in (event.step_failure_data.error, ended.job_failure_data.error):
            assert error and str(told.description) in error.message
            assert (error.cause, error.context) == (None, None), "no trace but Dagster's own"
        assert not [event for event in failed.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
        rows = records(told.metadata["first"].value)
        assert [row["tenant"] for row in rows] == ["acme", "globex"], "one failure is told once, with every asset"
        assert {row["assets"].count("raw_") for row in rows} == {3}
        assert all(f"`stax rotate-key {row['tenant']}`" in row["mend"] for row in rows)
        assert not check_result(failed).passed

    def test_a_run_of_all_in_which_every_key_was_rejected_before_fails_too(
        self, made: Installation, instance: dg.DagsterInstance
    ) -> None:
        execute(made, "update stax.tenants set status = 'key_rejected'")
        failed = run(instance)
        assert not failed.success
        assert [row["reason"] for row in records(check_result(failed).metadata["first"].value)] == [
            "left out: Anthropic rejected the key in an earlier run"
        ] * 2

    def test_names_alone_are_no_report(self, made: Installation, instance: dg.DagsterInstance) -> None:
        for path in (COST, USAGE):
            made.simulator.faults.add(faults.status(404), path=path, times=None)
        assert not run(instance).success

    def test_an_open_day_without_a_cost_report_is_no_failure(
        self, made: Installation, instance: dg.DagsterInstance
    ) -> None:
        assert run(instance, OF_TODAY).success


class TestOneOfTwoFailed:
    @pytest.fixture
    def failed(self, made: Installation, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
        made.simulator.faults.add(faults.status(404), key=made.simulator.keys["acme"], path=COST, times=None)
        return run(instance)

    def test_the_run_succeeds_and_says_so(
        self, failed: dg.ExecuteInProcessResult, instance: dg.DagsterInstance
    ) -> None:
        assert failed.success
        kept = instance.get_run_by_id(failed.run_id)
        assert kept and kept.tags[FAILED_TENANTS] == "acme"
        found = check_result(failed)
        assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert found.description == "failed for 1 of 2 tenants: acme"
        [row] = records(found.metadata["first"].value)
        assert (row["tenant"], row["assets"]) == ("acme", "raw_cost_report")
        assert "404" in row["reason"]
        assert "`stax sync acme`" in row["mend"]

    def test_every_asset_that_lacks_the_tenant_names_it_and_no_other_does(
        self, failed: dg.ExecuteInProcessResult
    ) -> None:
        lacking = set()
        for event in failed.all_events:
            if event.is_step_materialization:
                told = event.materialization
                if "tenants_failed" in told.metadata and told.metadata["tenants_failed"].value:
                    lacking.add(told.asset_key.to_user_string())
                    assert told.metadata["tenants_ok"].value == 1
                    named = told.metadata.get("failures") or told.metadata["failed_upstream"]
                    assert [row["tenant"] for row in records(named)] == ["acme"]
                    assert told.metadata["page"].value == "/tenants/acme"
        assert lacking == {
            "raw_cost_report",
            "cost_lines",
            "spend",
            "spend_by_key",
            "reconciliation",
            "source_comparison",
        }


class TestOfThisRun:
    def test_a_tenant_rejected_on_the_way_stays_to_the_end(
        self, made: Installation, instance: dg.DagsterInstance
    ) -> None:
        """Its key is refused for one report; every later step still speaks of the tenant."""
        made.simulator.faults.add(faults.status(401), key=made.simulator.keys["acme"], path=COST, times=None)
        ended = run(instance)
        assert ended.success
        for name in ("raw_usage_report", "usage_lines", "organization"):
            told = ended.asset_materializations_for_node("usage" if name == "usage_lines" else name)[0].metadata
            assert told["tenants_ok"].value == 2, name
        assert query(made, "select count(*) as n from stax.usage_lines join stax.tenants using (tenant_id) "
                           "where slug = 'acme'")[0].n > 0  # fmt: skip

    def test_a_named_tenant_s_run_is_silent_about_others(
        self, made: Installation, instance: dg.DagsterInstance
    ) -> None:
        made.simulator.faults.add(faults.status(404), key=made.simulator.keys["acme"], times=None)
        run(instance)
        assert errors(made, "acme")
        narrowed = run(instance, tenants=["globex"])
        assert check_result(narrowed).passed
        told = [
            e.check_name
            for e in narrowed.get_asset_check_evaluations()
            if "acme" in str(e.metadata) or "acme" in str(e.description)
        ]
        assert told == []

    def test_the_reason_is_this_run_s(self, made: Installation, instance: dg.DagsterInstance) -> None:
        broken = faults.status(404)
        made.simulator.faults.add(broken, key=made.simulator.keys["acme"], times=None)
        assert "404" in str(check_result(run(instance)).metadata["first"].value)
        made.simulator.revoke(made.simulator.keys["acme"])
        made.simulator.faults.clear()
        said = str(check_result(run(instance, tenants=["acme"])).metadata["first"].value)
        assert "404" not in said
        assert status(made, "acme") == "key_rejected"
        assert "rotate-key acme" in said

    def test_days_outside_the_run_are_not_told(self, made: Installation, instance: dg.DagsterInstance) -> None:
        run(instance)
        execute(made, "delete from stax.coverage where usage_date = :day", day=DAYS.start)
        found = {e.check_name: e for e in run(instance, OF_TODAY).get_asset_check_evaluations()}
        for name in ("data_is_fresh", "every_extraction_published"):
            assert str(DAYS.start) not in str(found[name].metadata.get("first")), name

    def test_a_run_that_fetches_nothing_says_how_things_stand(
        self, made: Installation, instance: dg.DagsterInstance
    ) -> None:
        made.simulator.faults.add(faults.status(404), key=made.simulator.keys["acme"], times=None)
        run(instance)
        key = dg.AssetCheckKey(dg.AssetKey("raw_usage_report"), CHECK)
        job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_check_selection={key})
        looked = job.execute_in_process(instance=instance, raise_on_error=False)
        assert looked.success
        assert "acme" in str(check_result(looked).metadata["tenants"].value)
