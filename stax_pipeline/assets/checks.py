"""Asset checks: the rules of `checks.runner` and the ties to the raw pages. They report and never block.

Those of one asset are one step, of which each can be launched alone. They speak of the run's own tenants and days.
Stays out: the check that ends a run (`assets.extraction_check`), and how much is looked at (`assets.looks`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import dagster as dg
import sqlalchemy as sa

from stax_pipeline.assets.links import page_of
from stax_pipeline.assets.looks import OF_VIEWS, Look, Looks
from stax_pipeline.assets.metadata import text_table
from stax_pipeline.assets.partitions import named_window, window_of_check
from stax_pipeline.checks.raw_pages import Gap, cost_gaps, set_aside_gaps, usage_gaps
from stax_pipeline.checks.rule import Rule
from stax_pipeline.checks.rules import ALL_TENANTS_EXTRACTED, FRESHNESS, RULES
from stax_pipeline.checks.runner import About, run_rule
from stax_pipeline.domain.event_privacy import summed_up
from stax_pipeline.domain.extraction import DataSource, Window
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.installation.settings import Settings
from stax_pipeline.lake.store import Lake as ObjectLake
from stax_pipeline.pipeline.isolation import reason
from stax_pipeline.resources.dagster import Lake, Warehouse
from stax_pipeline.resources.scope import InScope, Scope
from stax_pipeline.warehouse.engine import plain_faults

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
AFTER_ASSETS = {"dagster/priority": "-1"}
"""When every table of the run is made: what a check held of would change after it, and be looked at again."""

SOME = f"A run looks at {OF_VIEWS} tenant-days; launched alone, it looks at every day, as stax verify does."
AGAIN = "Days that are as they were when it last held are not looked at again; launched alone, it looks at every day."


@dataclass(frozen=True, slots=True)
class Run:
    """What the checks of one step have in common."""

    connection: sa.Connection
    settings: Settings
    lake: ObjectLake
    scope: Scope
    window: Window
    about: About


Find = Callable[[Run, Look], dg.AssetCheckResult]


class Check(NamedTuple):
    """A check by name; one that `follows_days` need not look at days that are as they were, one `of_views` at few."""

    name: str
    asset: str
    description: str
    find: Find
    follows_days: bool
    of_views: bool = False

    @property
    def spec(self) -> dg.AssetCheckSpec:
        more = SOME if self.of_views else AGAIN if self.follows_days else ""
        return dg.AssetCheckSpec(self.name, asset=self.asset, description=f"{self.description} {more}".strip())


def check_result(rule: Rule, run: Run, look: Look) -> dg.AssetCheckResult:
    """What one rule finds about the run's tenants and days."""
    now = datetime.now(UTC)
    found = run_rule(run.connection, rule, run.window, now, run.settings, run.about, look.changed)
    reach = reached(run.connection, run.about) if rule in FRESHNESS else {}
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
    found: dict[str, Any] = {"violations": len(rows), **page_of(tenants)}
    if rows:
        found["tenants"] = ", ".join(tenants)
        found["first"] = text_table(*summed_up(columns, rows))
    return found


FindGaps = Callable[[sa.Connection, ObjectLake, Sequence[Tenant], Window], list[Gap]]


def _tie(name: str, asset: str, description: str, gaps: FindGaps) -> Check:
    """The check that a table and the raw pages hold the same."""

    def find(run: Run, look: Look) -> dg.AssetCheckResult:
        tenants, window = _of_look(run, look)
        found = gaps(run.connection, run.lake, tenants, window) if tenants else []
        slugs = tuple(dict.fromkeys(gap.tenant for gap in found))
        return dg.AssetCheckResult(
            check_name=name, asset_key=asset, passed=not found, severity=ERROR,
            metadata=violations(Gap._fields, [tuple(gap) for gap in found], slugs),
        )  # fmt: skip

    return Check(name, asset, description, find, follows_days=True)


