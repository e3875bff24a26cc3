"""What the demo has to show: each thing in a sentence with the warehouse's own figures, and the command that shows it.

What is not there, such as the invoice of a month that was not fetched whole, is not spoken of.
"""

from __future__ import annotations

import shlex
from decimal import Decimal
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from stax_pipeline.cli.homes import called, near
from stax_pipeline.cli.render import usd
from stax_pipeline.installation.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa

WIDTH = 100
INDENT = "   "


class Highlight(NamedTuple):
    """A query that finds at most one row, what is said of it, and what to type after `stax`, both with its columns."""

    found_by: str
    words: str
    command: str


HIGHLIGHTS = (
    Highlight(
        """
        select tenant, commitment_id, max(model) as model, sum(fee_usd) as fee_usd,
               sum(priority_reconstructed_usd) as priority_reconstructed_usd
        from stax.commitment_utilisation where period = 'day'
        group by tenant, commitment_id having sum(fee_usd) > 0 order by max(period_start) desc, tenant limit 1
        """,
        "A commitment: {tenant} paid {fee_usd} USD on these days for Priority Tier capacity of {model} "
        "({commitment_id}); the tokens that used it are worth {priority_reconstructed_usd} at list price.",
        "commitments",
    ),
    Highlight(
        """
        select tenant, usage_date, old_usd, new_usd, reasons from stax.restated_days
        where kind = 'cost' order by last_seen_at desc, tenant, usage_date limit 1
        """,
        "A restated day: the bill of {tenant} for {usage_date} said {old_usd} USD when it was first read, and says "
        "{new_usd} now. Both are kept, with the reason ({reasons}).",
        'sql "select usage_date, round(old_usd, 2) as old_usd, round(new_usd, 2) as new_usd, reasons '
        "from stax.restated_days where tenant = '{tenant}' and kind = 'cost'\"",
    ),
    Highlight(
        """
        select tenant, to_char(month, 'YYYY-MM') as month, invoice_usd, expected_usd, commitment_fee_usd
        from stax.invoice_check
        where invoice_usd is not null and days_complete = days_in_month and status <> 'differs'
        order by invoice_check.month desc, tenant limit 1
        """,
        "An invoice that matches: {tenant} was invoiced {invoice_usd} USD for {month}, and {expected_usd} were "
        "expected: what was billed, credits taken off, and {commitment_fee_usd} for its commitment.",
        'sql "select tenant, month, invoice_usd, round(expected_usd, 2) as expected_usd, status '
        'from stax.invoice_check where invoice_usd is not null"',
    ),
    Highlight(
        """
        select tenant, month as first_day, to_char(month, 'YYYY-MM') as month, invoice_usd, difference_usd,
               priority_reconstructed_usd
        from stax.invoice_check
        where days_complete = days_in_month and status = 'differs' and difference_usd > 0
        order by invoice_check.month desc, tenant limit 1
        """,
        "An invoice that does not: {tenant} was invoiced {invoice_usd} USD for {month}, {difference_usd} more than "
        "expected. Its Priority Tier use, which is in no cost report, is worth {priority_reconstructed_usd}.",
        'sql "select kind, model, round(sum(usd), 2) as usd from stax.invoice_differences '
        "where tenant = '{tenant}' and month = '{first_day}' group by 1, 2 order by 3 desc\"",
    ),
    Highlight(
        """
        select t.slug as tenant, s.usage_date, s.description, -sum(s.cost_usd) as credit_usd
        from stax.spend s join stax.tenants t using (tenant_id)
        where s.cost_source = 'reported' and s.cost_usd < 0
        group by t.slug, s.usage_date, s.description order by s.usage_date desc, t.slug limit 1
        """,
        "A credit: {tenant} got {credit_usd} USD back on {usage_date} ({description}). It is part of what was billed.",
        'sql "select usage_date, description, cost_usd from stax.spend join stax.tenants using (tenant_id) '
        "where slug = '{tenant}' and cost_usd < 0\"",
    ),
    Highlight(
        """
        select tenant, usage_date, coalesce((
            select sum(s.cost_usd) from stax.spend s
            where s.tenant_id = c.tenant_id and s.usage_date = c.usage_date and s.cost_source = 'usage-estimated'
        ), 0) as estimated_usd
        from stax.completeness c
        where cost_state = 'not reported yet'
        order by usage_date desc, tenant limit 1
        """,
        "A late day: {tenant} has tokens for {usage_date}, and its cost is not reported yet. The day is estimated at "
        "{estimated_usd} USD, never taken for zero, and asked for again until its cost comes.",
        'sql "select usage_date, usage_state, cost_state from stax.completeness '
        "where tenant = '{tenant}' order by 1 desc limit 3\"",
    ),
)


def tour(connection: sa.Connection, home: Path, given: Settings) -> str:
    """What there is to see in the demo's home, asked as the analyst, and how the home is used from a shell with the
    settings `given`.
    """
    import sqlalchemy as sa

    stax = called()
    lines = [
        "What to look at. Type this in a second terminal, in this folder. It works after the demo has ended, too:\n"
    ]
    if not given.embedded:
        lines.append(f"{INDENT}unset STAX_DATABASE_URL")
    lines.append(f"{INDENT}export STAX_HOME={shlex.quote(near(home))}\n")
    for highlight in HIGHLIGHTS:
        row = connection.execute(sa.text(highlight.found_by)).mappings().one_or_none()
        if row is not None:
            words = highlight.words.format_map({name: _plain(value) for name, value in row.items()})
            lines.append(fill(f"- {words}", WIDTH, subsequent_indent="  ", break_on_hyphens=False))
            lines.append(f"{INDENT}{stax} {highlight.command.format_map(row)}\n")
    lines.append(
        f"More: {stax} --help, docs/start/questions.md. These commands read; `stax sync` works too while the demo "
        f"runs, since it asks the simulator. To remove the demo: {stax} down --purge"
    )
    return "\n".join(lines)


def _plain(value: object) -> str:
    return usd(value) if isinstance(value, Decimal) else str(value)
