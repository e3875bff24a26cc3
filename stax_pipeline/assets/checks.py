"""Asset checks: every rule of `steps.checks` and the two ties to the raw pages. They report and never block."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import sqlalchemy as sa

from stax_pipeline.assets.metadata import text_table
from stax_pipeline.assets.partitions import window_of_check
from stax_pipeline.domain.words import count_of
from stax_pipeline.resources.dagster import Lake, Scope, Warehouse
from stax_pipeline.steps.checks import examine
from stax_pipeline.steps.rule import Rule
from stax_pipeline.steps.rules import FRESHNESS, RULES
from stax_pipeline.steps.tie import Gap, cost_gaps, usage_gaps

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def check_of(rule: Rule) -> dg.AssetChecksDefinition:
    """The asset check that runs one rule over the days of its run."""

    @dg.asset_check(asset=rule.asset, name=rule.name, description=rule.description)
    def run(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
        with warehouse.engine.connect() as connection:
            found = examine(connection, rule, window_of_check(context), datetime.now(UTC), warehouse.settings)
            reach = reached(connection) if rule in FRESHNESS else {}
        return dg.AssetCheckResult(
            passed=found.holds,
            severity=ERROR if found.is_severe else WARN,
            description=None
            if found.holds
            else f"{count_of(len(found.rows), 'violation')} in {', '.join(found.tenants[:20])}",
            metadata={**violations(rule.columns, found.rows, found.tenants), **reach},
        )

    return run


def reached(connection: sa.Connection) -> dict[str, Any]:
    """How far each tenant's data reaches, for the freshness checks: it names every tenant, late or not."""
    names = ["slug", "usage_data_through", "cost_data_through", "complete_through"]
    query = "select slug, usage_data_through, cost_data_through, complete_through from stax.freshness order by 2, 1"
    return {"data_through": text_table(names, list(connection.execute(sa.text(query))))}


def violations(columns: tuple[str, ...], rows: Sequence[Any], tenants: Sequence[str]) -> dict[str, Any]:
    """How many, which tenants, and the first of them."""
    told: dict[str, Any] = {"violations": len(rows)}
    if rows:
        told["tenants"] = ", ".join(tenants)
        told["first"] = text_table(list(columns), list(rows))
    return told


def tie_result(gaps: list[Gap]) -> dg.AssetCheckResult:
    """What a check says of days on which a table and the raw pages differ."""
    tenants = tuple(dict.fromkeys(gap.tenant for gap in gaps))
    return dg.AssetCheckResult(
        passed=not gaps, severity=ERROR, metadata=violations(Gap._fields, [tuple(gap) for gap in gaps], tenants)
    )


@dg.asset_check(asset="cost_lines", description="Per tenant and day, cost lines hold every cent on the raw pages.")
def cost_lines_tie_to_report(
    context: dg.AssetCheckExecutionContext, scope: Scope, warehouse: Warehouse, lake: Lake
) -> dg.AssetCheckResult:
    tenants = scope.chosen(warehouse)
    with warehouse.engine.connect() as connection:
        return tie_result(cost_gaps(connection, lake.store, tenants, window_of_check(context)))


@dg.asset_check(asset="usage_lines", description="Per tenant and day, usage lines hold every token on the raw pages.")
def usage_lines_tie_to_report(
    context: dg.AssetCheckExecutionContext, scope: Scope, warehouse: Warehouse, lake: Lake
) -> dg.AssetCheckResult:
    tenants = scope.chosen(warehouse)
    with warehouse.engine.connect() as connection:
        return tie_result(usage_gaps(connection, lake.store, tenants, window_of_check(context)))


FRESHNESS_CHECKS = [check_of(rule) for rule in FRESHNESS]
CHECKS = [
    *FRESHNESS_CHECKS,
    *(check_of(rule) for rule in RULES if rule not in FRESHNESS),
    cost_lines_tie_to_report,
    usage_lines_tie_to_report,
]
