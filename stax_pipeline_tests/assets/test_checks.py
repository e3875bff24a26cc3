"""The checks of a run: one step an asset, each by itself when it is launched by itself, and how much each looks at."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from stax_pipeline.assets import checks, looks
from stax_pipeline.assets.checks import CHECKS, Check
from stax_pipeline.definitions import defs
from stax_pipeline.domain.extraction import Window
from stax_pipeline_tests.assets.support import DAYS, NOW, TODAY, run
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import COST, change, execute, on, times, two_tenants

TIES = ("spend_ties_to_cost_lines", "cost_lines_tie_to_report", "usage_lines_tie_to_report")
FOLLOWING = {check.name for check in CHECKS if check.follows_days}
OF_VIEWS = {check.name for check in CHECKS if check.of_views}
YESTERDAY = TODAY - timedelta(days=1)
ALL = "every day of the run"
NOTHING = "0 tenant-days that may have changed"
Evaluations = dict[str, dg.AssetCheckEvaluation]


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home, now=NOW) as installation:
        execute(installation, "update stax.tenants set created_at = now() - interval '2 minutes'")
        yield installation


@pytest.fixture
def instance(made: Installation) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def evaluations(result: dg.ExecuteInProcessResult) -> Evaluations:
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def looked(instance: dg.DagsterInstance, window: Window = DAYS, **scope: object) -> Evaluations:
    """What the checks of a run found, which succeeded."""
    result = run(instance, window, **scope)
    assert result.success
    return evaluations(result)


def look_of(found: dg.AssetCheckEvaluation) -> str:
    return str(found.metadata["looked_at"].value)


def alone(instance: dg.DagsterInstance, check: Check) -> dg.ExecuteInProcessResult:
    """The check launched by itself, over the days that it looks at then."""
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_check_selection={check.spec.key})
    return job.execute_in_process(instance=instance, raise_on_error=False)


def cheat(made: Installation, day: object = YESTERDAY) -> None:
    """A cent that no publish put there: nothing on record tells of it."""
    execute(
        made,
        "update stax.cost_lines set amount_usd = amount_usd + 0.01 where ctid = (select ctid from stax.cost_lines "
        "where usage_date = :day and tenant_id = (select tenant_id from stax.tenants where slug = 'acme') limit 1)",
        day=day,
    )


class TestSteps:
    def test_the_checks_of_an_asset_are_one_step(self, instance: dg.DagsterInstance) -> None:
        result = run(instance)
        steps = [event.step_key for event in result.all_events if event.is_step_start and event.step_key]
        found = {step for step in steps if step.endswith("_checks")}
        assert found == {f"{check.asset}_checks" for check in CHECKS}
        assert len(steps) == len(set(steps)) < 20
        assert set(steps[-1 - len(found) : -1]) == found  # after every asset, and before the check that ends a run

    @pytest.mark.parametrize("name", ["data_is_fresh", "sources_agree", *TIES])
    def test_each_is_launched_alone(self, made: Installation, instance: dg.DagsterInstance, name: str) -> None:
        looked(instance)
        [check] = [check for check in CHECKS if check.name == name]
        result = alone(instance, check)
        assert result.success
        assert {found: e.passed for found, e in evaluations(result).items()} == {name: True}

    def test_a_rule_that_raises_fails_itself_alone(
        self, made: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A statement of its transaction is refused, so that what follows needs another one."""
        ran = checks.run_rule

        def refused(connection: object, rule: object, *more: object) -> object:
            if getattr(rule, "name", "") == "spend_ties_to_cost_lines":
                connection.exec_driver_sql("select 1 / 0")  # type: ignore[attr-defined]
            return ran(connection, rule, *more)  # type: ignore[arg-type]

        monkeypatch.setattr(checks, "run_rule", refused)
        result = run(instance)
        found = evaluations(result)
        assert {check.name for check in CHECKS} - found.keys() == {"spend_ties_to_cost_lines"}
        assert all(e.passed for e in found.values())
        [failed] = [event for event in result.all_events if event.is_step_failure]
        assert failed.step_key == "spend_checks"
        told = failed.step_failure_data.user_failure_data
        assert told and str(told.description).startswith("spend_ties_to_cost_lines: ")
        assert not result.success
        monkeypatch.setattr(checks, "run_rule", ran)
        assert look_of(looked(instance)["spend_ties_to_cost_lines"]) == ALL


