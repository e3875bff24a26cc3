"""Group `spend`: prices, spend with the source of every figure, spend by key, and price accuracy."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import sqlalchemy as sa

from stax_pipeline.assets.metadata import OWNERS, Origins, outcome_metadata, table_metadata
from stax_pipeline.assets.normalized import cost_lines
from stax_pipeline.assets.partitions import DAILY, SINGLE_RUN, window_of
from stax_pipeline.assets.progress import progress
from stax_pipeline.assets.raw import FRESH
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.domain.time import is_first_backfill
from stax_pipeline.lake.parquet import rebuild
from stax_pipeline.lake.parquet_names import copy_names
from stax_pipeline.pipeline.build_batch import Books
from stax_pipeline.pipeline.publish_spend import note_first_sync, publish_spend
from stax_pipeline.pricing.prices import shipped_prices
from stax_pipeline.resources.dagster import Lake, Warehouse
from stax_pipeline.resources.scope import InScope
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.prices import read_book, record_prices

SPEND: dict[str, Any] = {"group_name": "spend", "owners": OWNERS, "tags": {"layer": "spend"}}
_FROM = {
    "cost_usd": {"cost_lines": ["amount_usd"], "price_book": ["usd_per_unit"]},
    "quantity": {"usage_lines": ["uncached_input_tokens", "output_tokens", "cache_read_input_tokens"]},
}


@dg.asset(kinds={"postgres", "parquet"}, metadata=table_metadata(tables.list_prices), **SPEND)
def price_book(warehouse: Warehouse, lake: Lake) -> dg.MaterializeResult:
    """List prices by date, model, token type, context window and speed, each with its source."""
    with warehouse.engine.begin() as connection:
        changed = record_prices(connection, shipped_prices()).changed
        book = read_book(connection)
    copy_names(warehouse.engine, lake.store, [tables.list_prices])
    return dg.MaterializeResult(
        metadata={"dagster/row_count": len(book.prices), "changed": changed, "version": book.version}
    )


def _daily(
    table: sa.Table, deps: list[Any], description: str, origins: Origins | None = None, **more: Any
) -> dg.AssetSpec:
    return dg.AssetSpec(
        table.name, deps=deps, description=description, kinds={"postgres", "parquet"},
        metadata=table_metadata(table, origins), **SPEND, **more,
    )  # fmt: skip


@dg.multi_asset(
    name="spend",
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
    specs=[
        _daily(
            tables.spend, [cost_lines, "usage_lines", price_book],
            "What each tenant's Claude use cost, every figure with its source (USD, one row per line).",
            _FROM,
            freshness_policy=FRESH,
        ),
        _daily(
            tables.spend_by_key, ["spend", "usage_by_key"],
            "Spend split over API keys and accounts by the tokens each used; sums tie to spend to the last digit.",
        ),
        _daily(
            tables.reconciliation, [cost_lines, "usage_lines", price_book],
            "Price accuracy: standard and batch tokens priced by the code that prices Priority, beside what was "
            "reported.",
        ),
    ],
)  # fmt: skip
def spend(context: dg.AssetExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake) -> Any:
    """What people read, all three tables of a day in one transaction; days that would not change are left alone."""
    window = window_of(list(context.partition_keys))
    own = books(warehouse, lake)
    outcome, totals = publish_spend(own, scope.tenants, window, progress(context, "building spend"))
    usd = totals.usd if len(scope.tenants) > 1 else {}  # of one tenant it would outlive its purge
    told = {"spend": {f"usd_{source}": f"{usd:f}" for source, usd in sorted(usd.items())}}
    rebuild(warehouse.engine, lake.store, tables.restatements, window)
    for table in (tables.spend, tables.spend_by_key, tables.reconciliation):
        rebuild(warehouse.engine, lake.store, table, window, own.fresh)
        metadata = {**outcome_metadata(outcome, scope, table.name), **told.get(table.name, {})}
        yield dg.MaterializeResult(asset_key=table.name, metadata=metadata)
    if is_first_backfill(window, datetime.now(UTC), warehouse.settings.start_date):
        whole = [tenant for tenant in scope.tenants if tenant.slug not in scope.lacking["spend"]]
        note_first_sync(warehouse.engine, whole, context.run.run_id)


def books(warehouse: Warehouse, lake: Lake) -> Books:
    """The rules of this installation. Raises CannotStart when no price was ever loaded."""
    with warehouse.engine.connect() as connection:
        book = read_book(connection)
    if not book.prices:
        raise CannotStart("The price book is empty. Materialise the asset price_book first, or run `stax sync`.")
    return Books(warehouse.engine, lake.store, warehouse.settings.settle)
