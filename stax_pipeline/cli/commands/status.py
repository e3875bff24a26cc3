"""`stax status`: what an operator looks at first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    from stax_pipeline.cli.summary import Dollars

SUMMED_DAYS = 30
_KEYS = """
select t.slug, t.name, t.status, t.created_at, k.key_hint, k.validated_at, t.source
from stax.tenants t
left join stax.admin_keys k on k.tenant_id = t.tenant_id and k.revoked_at is null
order by t.slug
"""
_REACHED = """
select t.slug, coalesce(f.usage_data_through, last.usage) as usage_data_through,
       coalesce(f.cost_data_through, last.cost) as cost_data_through,
       coalesce(f.complete_through, last.complete) as complete_through,
       e.report, e.recorded_at, e.error,
       r.lowest, r.highest
from stax.tenants t
left join stax.freshness f using (tenant_id)
left join lateral (
    select e.report, e.recorded_at, e.error
    from stax.extractions e
    where e.tenant_id = t.tenant_id and e.error is not null and e.report <> 'analytics'
      and not exists (select 1 from stax.extractions later
                      where later.tenant_id = e.tenant_id and later.report = e.report and later.error is null
                        and later.recorded_at > e.recorded_at)
    order by e.recorded_at desc limit 1) e on true
left join (select tenant_id, min(ratio) as lowest, max(ratio) as highest from stax.reconciliation
           where usage_date >= (now() at time zone 'UTC')::date - 30 group by tenant_id) r using (tenant_id)
-- freshness leaves disconnected tenants out: their last days are told here
left join (select tenant_id, max(data_through) filter (where report = 'usage_report') as usage,
                  max(data_through) filter (where report = 'cost_report') as cost,
                  least(max(usage_date) filter (where report = 'usage_report' and state = 'complete'),
                        max(usage_date) filter (where report = 'cost_report' and state = 'complete')) as complete
           from stax.coverage group by tenant_id) last on last.tenant_id = t.tenant_id and t.status = 'disconnected'
"""


class Status(NamedTuple):
    """One tenant as `status` shows it."""

    tenant: str
    status: str
    key_hint: str | None
    usage_data_through: datetime | None
    cost_data_through: datetime | None
    complete_through: date | None
    price_accuracy_low: Decimal | None
    price_accuracy_high: Decimal | None
    last_error: str | None
    next_step: str | None
    dollars: Dollars


class Known(NamedTuple):
    """One tenant, the hint of its key in use, and what it is read from where that was set."""

    slug: str
    name: str
    status: str
    created_at: datetime
    key_hint: str | None
    validated_at: datetime | None
    source: str | None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs; instants in ISO 8601, ratios as text.")
def status(as_json: bool) -> None:
    """Per tenant: state, key, how far data reaches, price accuracy and dollars of 30 days, last error, what to do."""
    from stax_pipeline.cli.database import analyst, reading
    from stax_pipeline.cli.outdated import warn_of_outdated_days

    settings = read_settings()
    with reading(settings):
        found = _status(settings)
        with analyst(settings) as connection:
            warn_of_outdated_days(connection, settings)
    if as_json:
        listed = [{**one._asdict(), "dollars": one.dollars._asdict()} for one in found]
        click.echo(json.dumps(listed, default=_for_json, indent=2))
    elif found:
        _print_status(found)
    else:
        print_none()


def print_none() -> None:
    click.echo("There is no tenant yet. `stax connect acme` connects one.", err=True)


def known(settings: Settings) -> list[Known]:
    """As the loader, who alone may look at keys; hints leave, ciphertexts do not."""
    import sqlalchemy as sa

    from stax_pipeline.cli.database import loader
    from stax_pipeline.warehouse.engine import plain_faults

    with loader(settings) as engine, plain_faults("listing tenants"), engine.connect() as connection:
        return [Known(*row) for row in connection.execute(sa.text(_KEYS))]


def _status(settings: Settings) -> list[Status]:
    import sqlalchemy as sa

    from stax_pipeline.cli.database import analyst
    from stax_pipeline.cli.summary import summarize
    from stax_pipeline.domain.time import trailing_window

    with analyst(settings) as connection:
        reached = {row.slug: row for row in connection.execute(sa.text(_REACHED))}
        window = trailing_window(SUMMED_DAYS, datetime.now(UTC))
        dollars = {one.slug: one.dollars for one in summarize(connection, window, list(reached))}
    return [
        Status(
            one.slug, one.status, one.key_hint, row.usage_data_through, row.cost_data_through, row.complete_through,
            row.lowest, row.highest, _last_error(row), _next_step(one, row.error), dollars[one.slug],
        )
        for one in known(settings) if (row := reached.get(one.slug))
    ]  # fmt: skip


def _last_error(row: Any) -> str | None:
    at = row.recorded_at and row.recorded_at.astimezone(UTC)
    return f"{row.report} at {at:%Y-%m-%d %H:%M} UTC: {row.error}" if row.error else None


def _next_step(one: Known, error: str | None) -> str | None:
    from stax_pipeline.domain.next_step import next_step
    from stax_pipeline.domain.tenant import DISCONNECTED, KEY_REJECTED

    rejected = one.status == KEY_REJECTED
    if one.status == DISCONNECTED or not (rejected or error):
        return None
    return next_step(one.slug, error or "", key_rejected=rejected) or None


def _print_status(found: Sequence[Status]) -> None:
    from stax_pipeline.cli import render
    from stax_pipeline.cli.summary import DOLLARS
    from stax_pipeline.domain.plain_text import plain
    from stax_pipeline.domain.reasons import shared_reasons

    rows = [
        (
            one.tenant, one.status, f"…{one.key_hint}" if one.key_hint else "none",
            render.instant(one.usage_data_through), render.instant(one.cost_data_through),
            str(one.complete_through or "never"), _price_accuracy(one),
        )
        for one in found
    ]  # fmt: skip
    headings = (
        "tenant",
        "status",
        "key",
        "usage data through",
        "cost data through",
        "complete through",
        "price accuracy",
    )
    click.echo(render.table(headings, rows))
    click.echo(f"\nThe last {SUMMED_DAYS} complete days and today (USD):")
    dollars = [(one.tenant, *one.dollars.shown) for one in found]
    click.echo(render.table(("tenant", *DOLLARS), dollars, right=DOLLARS))
    for shared in shared_reasons((one.tenant, one.last_error or "", one.next_step or "") for one in found):
        if shared.reason:
            click.echo(f"last error of {shared.tenants_named}: {plain(shared.reason)}")
        if shared.step:
            click.echo(f"what to do about {shared.tenants_named}: {plain(shared.step)}")


def _price_accuracy(one: Status) -> str:
    """Priced ÷ reported over days, models and tiers: how far the price book can be trusted."""
    if one.price_accuracy_low is None or one.price_accuracy_high is None:
        return "-"
    return f"{one.price_accuracy_low:.4f} to {one.price_accuracy_high:.4f}"


def _for_json(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