class TestLooks:
    def test_what_did_not_change_is_not_looked_at_again(self, instance: dg.DagsterInstance) -> None:
        first = looked(instance)
        assert {name for name, e in first.items() if "looked_at" in e.metadata} == FOLLOWING | OF_VIEWS
        assert {look_of(first[name]) for name in FOLLOWING} == {ALL}
        again = looked(instance)
        assert {look_of(again[name]).partition(" since 20")[0] for name in FOLLOWING} == {NOTHING}

    def test_a_day_that_changed_is_looked_at_and_no_other(
        self, made: Installation, instance: dg.DagsterInstance
    ) -> None:
        looked(instance)
        change(made, COST, on(YESTERDAY, times("2")))
        cheat(made, DAYS.start)
        again = looked(instance)
        assert {look_of(again[name]).partition(" that")[0] for name in FOLLOWING} == {"1 tenant-day"}
        assert [name for name in FOLLOWING if not again[name].passed] == []

    def test_what_is_wrong_of_a_day_that_changed_is_found_and_kept_until_it_is_mended(
        self, made: Installation, instance: dg.DagsterInstance
    ) -> None:
        """A build that is on record stands for any that writes other rows than it should."""
        looked(instance)
        cheat(made)
        execute(made, "update stax.spend_builds set built_at = now() where usage_date = :day", day=YESTERDAY)
        for look in ("2 tenant-days that may", ALL):  # a finding is not forgotten by a run that changes nothing
            broken = looked(instance)
            assert {name for name, e in broken.items() if not e.passed} >= set(TIES[:2])
            assert all(look_of(broken[name]).startswith(look) for name in TIES[:2])
        execute(made, "update stax.coverage set digest = '' where report = 'cost_report'")
        assert [name for name, e in looked(instance).items() if not e.passed] == []

    def test_a_check_launched_alone_looks_at_every_day(self, made: Installation, instance: dg.DagsterInstance) -> None:
        looked(instance)
        cheat(made)
        assert looked(instance)[TIES[1]].passed
        [check] = [check for check in CHECKS if check.name == TIES[1]]
        found = evaluations(alone(instance, check))[TIES[1]]
        assert (found.passed, look_of(found)) == (False, ALL)
        assert "holds_as_of" not in found.metadata
        assert not looked(instance)[TIES[1]].passed

    @pytest.mark.parametrize("first", [TODAY, YESTERDAY])
    def test_a_look_at_fewer_days_is_not_relied_on(self, instance: dg.DagsterInstance, first: object) -> None:
        looked(instance, Window(first, DAYS.end))  # type: ignore[arg-type]
        wide = looked(instance)
        assert {look_of(wide[name]) for name in TIES} == {ALL}
        assert look_of(looked(instance, Window(TODAY, DAYS.end))[TIES[0]]).startswith("0 tenant-days ")

    def test_a_run_of_named_tenants_looks_at_all_of_theirs_and_is_not_relied_on(
        self, made: Installation, instance: dg.DagsterInstance
    ) -> None:
        looked(instance)
        named = looked(instance, tenants=["acme"])
        assert {look_of(named[name]) for name in FOLLOWING} == {ALL}
        assert look_of(looked(instance)[TIES[0]]) == ALL

    def test_a_look_counts_for_a_day_and_for_its_version(
        self, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked(instance)
        with monkeypatch.context() as patched:
            patched.setattr(looks, "RELIED_ON", timedelta(0))
            assert look_of(looked(instance)[TIES[0]]) == ALL
        monkeypatch.setattr(looks, "__version__", "0.0.0")
        assert look_of(looked(instance)[TIES[0]]) == ALL

    def test_checks_of_views_look_at_what_was_written_last_and_claim_no_more(
        self, made: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert sorted(OF_VIEWS) == ["views_tie_to_tables"]
        days = 2 * len(DAYS.days)
        first = looked(instance)
        assert {look_of(first[name]) for name in OF_VIEWS} == {f"{days} tenant-days of the run, written last"}
        monkeypatch.setattr(looks, "OF_VIEWS", 1)
        change(made, COST, on(YESTERDAY, times("2")))
        assert {look_of(looked(instance)[name]) for name in OF_VIEWS} == {"1 tenant-day of the run, written last"}
        execute(made, "update stax.spend_totals set cost_usd = cost_usd + 7 where usage_date = :day", day=TODAY)
        assert looked(instance)["views_tie_to_tables"].passed
        [check] = [check for check in CHECKS if check.name == "views_tie_to_tables"]
        found = evaluations(alone(instance, check))["views_tie_to_tables"]
        assert (found.passed, look_of(found)) == (False, ALL)
        assert not any("holds_as_of" in first[name].metadata for name in OF_VIEWS)
