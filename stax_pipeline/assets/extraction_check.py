"""The last step of a run: which of its tenants failed, why, and what mends it. A run that brought nothing fails here.

Assets never raise for a tenant: a raw asset that raised would skip every later step and all checks, and what was
fetched for others would not be published.
"""

from collections.abc import Iterable, Iterator

import dagster as dg

from stax_pipeline.assets.checks import ERROR, WARN, check_result, run_of, violations
from stax_pipeline.assets.looks import Look
from stax_pipeline.checks.rules import ALL_TENANTS_EXTRACTED
from stax_pipeline.domain.extraction import Report
from stax_pipeline.pipeline import run_result
from stax_pipeline.resources.dagster import Lake, Warehouse
from stax_pipeline.resources.scope import InScope, Scope

NOTHING_ARRIVED = "No tenant got any report in this run. What was fetched before stays."
LAST = {"dagster/priority": "-2"}


def all_tenants_extracted(assets: Iterable[dg.AssetsDefinition]) -> dg.AssetChecksDefinition:
    """The check of that name, after every one of `assets`."""
    rule = ALL_TENANTS_EXTRACTED
    before = [key for asset in assets for key in asset.keys if key != dg.AssetKey(rule.asset)]
    spec = dg.AssetCheckSpec(rule.name, asset=rule.asset, description=rule.description, additional_deps=before)

    @dg.multi_asset_check(name=rule.name, specs=[spec], op_tags=LAST)
    def last(
        context: dg.AssetCheckExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake
    ) -> Iterator[dg.AssetCheckResult]:
        reports = [report for report in Report if f"raw_{report}" in scope.lacking]
        if not reports:  # a run that fetches nothing says how things stand
            with warehouse.engine.connect() as connection:
                yield check_result(rule, run_of(context, connection, scope, warehouse, lake), Look())
            return
        found = _judged(context, scope, warehouse, reports)
        yield dg.AssetCheckResult(
            passed=not found.rows,
            severity=ERROR if len(found.failed) > rule.severe_share * found.tenants else WARN,
            description=str(found) if found.rows else None,
            metadata=violations(run_result.COLUMNS, found.rows, found.failed),
        )
        if found.is_nothing_arrived:
            raise dg.Failure(
                description=f"{NOTHING_ARRIVED}\n{run_result.in_words(found.rows)}",
                metadata=violations(run_result.COLUMNS, found.rows, found.failed),
                allow_retries=False,
            ) from None

    return last


def _judged(
    context: dg.AssetCheckExecutionContext, scope: Scope, warehouse: Warehouse, reports: list[Report]
) -> run_result.RunResult:
    with warehouse.engine.connect() as connection:
        arrived = run_result.arrived(connection, context.run.run_id, reports)
        rejected = run_result.rejected(connection)
    chosen, left_out = ([tenant.slug for tenant in tenants] for tenants in (scope.tenants, scope.left_out))
    return run_result.judge(chosen, left_out, scope.failures, arrived, rejected)
