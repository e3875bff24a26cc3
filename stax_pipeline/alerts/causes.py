"""What operators must hear of: facts in, causes out, each in words for a person.

Belongs here: what a cause is, and causes about keys, days, checks and unknown values. Stays out: causes about figures
(`alerts.figures`), how facts are found (`alerts.facts`), and whether a cause is new, known or gone
(`alerts.life_cycle`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from stax_pipeline.domain.next_step import next_step
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.pricing.prices.book import PRICED_GEOS

LONGEST_NAME = 80
PUBLIC_TIERS = frozenset({"", "standard", "batch", "priority"})


class Kind(StrEnum):
    """The worst first: in this order alerts are told where not all can be written out."""

    KEY_REJECTED = "key_rejected"
    TENANT_LATE = "tenant_late"
    QUARANTINED = "quarantined"
    CHECK_FAILED = "check_failed"
    UNKNOWN_VALUE = "unknown_value"
    PRICE_ACCURACY = "price_accuracy"
    SPEND_SPIKE = "spend_spike"
    DAY_RESTATED = "day_restated"
    INVOICE_DIFFERS = "invoice_differs"


class Cause(NamedTuple):
    """One thing that is wrong with one tenant. `subject` tells causes of one kind apart: a model, a day, a report.

    `what` happened and what `todo` next are whole sentences. `expires_at` is set for what has happened and cannot be
    mended: from then on nothing is told of its end.
    """

    tenant_id: UUID
    slug: str
    kind: Kind
    subject: str
    day: date | None
    what: str
    todo: str
    expires_at: datetime | None = None


class Rejected(NamedTuple):
    tenant_id: UUID
    slug: str
    since: datetime | None


def key_rejected(rows: Iterable[Rejected]) -> Iterator[Cause]:
    """A stored key that Anthropic answered 401 or 403."""
    for row in rows:
        since = f" since {row.since:%Y-%m-%d %H:%M} UTC" if row.since else ""
        yield Cause(
            row.tenant_id, row.slug, Kind.KEY_REJECTED, "", row.since.date() if row.since else None,
            f"Anthropic rejects the admin key{since}; nothing more is fetched with it.",
            next_step(row.slug, "", key_rejected=True),
        )  # fmt: skip


class Quarantined(NamedTuple):
    tenant_id: UUID
    slug: str
    report: str
    error: str
    window_start: date
    window_end: date
    extracted_at: datetime


def quarantined(rows: Iterable[Quarantined]) -> Iterator[Cause]:
    """Extractions that the unit guard or the shrink guard did not publish."""
    for row in rows:
        last = row.window_end - timedelta(days=1)
        yield Cause(
            row.tenant_id, row.slug, Kind.QUARANTINED, row.report, row.window_start,
            f"The {row.report} of {row.window_start} to {last}, fetched {row.extracted_at:%Y-%m-%d %H:%M} UTC, is "
            f"quarantined and the rows before it stay: {row.error}.",
            next_step(row.slug, row.error),
        )  # fmt: skip


class Late(NamedTuple):
    """A report of a day that `data_is_fresh` misses; `state` is missing, open, provisional or late (open-day usage)."""

    tenant_id: UUID
    slug: str
    report: str
    usage_date: date
    state: str


def tenant_late(rows: Iterable[Late], explained: Collection[Cause]) -> Iterator[Cause]:
    """One cause per tenant; none where a rejected key, or the same report quarantined, is the cause already."""
    without_key = {cause.tenant_id for cause in explained if cause.kind is Kind.KEY_REJECTED}
    held = {(cause.tenant_id, cause.subject) for cause in explained if cause.kind is Kind.QUARANTINED}
    by_tenant: dict[tuple[UUID, str], list[Late]] = defaultdict(list)
    for row in rows:
        if row.tenant_id not in without_key and (row.tenant_id, row.report) not in held:
            by_tenant[row.tenant_id, row.slug].append(row)
    for (tenant_id, slug), missed in by_tenant.items():
        days = sorted({row.usage_date for row in missed})
        reports = " and ".join(sorted({row.report for row in missed}))
        more = f" and {count_of(len(days) - 1, 'more day')}, the last {days[-1]}" if len(days) > 1 else ""
        behind = all(row.state == "late" for row in missed)
        yield Cause(
            tenant_id, slug, Kind.TENANT_LATE, "", days[0],
            f"The {reports} of {days[0]}{more} {'is behind its refresh' if behind else 'is late: not complete yet'}.",
            f"`stax status` shows the last error; `stax sync {slug}` fetches again. If nothing runs at all, `stax up`.",
        )  # fmt: skip


def check_failed(
    failed: Mapping[str, Collection[str]], words: Mapping[str, str], tenants: Mapping[str, UUID]
) -> Iterator[Cause]:
    """Checks in ERROR, by name with the slugs they name; `words` says what each check demands."""
    for name, slugs in failed.items():
        for slug in sorted(tenants.keys() & set(slugs)):
            yield Cause(
                tenants[slug], slug, Kind.CHECK_FAILED, name, None,
                f"Check {name} is in ERROR. It demands: {words.get(name, 'see its description.')}",
                f"`stax verify` names what breaks it; then `stax sync {slug}`, or `stax replay` for older days.",
            )  # fmt: skip


class Unpriced(NamedTuple):
    """What has no price; '' where model or tier do not apply. `first` and `last` are usage dates."""

    tenant_id: UUID
    slug: str
    model: str
    service_tier: str
    cost_type: str
    inference_geo: str
    first: date
    last: date


class NewValue(NamedTuple):
    """A value of a column that no documentation lists."""

    tenant_id: UUID
    slug: str
    column: str
    value: str
    first: date
    last: date


COLUMN_WORDS = {
    "service_tier": "service tier", "cost_type": "cost kind", "token_type": "token type",
    "context_window": "context window", "inference_geo": "inference geography",
}  # fmt: skip


def unknown_values(unpriced: Iterable[Unpriced], new: Iterable[NewValue]) -> Iterator[Cause]:
    """One cause per tenant and model, tier or other value; it is told once however many days and tiers show it."""
    spans: dict[tuple[UUID, str, str], list[tuple[date, date, bool]]] = defaultdict(list)
    for row in unpriced:
        spans[row.tenant_id, row.slug, _unpriced_subject(row)].append((row.first, row.last, True))
    for value in new:
        subject = f"{COLUMN_WORDS[value.column]} {one_line(value.value)}"
        spans[value.tenant_id, value.slug, subject].append((value.first, value.last, False))
    for (tenant_id, slug, subject), seen in spans.items():
        first, last = min(span[0] for span in seen), max(span[1] for span in seen)
        days = f"on {first}" if first == last else f"from {first} to {last}"
        if any(span[2] for span in seen):
            what = f"There is no price for {subject}, used {days}; its tokens are kept."
            todo = "Give it a price (docs/operate/prices.md), then `stax replay`; a newer stax may know it already."
        else:
            what = f"Anthropic's report shows a {subject}, {days}, that stax does not know; the rows are kept."
            todo = "Look for it in Anthropic's documentation, and for a newer stax."
        yield Cause(tenant_id, slug, Kind.UNKNOWN_VALUE, subject, first, what, todo)


def _unpriced_subject(row: Unpriced) -> str:
    """A tier or geography without a public price is one cause for all its models."""
    if row.service_tier not in PUBLIC_TIERS:
        return f"{COLUMN_WORDS['service_tier']} {one_line(row.service_tier)}"
    if row.inference_geo not in PRICED_GEOS:
        return f"{COLUMN_WORDS['inference_geo']} {one_line(row.inference_geo)}"
    return f"model {one_line(row.model)}" if row.model else f"{COLUMN_WORDS['cost_type']} {one_line(row.cost_type)}"


def one_line(text: str) -> str:
    """A source's name on one line and of bounded length."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= LONGEST_NAME else shown[: LONGEST_NAME - 1] + "…"
