"""Figures that operators must hear of: price accuracy, spend spikes, restated days, invoices. Facts in, causes out.

Belongs here: the thresholds and the words. Dollars are USD, days UTC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from stax_pipeline.alerts.causes import Cause, Kind, one_line
from stax_pipeline.derive.reconciliation import Cause as Likely
from stax_pipeline.domain.extraction import midnight
from stax_pipeline.domain.money import EXACT, multiply, ratio

MODELS_NAMED = 12
RESTATED_SHARE = Decimal("0.01")
SPIKE_FACTOR = 3
SPIKE_LEAST_USD = Decimal(50)
SPIKE_WEEKS = (4, 8)  # at least and at most so many earlier days of the same weekday
EVENT_DAYS = 7  # what has happened cannot be mended: it stays open this long after the day it is about


class Inaccurate(NamedTuple):
    """A model and tier whose price accuracy left its range on a day; `cause` is that of `reconciliation`."""

    tenant_id: UUID
    slug: str
    model: str
    service_tier: str
    usage_date: date
    ratio: Decimal
    cause: str


ACCURACY_ADVICE = {
    Likely.UNBILLED: "Blocked requests cost nothing; if there are many, ask the tenant (`reconciliation`).",
    Likely.BILLED_AT_ZERO: "Ask Anthropic, or the tenant, why these tokens were billed at zero (`reconciliation`).",
    Likely.OTHER_MODEL: "The bill names the model by another id than the usage; the dollars agree (`reconciliation`).",
    Likely.FAST_MODE: "Compare the prices of fast mode with the bill: docs/operate/prices.md says how to correct one.",
    Likely.CONTRACT_DISCOUNT: "`stax rates suggest {slug}` proposes a rate to record; then `stax replay`.",
    Likely.RECORDED_RATE: "Ask for the discount, or correct the rate on record (`stax rates`); then `stax replay`.",
    Likely.ONE_TOKEN_TYPE: (
        "docs/understand/price-accuracy.md has the query that shows which type's price or rate is wrong."
    ),
    Likely.RESTATED: "Compare these days with the Console; `restated_days` says what changed and when.",
    Likely.UNEXPLAINED: "Compare the price in force (`stax prices`) with Anthropic's; `reconciliation` has every day.",
}


def price_accuracy_left(rows: Iterable[Inaccurate], reported: Collection[Cause]) -> Iterator[Cause]:
    """Priced ÷ reported outside the range that `price_book_matches_bill` allows: one cause per tenant and likely cause.

    None where a day's restatement is the likely cause and `reported` already.
    """
    restated = {(cause.tenant_id, cause.day) for cause in reported if cause.kind is Kind.DAY_RESTATED}
    by_cause: dict[tuple[UUID, str, str], list[Inaccurate]] = defaultdict(list)
    for row in sorted(rows, key=lambda one: one.usage_date):
        if row.cause != Likely.RESTATED or (row.tenant_id, row.usage_date) not in restated:
            by_cause[row.tenant_id, row.slug, row.cause].append(row)
    for (tenant_id, slug, likely), off in by_cause.items():
        days, last = {row.usage_date for row in off}, off[-1].usage_date
        on = f"on {last}" if len(days) == 1 else f"on {len(days)} days, the last {last}"
        yield Cause(
            tenant_id, slug, Kind.PRICE_ACCURACY, likely, last,
            f"Tokens × price are outside 0.99 to 1.01 times the bill {on}: {_ratios(off)}. Likely cause: {likely}.",
            ACCURACY_ADVICE[Likely(likely)].format(slug=slug),
        )  # fmt: skip


def _ratios(off: Iterable[Inaccurate]) -> str:
    """The ratio of each model and tier on its last such day; `off` is in the order of days."""
    last = {(one_line(row.model), one_line(row.service_tier)): row.ratio for row in off}
    named = [f"{model} ({tier}) {ratio:.4f}" for (model, tier), ratio in sorted(last.items())]
    more = f" and {len(named) - MODELS_NAMED} more" if len(named) > MODELS_NAMED else ""
    return ", ".join(named[:MODELS_NAMED]) + more


class DaySpend(NamedTuple):
    """All known dollars of a complete day, credits left out: a day after one would look like a spike."""

    tenant_id: UUID
    slug: str
    usage_date: date
    usd: Decimal


def spend_spikes(rows: Iterable[DaySpend], today: date) -> Iterator[Cause]:
    """Complete days of the last week at three times the median of their weekday, or more, and at least $50."""
    by_tenant: dict[tuple[UUID, str], dict[date, Decimal]] = defaultdict(dict)
    for row in rows:
        by_tenant[row.tenant_id, row.slug][row.usage_date] = row.usd
    for (tenant_id, slug), spent in by_tenant.items():
        for day in sorted(spent):
            usual = weekday_median(spent, day)
            is_recent = today - timedelta(days=EVENT_DAYS) <= day < today
            if is_recent and usual is not None and is_spike(spent[day], usual):
                yield _spike(tenant_id, slug, day, spent[day], usual)


def weekday_median(spent: Mapping[date, Decimal], day: date) -> Decimal | None:
    """Median of the same weekday over up to eight weeks before; None with fewer than four such days."""
    least, most = SPIKE_WEEKS
    days = (day - timedelta(weeks=n) for n in range(1, most + 1))
    found = sorted(spent[earlier] for earlier in days if earlier in spent)
    if len(found) < least:
        return None
    middle = len(found) // 2
    return found[middle] if len(found) % 2 else ratio(EXACT.add(found[middle - 1], found[middle]), Decimal(2))


def is_spike(usd: Decimal, usual: Decimal) -> bool:
    return usd >= SPIKE_LEAST_USD and usd >= multiply(usual, SPIKE_FACTOR)


def _spike(tenant_id: UUID, slug: str, day: date, usd: Decimal, usual: Decimal) -> Cause:
    times = ratio(usd, usual)
    against = f"{times:.1f} times the usual ${usual:,.2f}" if times else "where it is usually nothing"
    return Cause(
        tenant_id, slug, Kind.SPEND_SPIKE, day.isoformat(), day,
        f"Spend on {day} is ${usd:,.2f}, {against} (median of the {day:%A}s before).",
        "See which model, workspace or API key it is in `spend_daily` and `spend_by_key`; ask the tenant.",
        _past(day),
    )  # fmt: skip


class Restated(NamedTuple):
    """What changed about a complete day on the UTC day `seen_on`: USD (`cost`) or tokens (`usage`) added and taken.

    `before` is the day's figure without any of it, `charged` what it is charged now (USD, credits left out).
    """

    tenant_id: UUID
    slug: str
    usage_date: date
    kind: str
    seen_on: date
    added: Decimal
    taken: Decimal
    before: Decimal
    charged: Decimal


def day_restated(rows: Iterable[Restated]) -> Iterator[Cause]:
    """Days of which more than 1 % of the charges or the tokens changed after they had been complete."""
    for row in rows:
        if max(row.added, row.taken) <= multiply(max(row.before, row.charged), RESTATED_SHARE):
            continue
        what, show = ("reported dollars", _usd) if row.kind == "cost" else ("tokens", _tokens)
        yield Cause(
            row.tenant_id, row.slug, Kind.DAY_RESTATED,
            f"{row.kind} of {row.usage_date}, seen {row.seen_on}", row.usage_date,
            f"Anthropic restated the {what} of {row.usage_date} on {row.seen_on}: {show(row.added)} added, "
            f"{show(row.taken)} taken away, of {show(row.before)} before.",
            "Correct what you passed on for that day; `restatements` has every line.",
            _past(row.seen_on),
        )  # fmt: skip


class OffInvoice(NamedTuple):
    """A recorded invoice of a complete month beside reported dollars and commitment fees."""

    tenant_id: UUID
    slug: str
    month: date
    invoice_usd: Decimal
    expected_usd: Decimal


def invoice_differs(rows: Iterable[OffInvoice]) -> Iterator[Cause]:
    for row in rows:
        yield Cause(
            row.tenant_id, row.slug, Kind.INVOICE_DIFFERS, f"{row.month:%Y-%m}", row.month,
            f"The invoice of {row.month:%Y-%m} says {_usd(row.invoice_usd)}; reported dollars and commitment fees are "
            f"{_usd(row.expected_usd)}.",
            "Look for fees, credits or taxes on the invoice, and for a typing error in what was recorded.",
        )  # fmt: skip


def _past(day: date) -> datetime:
    return midnight(day + timedelta(days=EVENT_DAYS + 1))


def _usd(amount: Decimal) -> str:
    return f"${amount:,.2f}"


def _tokens(count: Decimal) -> str:
    return f"{count:,.0f} tokens"