def _of_look(run: Run, look: Look) -> tuple[list[Tenant], Window]:
    """The tenants to look at, and the days from the first to the last of theirs.

    What is read from the newer source is looked at on every day: what is set aside of it is in no digest.
    """
    if look.changed is None:
        return run.scope.tenants, run.window
    whose = {tenant_id for tenant_id, _ in look.changed}
    newer = {
        tenant.tenant_id for tenant in run.scope.tenants
        if (tenant.source or run.settings.source) != DataSource.REPORTS
    }  # fmt: skip
    tenants = [tenant for tenant in run.scope.tenants if tenant.tenant_id in whose | newer]
    days = run.window.days if newer else sorted(day for _, day in look.changed)
    return tenants, Window(days[0], days[-1] + timedelta(days=1)) if days else run.window


CHECKS = [
    *(
        Check(
            rule.name, rule.asset, rule.description, partial(check_result, rule),
            rule.follows_days and not rule.of_views, rule.of_views,
        )
        for rule in RULES if rule is not ALL_TENANTS_EXTRACTED
    ),
    _tie(
        "cost_lines_tie_to_report", "cost_lines",
        "Per tenant and day, cost lines hold every cent on the raw pages.", cost_gaps,
    ),
    _tie(
        "usage_lines_tie_to_report", "usage_lines",
        "Per tenant and day, usage lines hold every token on the raw pages.", usage_gaps,
    ),
    _tie(
        "set_aside_ties_to_report", "source_comparison",
        "Per tenant and day, the dollars kept out of cost_lines are those on the raw pages.", set_aside_gaps,
    ),
]  # fmt: skip
FRESHNESS_KEYS = [dg.AssetCheckKey(dg.AssetKey(rule.asset), rule.name) for rule in FRESHNESS]


def _checks_of(asset: str, checks: Sequence[Check]) -> dg.AssetChecksDefinition:
    """All checks of an asset in one step."""

    @dg.multi_asset_check(
        name=f"{asset}_checks", specs=[check.spec for check in checks], can_subset=True, op_tags=AFTER_ASSETS
    )
    def found(
        context: dg.AssetCheckExecutionContext, scope: InScope, warehouse: Warehouse, lake: Lake
    ) -> Iterator[dg.AssetCheckResult]:
        selected = [check for check in checks if check.spec.key in context.selected_asset_check_keys]
        faults: dict[str, str] = {}
        with warehouse.engine.connect() as connection:
            run = run_of(context, connection, scope, warehouse, lake)
            looks = Looks(connection, context.instance, run.window)
            for check in selected:
                try:
                    with plain_faults(check.name):
                        result = _looked(check, run, looks)
                except Exception as fault:
                    faults[check.name] = reason(fault, check.name)
                    connection.rollback()
                    continue
                connection.rollback()
                yield result
        if faults:
            words = "\n".join(f"{name}: {why}" for name, why in faults.items())
            raise dg.Failure(description=words, allow_retries=False)

    return found


def _looked(check: Check, run: Run, looks: Looks) -> dg.AssetCheckResult:
    """What the check finds, and of which days. A run that made nothing, or names tenants, looks at every day."""
    if not (check.follows_days or check.of_views):
        return check.find(run, Look())
    is_whole = not run.scope.lacking or run.scope.is_narrowed
    look = Look() if is_whole else looks.some() if check.of_views else looks.at(check.spec.key)
    found = check.find(run, look)
    is_of_all = found.passed and not run.scope.is_narrowed and check.follows_days
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=check.asset,
        passed=found.passed,
        severity=found.severity,
        description=found.description,
        metadata={**found.metadata, **look.metadata, **(looks.held().metadata() if is_of_all else {})},
    )


def run_of(
    context: dg.AssetCheckExecutionContext, connection: sa.Connection, scope: Scope, warehouse: Warehouse, lake: Lake
) -> Run:
    """What the checks of this step have in common."""
    about = About(named_window(context.run), scope.named)
    return Run(connection, warehouse.settings, lake.store, scope, window_of_check(context), about)


def _by_asset() -> dict[str, list[Check]]:
    found: dict[str, list[Check]] = defaultdict(list)
    for check in CHECKS:
        found[check.asset].append(check)
    return found


ASSET_CHECKS = [_checks_of(asset, checks) for asset, checks in _by_asset().items()]
