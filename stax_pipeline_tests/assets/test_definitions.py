"""What Dagster shows: the whole graph as a snapshot, and what an operator needs on every asset."""

from __future__ import annotations

import dagster as dg
import pytest

from stax_pipeline.assets import checks
from stax_pipeline.checks.rules import RULES
from stax_pipeline.definitions import defs

GRAPH = {
    "raw_cost_report": ("raw", set(), True),
    "raw_usage_report": ("raw", set(), True),
    "raw_organization": ("raw", set(), False),
    "raw_analytics": ("raw", set(), True),
    "cost_lines": ("normalized", {"raw_cost_report", "usage_lines", "price_book"}, True),
    "usage_lines": ("normalized", {"raw_usage_report"}, True),
    "usage_by_key": ("normalized", {"raw_usage_report"}, True),
    "organization": ("normalized", {"raw_organization"}, False),
    "price_book": ("spend", set(), False),
    "spend": ("spend", {"cost_lines", "usage_lines", "price_book"}, True),
    "spend_by_key": ("spend", {"spend", "usage_by_key"}, True),
    "reconciliation": ("spend", {"cost_lines", "usage_lines", "price_book"}, True),
    "source_comparison": ("spend", {"cost_lines", "usage_lines", "raw_analytics"}, True),
}
CHECKS = {
    "spend": {
        "data_is_fresh", "no_day_complete_before_lag", "spend_ties_to_cost_lines", "spend_ties_to_usage_lines",
        "spend_totals_tie_to_spend",
        "spend_is_current", "every_cost_line_met", "every_extraction_published", "every_token_priced",
        "views_tie_to_tables", "invoices_match", "commitments_tie_to_fee",
        "focus_ties_to_spend", "granted_logins_only_read",
    },
    "raw_usage_report": {"all_tenants_extracted"},
    "usage_by_key": {"usage_readings_agree"},
    "spend_by_key": {"spend_by_key_ties_to_spend"},
    "reconciliation": {"every_usage_billed", "price_book_matches_bill", "reconciliation_ties_to_cost_lines"},
    "cost_lines": {"cost_lines_tie_to_report", "restatements_tie_to_cost_lines"},
    "usage_lines": {"usage_lines_tie_to_report"},
    "source_comparison": {"sources_agree", "set_aside_ties_to_report"},
}  # fmt: skip
ASSETS = defs.resolve_asset_graph()
SPECS = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def node(name: str) -> dg.AssetsDefinition:
    return defs.resolve_assets_def(name)


def test_assets_groups_and_dependencies() -> None:
    found = {
        name: (spec.group_name, {dep.asset_key.to_user_string() for dep in spec.deps}, spec.partitions_def is not None)
        for name, spec in SPECS.items()
    }
    assert found == GRAPH


@pytest.mark.parametrize("name", [name for name, (_, _, daily) in GRAPH.items() if daily])
def test_daily_partitions_hold_the_open_day_in_one_run(name: str) -> None:
    partitions = SPECS[name].partitions_def
    assert isinstance(partitions, dg.DailyPartitionsDefinition)
    assert (partitions.timezone, partitions.end_offset) == ("UTC", 1)
    assert node(name).backfill_policy == dg.BackfillPolicy.single_run()


@pytest.mark.parametrize("name", GRAPH)
def test_every_asset_is_described_owned_and_tagged(name: str) -> None:
    spec = SPECS[name]
    assert spec.description
    assert spec.owners == ["team:data-platform"]
    assert spec.kinds
    assert spec.tags["layer"] == GRAPH[name][0]


@pytest.mark.parametrize("name", [name for name, (group, _, _) in GRAPH.items() if group != "raw"])
def test_every_table_asset_has_its_columns_with_comments(name: str) -> None:
    metadata = SPECS[name].metadata
    assert str(metadata["dagster/table_name"]).startswith("stax.")
    schema = metadata["dagster/column_schema"]
    columns = (schema.value if hasattr(schema, "value") else schema).columns
    assert len(columns) > 5
    assert all(column.description and column.type for column in columns)


def test_checks_by_asset_and_none_blocks() -> None:
    found: dict[str, set[str]] = {}
    for key in ASSETS.asset_check_keys:
        found.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    assert found == CHECKS
    assert {rule.name for rule in RULES} <= set().union(*CHECKS.values())
    specs = [spec for check in checks.ASSET_CHECKS for spec in check.check_specs]
    assert all(spec.description and not spec.blocking for spec in specs)


def test_jobs() -> None:
    assert {"sync", "watch", "purge_history"} <= {job.name for job in defs.resolve_all_job_defs()}
    watch = defs.resolve_job_def("watch")
    checked = {key.name for key in watch.asset_layer.asset_graph.asset_check_keys}
    assert checked == {"data_is_fresh", "no_day_complete_before_lag"}
    for name in ("sync", "watch", "purge_history"):
        assert defs.resolve_job_def(name).executor_def.name == "in_process"
        assert defs.resolve_job_def(name).description


def test_schedules_and_sensors_run_by_themselves() -> None:
    repository = defs.get_repository_def()
    assert {
        (s.name, s.job_name, s.cron_schedule, s.execution_timezone, s.default_status.value)
        for s in repository.schedule_defs
    } == {
        ("daily_sync", "sync", "10 0 * * *", "UTC", "RUNNING"),
        ("month_close", "sync", "30 0 8-14 * *", "UTC", "RUNNING"),
        ("open_day_refresh", "sync", "*/15 * * * *", "UTC", "RUNNING"),
        ("watch", "watch", "*/15 * * * *", "UTC", "RUNNING"),
        ("purge_history", "purge_history", "40 3 * * *", "UTC", "RUNNING"),
    }
    assert {(s.name, s.default_status.value) for s in repository.sensor_defs} >= {
        ("new_tenant_backfill", "RUNNING"), ("catch_up", "RUNNING"), ("alerts", "RUNNING"),
    }  # fmt: skip
