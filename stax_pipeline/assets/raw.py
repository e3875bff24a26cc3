"""Group `raw`: pages as the Admin API sent them, kept in the lake, recorded in `extractions`."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import dagster as dg

from stax_pipeline.assets.metadata import OWNERS, outcome_metadata
from stax_pipeline.assets.partitions import DAILY, SINGLE_RUN, window_of
from stax_pipeline.assets.progress import progress
from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.domain.time import trailing_window
from stax_pipeline.pipeline.extract import Source, extract
from stax_pipeline.pipeline.isolation import Outcome
from stax_pipeline.resources.dagster import AnthropicAdminApi, Lake, TenantSecrets, Warehouse
from stax_pipeline.resources.scope import InScope

RAW: dict[str, Any] = {
    "group_name": "raw",
    "owners": OWNERS,
    "kinds": {"anthropic", "json"},
    "tags": {"layer": "raw"},
}
FRESH = dg.FreshnessPolicy.cron(deadline_cron="0 2 * * *", lower_bound_delta=timedelta(hours=2))


@dg.asset(partitions_def=DAILY, backfill_policy=SINGLE_RUN, freshness_policy=FRESH, **RAW)
def raw_cost_report(
    context: dg.AssetExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake, secrets: TenantSecrets,
    anthropic: AnthropicAdminApi,
) -> dg.MaterializeResult:  # fmt: skip
    """Dollar costs of every tenant, page by page as `cost_report` sent them. Completed UTC days only."""
    window = window_of(list(context.partition_keys))
    outcome = _fetch(context, Report.COST, window, scope, warehouse, lake, secrets, anthropic)
    return dg.MaterializeResult(metadata=outcome_metadata(outcome, scope))


@dg.asset(partitions_def=DAILY, backfill_policy=SINGLE_RUN, freshness_policy=FRESH, **RAW)
def raw_usage_report(
    context: dg.AssetExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake, secrets: TenantSecrets,
    anthropic: AnthropicAdminApi,
) -> dg.MaterializeResult:  # fmt: skip
    """Token usage of every tenant in its three queries, page by page as `usage_report/messages` sent them."""
    window = window_of(list(context.partition_keys))
    outcome = _fetch(context, Report.USAGE, window, scope, warehouse, lake, secrets, anthropic)
    return dg.MaterializeResult(metadata=outcome_metadata(outcome, scope))


@dg.asset(partitions_def=DAILY, backfill_policy=SINGLE_RUN, **RAW)
def raw_analytics(
    context: dg.AssetExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake, secrets: TenantSecrets,
    anthropic: AnthropicAdminApi,
) -> dg.MaterializeResult:  # fmt: skip
    """Cost and usage of the newer source, of tenants that are read from both, for comparison. Completed days only."""
    window = window_of(list(context.partition_keys))
    outcome = _fetch(context, Report.ANALYTICS, window, scope, warehouse, lake, secrets, anthropic)
    return dg.MaterializeResult(metadata=outcome_metadata(outcome, scope))


@dg.asset(**RAW)
def raw_organization(
    context: dg.AssetExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake, secrets: TenantSecrets,
    anthropic: AnthropicAdminApi,
) -> dg.MaterializeResult:  # fmt: skip
    """Workspaces, API keys and members of every tenant's organisation, as the lists sent them once a UTC day."""
    window = trailing_window(0, datetime.now(UTC))
    outcome = _fetch(context, Report.ORGANIZATION, window, scope, warehouse, lake, secrets, anthropic)
    return dg.MaterializeResult(metadata=outcome_metadata(outcome, scope))


def _fetch(
    context: dg.AssetExecutionContext, report: Report, window: Window, scope: InScope, warehouse: Warehouse, lake: Lake,
    secrets: TenantSecrets, anthropic: AnthropicAdminApi,
) -> Outcome:  # fmt: skip
    open_key = secrets.opener(warehouse, scope.tenants)
    report_progress = progress(context, f"extracting {report}", "pages")

    source = partial(
        Source,
        engine=warehouse.engine,
        lake=lake.store,
        open_key=open_key,
        run_id=context.run.run_id,
        reads=anthropic.source,
        identities=scope.identities,
        arrived=scope.arrived,
    )
    return anthropic.run(
        lambda api: extract(source(api), report, scope.tenants, window, anthropic.concurrency, report_progress)
    )
