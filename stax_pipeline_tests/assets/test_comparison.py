"""Which source is read is a matter of the tenant, and of STAX_SOURCE where nothing is set: a run of job `sync`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest

from stax_pipeline.assets.partitions import range_tags
from stax_pipeline.definitions import defs
from stax_pipeline.domain.extraction import Window
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import execute, query, true_usd, two_tenants
from stax_pipeline_tests.pipeline.support import usd_by_day as usd

NOW = datetime.now(UTC)  # partitions end at the real open day
DAYS = Window(NOW.date() - timedelta(days=2), NOW.date() + timedelta(days=1))


@contextmanager
def ran(
    home: Path, source: str, setting: str | None = None
) -> Iterator[tuple[Installation, dg.ExecuteInProcessResult]]:
    """A run of job `sync` with STAX_SOURCE as `source`, acme set to `setting`."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with (
        two_tenants(home, now=NOW) as made,
        pytest.MonkeyPatch.context() as environment,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        environment.setenv("STAX_SOURCE", source)
        execute(made, "update stax.tenants set created_at = now() - interval '2 minutes'")
        execute(made, "update stax.tenants set source = :source where slug = 'acme'", source=setting)
        yield (
            made,
            defs.resolve_job_def("sync").execute_in_process(
                instance=instance, tags=range_tags(DAYS), run_config=config, raise_on_error=False
            ),
        )


def compared(made: Installation) -> dict[str, list[Decimal | None]]:
    found: dict[str, list[Decimal | None]] = {}
    for row in query(made, "select tenant, difference_usd from stax.source_differences order by tenant, usage_date"):
        found.setdefault(row.tenant, []).append(row.difference_usd)
    return found


@pytest.mark.parametrize(
    ("source", "setting", "differences"),
    [
        ("reports", None, {}),
        ("analytics", None, {}),
        ("both", None, {"acme": [0, 0], "globex": [0, 0]}),
        ("reports", "both", {"acme": [0, 0]}),
        ("both", "reports", {"globex": [0, 0]}),
        ("both", "analytics", {"globex": [0, 0]}),
    ],
)
def test_the_graph_is_the_same_and_does_for_each_tenant_what_is_set_for_it(
    stax_home: Path, source: str, setting: str | None, differences: dict[str, list[int]]
) -> None:
    with ran(stax_home, source, setting) as (made, result):
        assert result.success
        for slug in ("acme", "globex"):
            assert usd(made, slug, "reported") == true_usd(made, slug, DAYS.days[:-1])
        assert compared(made) == differences
        asked = {r.key_hint for r in made.simulator.requests if "/analytics/" in r.path}
        newer = {slug for slug, of in (("acme", setting or source), ("globex", source)) if of != "reports"}
        assert asked == {made.simulator.keys[slug][-4:] for slug in newer}
    evaluations = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert [name for name, passed in evaluations.items() if not passed] == []
    assert {"sources_agree", "set_aside_ties_to_report"} <= evaluations.keys()
    for name in ("raw_analytics", "source_comparison"):
        told = result.asset_materializations_for_node(name)[0].metadata
        assert (told["tenants_ok"].value, told["tenants_failed"].value) == (2, 0)
