"""What must not be published, or not go unsaid: changed units, cost that is not grouped, a settled day that shrinks,
tokens without a cost.

Pure rules over a batch of tenants; a reason is one tenant's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from stax_pipeline.derive.batch import Batch, price
from stax_pipeline.derive.engine import Engine
from stax_pipeline.derive.price_lists import usd
from stax_pipeline.derive.schemas import USD, schema_of
from stax_pipeline.domain.money import ZERO, multiply, ratio, sum_usd
from stax_pipeline.domain.next_step import SHRUNK, UNIT_MISMATCH, accept_shrink

UNIT_TOO_HIGH, UNIT_TOO_LOW = (
    Decimal(20),
    Decimal("0.05"),
)  # cents read as dollars are off by 100 either way
UNIT_LEAST_REPORTED = Decimal(1)
DOLLARS = "dollars charged"


def unit_mismatch(priced: Decimal, reported: Decimal) -> bool:
    """Whether reported dollars are so far from tokens × price that the unit must have changed."""
    quotient = ratio(priced, reported)
    return (
        quotient is not None
        and reported >= UNIT_LEAST_REPORTED
        and not UNIT_TOO_LOW < quotient < UNIT_TOO_HIGH
        and priced > 0
    )


def shrink_reason(
    slug: str, days: Sequence[date], before: Mapping[date, Decimal], after: Mapping[date, Decimal], what: str
) -> str:
    """Why shrunk days are not published, and the command that publishes them; `what` is `DOLLARS` or some tokens."""
    places = 2 if what == DOLLARS else 0
    none = Decimal(0)
    named = ", ".join(f"{d}: {before[d]:,.{places}f} → {after.get(d, none):,.{places}f} {what}" for d in days[:3])
    more = f" and {len(days) - 3} more days" if len(days) > 3 else ""
    return f"{SHRUNK}: {named}{more}. Kept raw, not published; {accept_shrink(slug, days)} publishes it"


SETTLEMENT = schema_of(tenant_id=pa.string(), usage_date=pa.date32(), settled=pa.bool_(), cost_missing=pa.bool_())


def settlement(engine: Engine, cost_lines: pa.Table, usage_lines: pa.Table, days: pa.Table) -> pa.Table:
    """Which days of a batch are settled, as SETTLEMENT.

    Args:
        cost_lines, usage_lines: the lines of several tenants' days.
        days: `tenant_id`, `usage_date` and `old_enough`: whether the day was old enough to settle when its current cost
            was extracted.

    Returns:
        A row per day, by tenant and date. A day that has standard or batch tokens and no cost line but credits is not
        settled, however old, since the cost may simply be missing; if it is old enough, `cost_missing` says so.
    """
    with engine.session() as session:
        session.give("cost_lines", cost_lines)
        session.give("usage_lines", usage_lines)
        session.give("days", days)
        session.run("settlement")
        return session.table("from settlement order by tenant_id, usage_date", SETTLEMENT)


def unit_faults(engine: Engine, batch: Batch) -> dict[str, str]:
    """The unit guard: by `tenant_id` a reason not to publish its cost. Needs priced and billed tokens both."""
    charges = batch.cost_lines.filter(pc.greater(batch.cost_lines.column("amount_usd"), pa.scalar(ZERO, USD)))
    open_days = batch.days.drop_columns(["settled"]).append_column(
        "settled", pa.array([False] * batch.days.num_rows, pa.bool_())
    )
    found: dict[str, str] = {}
    with engine.session() as session:
        price(session, batch._replace(cost_lines=charges, days=open_days))
        session.run("paid")
        session.run("reconciliation")
        for tenant_id, *totals in session.rows(_UNIT_TOTALS):
            priced, reported = map(usd, totals)
            if unit_mismatch(priced, reported):
                rows = session.rows(_UNIT_ROWS, tenant_id)
                if _is_off_everywhere([(usd(low), usd(paid)) for low, paid in rows], high=priced > reported):
                    found[tenant_id] = _unit_reason(priced, reported)
    return found


_UNIT_TOTALS = """
select tenant_id, sum(low), sum(reported) from accuracy join days using (day)
where low <> 0 and reported <> 0 group by tenant_id order by tenant_id
"""
_UNIT_ROWS = """
select low, reported from accuracy join days using (day) where low <> 0 and reported <> 0 and tenant_id = ?
"""


def _is_off_everywhere(rows: Sequence[tuple[Decimal, Decimal]], *, high: bool) -> bool:
    """Whether most dollars are off to that side: a unit changes for all of them, tokens lack their cost one by one."""
    off = [
        reported
        for priced, reported in rows
        if (quotient := ratio(priced, reported)) is not None
        and (quotient >= UNIT_TOO_HIGH if high else quotient <= UNIT_TOO_LOW)
    ]
    return multiply(sum_usd(off), 2) > sum_usd(reported for _, reported in rows)


def _unit_reason(priced: Decimal, reported: Decimal) -> str:
    return f"{UNIT_MISMATCH}: tokens × price say ${priced:.2f}, the cost report says ${reported:.2f}"


def grouping_faults(engine: Engine, cost_lines: pa.Table, usage_lines: pa.Table, days: pa.Table) -> dict[str, str]:
    """By `tenant_id` a reason not to publish cost that is not grouped as asked: the same tokens would be reported and
    estimated. `days` has `tenant_id`, `usage_date` and `settled`.
    """
    found: dict[str, str] = {}
    with engine.session() as session:
        session.give("cost_lines", cost_lines)
        session.give("usage_lines", usage_lines)
        session.give("days", days)
        session.run("grouping")
        for tenant_id, day, names_model in session.rows(
            "select tenant_id, usage_date, names_model from ungrouped order by tenant_id, usage_date"
        ):
            name = "token type" if names_model else "model"
            found.setdefault(
                tenant_id,
                f"the cost report is not grouped as asked: no token charge of {day} names a {name}, and standard or "
                "batch tokens were used",
            )
        for tenant_id, day, workspace_id in session.rows(
            "select tenant_id, usage_date, workspace_id from unplaced order by tenant_id, usage_date, workspace_id"
        ):
            found.setdefault(
                tenant_id,
                "the cost report is not grouped by workspace as asked: no row names one, and on "
                f"{day} standard or batch tokens were used in {workspace_id}",
            )
    return found


def shrink_faults(
    engine: Engine, held: pa.Table, fresh: pa.Table, days: pa.Table, slugs: Mapping[str, str], what: str
) -> dict[str, str]:
    """By `tenant_id` the reason not to publish a settled day that had rows and now has none, or loses more than half.

    Args:
        held, fresh: lines of the same days, as they are and as they would be: of cost where `what` is `DOLLARS`, else
            of usage or of usage by key.
        days: `tenant_id`, `usage_date` and `settled`.
        slugs: by `tenant_id`.
    """
    is_cost = what == DOLLARS
    before: dict[str, dict[date, Decimal]] = defaultdict(dict)
    after: dict[str, dict[date, Decimal]] = defaultdict(dict)
    with engine.session() as session:
        session.give("held", held)
        session.give("fresh", fresh)
        session.give("days", days)
        session.run("charges" if is_cost else "tokens")
        session.run("shrunk")
        for tenant_id, day, old, new in session.rows("from shrunk order by tenant_id, usage_date"):
            before[tenant_id][day] = usd(old) if is_cost else Decimal(old)
            if new is not None:
                after[tenant_id][day] = usd(new) if is_cost else Decimal(new)
    return {
        tenant_id: shrink_reason(slugs[tenant_id], list(shrunk), shrunk, after[tenant_id], what)
        for tenant_id, shrunk in before.items()
    }
