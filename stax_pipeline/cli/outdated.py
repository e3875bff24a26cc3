"""A line of warning where figures were built under older prices, rates or commitments than those in force."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import click

from stax_pipeline.domain.plurals import count_of
from stax_pipeline.installation.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa


def warn_of_outdated_days(connection: sa.Connection, settings: Settings, slug: str | None = None) -> None:
    """Name each tenant's days that `stax replay` would build anew; of one tenant, or of all."""
    from stax_pipeline.checks.rules import SPEND_IS_CURRENT
    from stax_pipeline.checks.runner import run_rule
    from stax_pipeline.domain.time import trailing_window

    now = datetime.now(UTC)
    found = run_rule(connection, SPEND_IS_CURRENT, trailing_window(0, now), now, settings)
    days: dict[str, set[date]] = defaultdict(set)
    for tenant, day, _ in found.rows:
        days[tenant].add(day)
    for tenant, outdated in sorted(days.items()):
        if slug in (None, tenant):
            first, last = min(outdated), max(outdated)
            click.echo(
                f"warning: {count_of(len(outdated), 'day')} of {tenant} not built from what is in force now "
                f"(extractions, prices, rates, commitments): stax replay --from {first} --to {last}",
                err=True,
            )
