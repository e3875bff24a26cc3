"""Group `spend`: prices, spend with the source of every figure, spend by key, and price accuracy."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from stax_pipeline.assets.metadata import OWNERS, lineage, outcome_metadata, table_metadata
from stax_pipeline.assets.normalized import cost_lines
from stax_pipeline.assets.partitions import DAILY, SINGLE_RUN, window_of
from stax_pipeline.assets.progress import progress
from stax_pipeline.assets.raw import FRESH
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.domain.time import is_first_backfill
from stax_pipeline.lake.parquet import rebuild
from stax_pipeline.pipeline.publish_spend import (
    Books,
    note_first_sync,
    publish_reconciliation,
    publish_spend,
    publish_spend_by_key,
)
from stax_pipeline.pricing.prices import shipped_prices
from stax_pipeline.resources.dagster import Lake, Warehouse
from stax_pipeline.resources.scope import InScope
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.prices import read_book, record_prices

SPEND: dict[str, Any] = {"group_name": "spend", "owners": OWNERS, "tags": {"layer": "spend"}}
DAILY_TABLE: dict[str, Any] = {
    "partitions_def": DAILY,
    "backfill_policy": SINGLE_RUN,
    "kinds": {"postgres", "parquet"},
    **SPEND,
}


@dg.asset(kinds={"postgres"}, metadata=table_metadata(tables.list_prices), **SPEND)
def price_book(warehouse: Warehouse) -> dg.MaterializeResult:
    """List prices by date, model, token type, context window and speed, each with its source."""
    with warehouse.engine.begin() as connection:
        changed = record_prices(connection, shipped_prices()).changed
        book = read_book(connection)
    return dg.MaterializeResult(
        metadata={"dagster/row_count": len(book.prices), "changed": changed, "version": book.version}
    )


@dg.asset(
    deps=[cost_lines, "usage_lines", price_book],
    metadata=table_metadata(tables.spend),
    freshness_policy=FRESH,
    **DAILY_TABLE,
)
def spend(context: dg.AssetExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake) -> dg.MaterializeResult:
    """What each tenant's Claude use cost, every figure with its source (USD, one row per line)."""
    window = window_of(list(context.partition_keys))
    outcome, totals = publish_spend(books(warehouse, lake), scope.tenants, window, progress(context, "building spend"))
    rebuild(warehouse.engine, lake.store, tables.spend, window)
    rebuild(warehouse.engine, lake.store, tables.restatements, window)
    reported = outcome_metadata(outcome, scope)
    if is_first_backfill(window, datetime.now(UTC), warehouse.settings.start_date):
        whole = [tenant for tenant in scope.tenants if tenant.slug not in scope.lacking["spend"]]
        note_first_sync(warehouse.engine, whole, context.run_id)
    usd = totals.usd if len(scope.tenants) > 1 else {}  # of one tenant it would outlive its purge
    return dg.MaterializeResult(
        metadata={
            **reported,
            **{f"usd_{source}": f"{usd:f}" for source, usd in sorted(usd.items())},
            "dagster/column_lineage": lineage(
                {
                    "cost_usd": {"cost_lines": ["amount_usd"], "price_book": ["usd_per_unit"]},
                    "quantity": {"usage_lines": ["uncached_input_tokens", "output_tokens", "cache_read_input_tokens"]},
                }
            ),
        }
    )


@dg.asset(deps=[spend, "usage_by_key"], metadata=table_metadata(tables.spend_by_key), **DAILY_TABLE)
def spend_by_key(
    context: dg.AssetExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake
) -> dg.MaterializeResult:
    """Spend split over API keys and accounts by the tokens each used; sums tie to spend to the last digit."""
    window = window_of(list(context.partition_keys))
    outcome = publish_spend_by_key(
        books(warehouse, lake), scope.tenants, window, progress(context, "building spend by key")
    )
    rebuild(warehouse.engine, lake.store, tables.spend_by_key, window)
    return dg.MaterializeResult(metadata=outcome_metadata(outcome, scope))


@dg.asset(deps=[cost_lines, "usage_lines", price_book], metadata=table_metadata(tables.reconciliation), **DAILY_TABLE)
def reconciliation(
    context: dg.AssetExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake
) -> dg.MaterializeResult:
    """Price accuracy: standard and batch tokens priced by the code that prices Priority, beside what was reported."""
    window = window_of(list(context.partition_keys))
    outcome = publish_reconciliation(books(warehouse, lake), scope.tenants, window, progress(context, "reconciling"))
    rebuild(warehouse.engine, lake.store, tables.reconciliation, window)
    return dg.MaterializeResult(metadata=outcome_metadata(outcome, scope))


def books(warehouse: Warehouse, lake: Lake) -> Books:
    """The rules of this installation. Raises CannotStart when no price was ever loaded."""
    with warehouse.engine.connect() as connection:
        book = read_book(connection)
    if not book.prices:
        raise CannotStart("The price book is empty. Materialise the asset price_book first, or run `stax sync`.")
    return Books(warehouse.engine, lake.store, warehouse.settings.settle)
