"""What the setting STAX_SOURCE adds to the graph, and a run of job `sync` with it."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from stax_pipeline import definitions
from stax_pipeline.assets.partitions import range_tags
from stax_pipeline.domain.extraction import Window
from stax_pipeline_tests.steps.support import execute, query, true_usd, two_tenants
from stax_pipeline_tests.steps.support import usd_by_day as usd

NOW = datetime.now(UTC)  # partitions end at the real open day
DAYS = Window(NOW.date() - timedelta(days=2), NOW.date() + timedelta(days=1))


@contextmanager
def reading(source: str) -> Iterator[dg.Definitions]:
    """The graph as a process with this setting loads it."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STAX_SOURCE", source)
        yield importlib.reload(definitions).defs
    importlib.reload(definitions)


@pytest.mark.parametrize(
    ("source", "assets", "checks", "upstream"),
    [
        ("reports", set(), set(), set()),
        ("analytics", {"source_comparison"}, {"set_aside_ties_to_report"}, {"cost_lines", "usage_lines"}),
        (
            "both", {"source_comparison", "raw_analytics"}, {"sources_agree"},
            {"cost_lines", "usage_lines", "raw_analytics"},
        ),
    ],
)  # fmt: skip
def test_the_graph_grows_only_where_the_setting_says_so(
    source: str, assets: set[str], checks: set[str], upstream: set[str]
) -> None:
    with reading(source) as defs:
        specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
        found = {key.name for key in defs.resolve_asset_graph().asset_check_keys}
    added = {"source_comparison", "raw_analytics"} & specs.keys()
    assert added == assets
    assert {"sources_agree", "set_aside_ties_to_report"} & found == checks
    for name in added:
        assert specs[name].description and specs[name].kinds and specs[name].tags["layer"] == specs[name].group_name
        assert specs[name].owners == ["team:data-platform"]
        assert isinstance(specs[name].partitions_def, dg.DailyPartitionsDefinition)
    if added:
        assert {dep.asset_key.to_user_string() for dep in specs["source_comparison"].deps} == upstream


@pytest.mark.parametrize("source", ["analytics", "both"])
def test_a_run_gives_the_sources_dollars_and_every_check_passes(stax_home: Path, source: str) -> None:
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with (
        two_tenants(stax_home, now=NOW) as made,
        reading(source) as defs,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        execute(made, "update stax.tenants set created_at = now() - interval '2 minutes'")
        result = defs.resolve_job_def("sync").execute_in_process(
            instance=instance, tags=range_tags(DAYS), run_config=config
        )
        evaluations = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
        days = query(made, "select slug, usage_date, difference_usd from stax.source_differences")
        for slug in ("acme", "globex"):
            assert usd(made, slug, "reported") == true_usd(made, slug, DAYS.days[:-1])
    assert result.success
    assert [name for name, passed in evaluations.items() if not passed] == []
    assert ("sources_agree" in evaluations, "set_aside_ties_to_report" in evaluations) == (
        source == "both", source == "analytics",
    )  # fmt: skip
    assert [row.difference_usd for row in days] == ([0, 0, 0, 0] if source == "both" else [])
