"""What exists only where the newer source is in use (`STAX_SOURCE`): its comparison with the reports, and checks."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from stax_pipeline.assets.analytics import ANALYTICS
from stax_pipeline.assets.checks import check_of, tie_result
from stax_pipeline.assets.metadata import outcome_metadata, table_metadata
from stax_pipeline.assets.normalized import cost_lines
from stax_pipeline.assets.partitions import DAILY, SINGLE_RUN, window_of, window_of_check
from stax_pipeline.assets.progress import progress
from stax_pipeline.assets.raw import raw_analytics
from stax_pipeline.domain.extraction import DataSource
from stax_pipeline.resources.dagster import Lake, Warehouse
from stax_pipeline.resources.scope import InScope
from stax_pipeline.resources.warehouse import tables
from stax_pipeline.settings import read_settings
from stax_pipeline.steps.compare import publish_comparison
from stax_pipeline.steps.rules import SOURCES_AGREE
from stax_pipeline.steps.tie import set_aside_gaps


def source_comparison(reads: DataSource) -> dg.AssetsDefinition:
    """The asset of that name: a comparison where both sources are read, else what is set aside."""
    upstream: list[Any] = [cost_lines, "usage_lines"]

    @dg.asset(
        name="source_comparison", deps=[*upstream, *([raw_analytics] if reads is DataSource.BOTH else [])],
        partitions_def=DAILY, backfill_policy=SINGLE_RUN, kinds={"postgres"},
        metadata=table_metadata(tables.source_comparison), **ANALYTICS,
    )  # fmt: skip
    def compared(
        context: dg.AssetExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake
    ) -> dg.MaterializeResult:
        """The reports and the newer source beside each other, by day and every dimension both know."""
        outcome = publish_comparison(
            warehouse.engine, lake.store, reads, scope.tenants, window_of(list(context.partition_keys)),
            progress(context, "comparing sources", "tenants"),
        )  # fmt: skip
        return dg.MaterializeResult(metadata=outcome_metadata(outcome, scope))

    made: dg.AssetsDefinition = compared
    return made


@dg.asset_check(
    asset="source_comparison",
    description="Per tenant and day, the dollars kept out of cost_lines are those on the raw pages.",
)
def set_aside_ties_to_report(
    context: dg.AssetCheckExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake
) -> dg.AssetCheckResult:
    with warehouse.engine.connect() as connection:
        return tie_result(set_aside_gaps(connection, lake.store, scope.tenants, window_of_check(context)))


def assets() -> Sequence[dg.AssetsDefinition]:
    """What the setting asks for beyond the usual graph."""
    reads = read_settings().source
    if reads is DataSource.REPORTS:
        return []
    return [source_comparison(reads), *([raw_analytics] if reads is DataSource.BOTH else [])]


def checks() -> Sequence[dg.AssetChecksDefinition]:
    """Likewise."""
    found = {DataSource.BOTH: [check_of(SOURCES_AGREE)], DataSource.ANALYTICS: [set_aside_ties_to_report]}
    return found.get(read_settings().source, [])
