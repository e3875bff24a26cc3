"""Asset checks: the rules of `checks.runner` and the ties to the raw pages. They report and never block.

They speak of the run's own tenants and days. Stays out: the check that ends a run (`assets.extraction_check`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import sqlalchemy as sa

from stax_pipeline.assets.metadata import text_table
from stax_pipeline.assets.partitions import named_window, window_of_check
from stax_pipeline.checks.raw_pages import Gap, cost_gaps, usage_gaps
from stax_pipeline.checks.rule import Rule
from stax_pipeline.checks.rules import ALL_TENANTS_EXTRACTED, FRESHNESS, RULES
from stax_pipeline.checks.runner import About, run_rule
from stax_pipeline.domain.event_privacy import summed_up
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.resources.dagster import Lake, Warehouse
from stax_pipeline.resources.scope import InScope, Scope

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def check_of(rule: Rule) -> dg.AssetChecksDefinition:
    """The asset check that runs one rule over the days of its run."""

    @dg.asset_check(asset=rule.asset, name=rule.name, description=rule.description)
    def run(context: dg.AssetCheckExecutionContext, scope: InScope, warehouse: Warehouse) -> dg.AssetCheckResult:
        return check_result(rule, context, scope, warehouse)

    return run


def check_result(
    rule: Rule, context: dg.AssetCheckExecutionContext, scope: Scope, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """What one rule finds about the run's tenants and days."""
    about = About(named_window(context.run), scope.named)
    with warehouse.engine.connect() as connection:
        found = run_rule(connection, rule, window_of_check(context), datetime.now(UTC), warehouse.settings, about)
        reach = reached(connection, about) if rule in FRESHNESS else {}
    words = f"{count_of(len(found.rows), 'violation')} in {', '.join(found.tenants[:20])}"
    return dg.AssetCheckResult(
        check_name=rule.name,
        asset_key=rule.asset,
        passed=found.holds,
        severity=ERROR if found.is_severe else WARN,
        description=None if found.holds else words,
        metadata={
            **violations(rule.columns, found.rows, found.tenants),
            **({"accepted": found.accepted} if rule.acceptable else {}),
            **reach,
        },
    )


def reached(connection: sa.Connection, about: About) -> dict[str, Any]:
    """How far the data of each of the run's tenants reaches, late or not, for the freshness checks."""
    names = ["tenant", "usage_data_through", "cost_data_through", "complete_through"]
    query = sa.text(
        "select tenant, usage_data_through, cost_data_through, complete_through from stax.freshness order by 2, 1"
    )
    rows = [row for row in connection.execute(query) if about.slugs is None or row.tenant in about.slugs]
    return {"data_through": text_table(names, rows)}


def violations(columns: tuple[str, ...], rows: Sequence[Any], tenants: Sequence[str]) -> dict[str, Any]:
    """How many, which tenants, and of which days; the figures are the warehouse's, where a purge forgets them."""
    found: dict[str, Any] = {"violations": len(rows)}
    if rows:
        found["tenants"] = ", ".join(tenants)
        found["first"] = text_table(*summed_up(columns, rows))
    return found


def tie_result(gaps: list[Gap]) -> dg.AssetCheckResult:
    """What a check says of days on which a table and the raw pages differ."""
    tenants = tuple(dict.fromkeys(gap.tenant for gap in gaps))
    return dg.AssetCheckResult(
        passed=not gaps, severity=ERROR, metadata=violations(Gap._fields, [tuple(gap) for gap in gaps], tenants)
    )


@dg.asset_check(asset="cost_lines", description="Per tenant and day, cost lines hold every cent on the raw pages.")
def cost_lines_tie_to_report(
    context: dg.AssetCheckExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake
) -> dg.AssetCheckResult:
    with warehouse.engine.connect() as connection:
        return tie_result(cost_gaps(connection, lake.store, scope.tenants, window_of_check(context)))


@dg.asset_check(asset="usage_lines", description="Per tenant and day, usage lines hold every token on the raw pages.")
def usage_lines_tie_to_report(
    context: dg.AssetCheckExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake
) -> dg.AssetCheckResult:
    with warehouse.engine.connect() as connection:
        return tie_result(usage_gaps(connection, lake.store, scope.tenants, window_of_check(context)))


FRESHNESS_CHECKS = [check_of(rule) for rule in FRESHNESS]
CHECKS = [
    *FRESHNESS_CHECKS,
    *(check_of(rule) for rule in RULES if rule not in (*FRESHNESS, ALL_TENANTS_EXTRACTED)),
    cost_lines_tie_to_report,
    usage_lines_tie_to_report,
]
