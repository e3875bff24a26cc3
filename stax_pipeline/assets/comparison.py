"""The newer source beside the reports, and what of it is set aside; nothing for tenants that do not use it."""

import dagster as dg

from stax_pipeline.assets.metadata import outcome_metadata, table_metadata
from stax_pipeline.assets.normalized import cost_lines
from stax_pipeline.assets.partitions import DAILY, SINGLE_RUN, window_of
from stax_pipeline.assets.progress import progress
from stax_pipeline.assets.raw import raw_analytics
from stax_pipeline.assets.spend import SPEND
from stax_pipeline.pipeline.publish_comparison import publish_comparison
from stax_pipeline.resources.dagster import Lake, Warehouse
from stax_pipeline.resources.scope import InScope
from stax_pipeline.warehouse import tables


@dg.asset(
    deps=[raw_analytics, cost_lines, "usage_lines"],
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
    kinds={"postgres"},
    metadata=table_metadata(tables.source_comparison),
    **SPEND,
)
def source_comparison(
    context: dg.AssetExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake
) -> dg.MaterializeResult:
    """The reports and the newer source beside each other, by day and every dimension both know."""
    outcome = publish_comparison(
        warehouse.engine, lake.store, warehouse.settings.source, scope.tenants, window_of(list(context.partition_keys)),
        progress(context, "comparing sources", "tenants"),
    )  # fmt: skip
    return dg.MaterializeResult(metadata=outcome_metadata(outcome, scope))
