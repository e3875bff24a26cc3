"""Group `normalized`: the report's rows, typed and exact, in Postgres and Parquet."""

from typing import Any

import dagster as dg

from stax_pipeline.assets.metadata import OWNERS, outcome_metadata, table_metadata
from stax_pipeline.assets.partitions import DAILY, SINGLE_RUN, window_of
from stax_pipeline.assets.progress import progress
from stax_pipeline.assets.raw import raw_cost_report, raw_organization, raw_usage_report
from stax_pipeline.derive.usage_lines import Counts
from stax_pipeline.lake.parquet import rebuild
from stax_pipeline.lake.parquet_names import OF_TENANTS, copy_names
from stax_pipeline.pipeline.publish_batch import Stores
from stax_pipeline.pipeline.publish_organization import publish_organization
from stax_pipeline.pipeline.publish_reports import publish_cost, publish_usage
from stax_pipeline.resources.dagster import Lake, Warehouse
from stax_pipeline.resources.scope import InScope
from stax_pipeline.warehouse import tables

NORMALIZED: dict[str, Any] = {"group_name": "normalized", "owners": OWNERS, "tags": {"layer": "normalized"}}
KINDS = {"postgres", "parquet"}
_COUNTED = {name: {"raw_usage_report": [name]} for name in Counts._fields}
_PAID = {"amount_usd": {"raw_cost_report": ["amount"]}}


@dg.multi_asset(
    name="usage",
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
    specs=[
        dg.AssetSpec(
            table.name, deps=[raw_usage_report], kinds=KINDS, description=description,
            metadata=table_metadata(table, _COUNTED), **NORMALIZED,
        )
        for table, description in (
            (tables.usage_lines, "Tokens per workspace, model, tier, window, geography and speed."),
            (tables.usage_by_key, "Tokens per API key and account."),
        )
    ],
)  # fmt: skip
def usage(context: dg.AssetExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake) -> Any:
    """Usage rows of each day's newest extraction, both tables in one transaction per tenant."""
    window = window_of(list(context.partition_keys))
    stores = _stores(scope, warehouse, lake)
    outcome = publish_usage(stores, scope.tenants, window, progress(context, "publishing usage"))
    for table in (tables.usage_lines, tables.usage_by_key):
        rebuild(warehouse.engine, lake.store, table, window, stores.fresh)
        yield dg.MaterializeResult(asset_key=table.name, metadata=outcome_metadata(outcome, scope, table.name))


@dg.asset(
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
    deps=[raw_cost_report, "usage_lines", "price_book"],
    kinds=KINDS,
    metadata=table_metadata(tables.cost_lines, _PAID),
    **NORMALIZED,
)
def cost_lines(
    context: dg.AssetExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake
) -> dg.MaterializeResult:
    """Dollars as reported, in USD, row by row; usage and prices guard against a changed unit."""
    window = window_of(list(context.partition_keys))
    stores = _stores(scope, warehouse, lake)
    outcome = publish_cost(stores, scope.tenants, window, progress(context, "publishing cost"))
    rebuild(warehouse.engine, lake.store, tables.cost_lines, window, stores.fresh)
    return dg.MaterializeResult(metadata=outcome_metadata(outcome, scope))


@dg.asset(deps=[raw_organization], kinds=KINDS, metadata=table_metadata(tables.workspaces), **NORMALIZED)
def organization(
    context: dg.AssetExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake
) -> dg.MaterializeResult:
    """Names of workspaces, API keys and members; what an organisation no longer lists is kept."""
    outcome = publish_organization(
        warehouse.engine, lake.store, scope.tenants, progress(context, "publishing names", "tenants")
    )
    copy_names(warehouse.engine, lake.store, OF_TENANTS)
    return dg.MaterializeResult(metadata=outcome_metadata(outcome, scope))


def _stores(scope: InScope, warehouse: Warehouse, lake: Lake) -> Stores:
    return Stores(warehouse.engine, lake.store, warehouse.settings.settle, scope.accept_shrink, scope.arrived)
