"""The sensor that tells operators what is wrong, when it last looked, and checks in ERROR by what Dagster recorded."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import dagster as dg

from stax_pipeline.alerts.causes import Kind
from stax_pipeline.alerts.channels import channels
from stax_pipeline.alerts.evaluation import Evaluation, evaluate_alerts
from stax_pipeline.alerts.facts import EVERY, QUICK
from stax_pipeline.assets.checks import CHECKS
from stax_pipeline.assets.partitions import window_of_run
from stax_pipeline.dagster_instance.internals import CheckResult, check_results, sensor_records
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.resources.dagster import loader_engine

OWN_CAUSE = frozenset({"data_is_fresh", "all_tenants_extracted", "every_token_priced", "price_book_matches_bill"})
"""Checks whose findings are causes of their own, told by tenant, model or day."""
HOUR = timedelta(hours=1)
LOOKED_AT = 1000  # results of one check; a refresh every 5 minutes makes 288 a day


@dg.sensor(name="alerts", minimum_interval_seconds=300, default_status=dg.DefaultSensorStatus.RUNNING)
def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Open, keep and close alerts, and tell the channels that are set. It starts no run.

    What can be judged quickly is judged at every tick; what reads weeks of rows, once an hour (the cursor is when).
    """
    now = datetime.now(UTC)
    last = datetime.fromisoformat(context.cursor) if context.cursor else None
    is_whole = last is None or now - last >= HOUR
    done = look(context.instance, now, EVERY if is_whole else QUICK)
    if is_whole:
        context.update_cursor(now.isoformat())
    return dg.SkipReason(str(done))


def look(instance: dg.DagsterInstance, now: datetime, kinds: Collection[Kind] = EVERY) -> Evaluation:
    """Judge these kinds at the instant `now` (UTC) and tell the channels that are set."""
    settings = read_settings()
    failed = failed_checks(instance, settings.lookback_days)
    return evaluate_alerts(loader_engine(settings), settings, channels(settings), now, failed, kinds)


class Looked(NamedTuple):
    """When the sensor last looked without a fault (UTC), at the quick kinds and at every kind; None for never."""

    quick: datetime | None
    every: datetime | None


def last_looked(instance: dg.DagsterInstance) -> Looked:
    """What Dagster kept of the sensor, by whichever daemon ran it last."""
    found = sensor_records(instance, alerts.name)
    every = max((datetime.fromisoformat(kept.cursor) for kept in found if kept.cursor), default=None)
    ticks = [datetime.fromtimestamp(kept.last_success, UTC) for kept in found if kept.last_success]
    return Looked(max([*ticks, *([every] if every else [])], default=None), every)


def failed_checks(instance: dg.DagsterInstance, lookback_days: int) -> dict[str, list[str]]:
    """Checks in ERROR with the slugs they named. A later run of fewer days, earlier days or some tenants only proves
    nothing about the rest and leaves an ERROR in force.
    """
    keys = [check.spec.key for check in CHECKS if check.name not in OWN_CAUSE]
    found = {}
    for key in keys:
        error = _last_error(instance, key)
        if error and not _is_mended(instance, key, error, lookback_days):
            found[key.name] = _named(error)
    return found


def _last_error(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> CheckResult | None:
    failed = check_results(instance, key, LOOKED_AT, failed=True)
    return next((result for result in failed if _is_error(result)), None)


def _is_mended(instance: dg.DagsterInstance, key: dg.AssetCheckKey, error: CheckResult, lookback_days: int) -> bool:
    """Whether a later result over days as late and as many (or the whole trailing window) is no ERROR."""
    broken = instance.get_run_by_id(error.run_id)
    failed = window_of_run(broken) if broken else None
    for result in check_results(instance, key, LOOKED_AT):
        if result.id <= error.id:
            return False
        run = instance.get_run_by_id(result.run_id)
        if result.evaluation is None or run is None or _is_narrowed(run):
            continue
        seen = window_of_run(run)
        if failed is None or (seen.end >= failed.end and len(seen.days) >= min(lookback_days, len(failed.days))):
            return True
    return False


def _is_error(result: CheckResult) -> bool:
    return result.evaluation is not None and result.evaluation.severity is dg.AssetCheckSeverity.ERROR


def _named(error: CheckResult) -> list[str]:
    tenants = error.evaluation.metadata.get("tenants") if error.evaluation else None
    return str(tenants.value).split(", ") if tenants else []


def _is_narrowed(run: dg.DagsterRun) -> bool:
    """Whether the run was about some tenants only."""
    config: Any = run.run_config
    return bool(config.get("resources", {}).get("scope", {}).get("config", {}).get("tenants"))
