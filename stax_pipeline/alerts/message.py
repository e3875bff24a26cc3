"""One message about several alerts: a title, plain text for people, and the same as data for programs.

Bounded whatever happens: of one tenant few alerts are written out and the rest is counted beside its name, so that no
tenant's flood hides another's alert.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stax_pipeline.alerts.causes import Kind
from stax_pipeline.alerts.life_cycle import Alert, Due
from stax_pipeline.domain.plain_text import plain
from stax_pipeline.domain.reasons import key_of, shared_reasons

SHOWN, SHOWN_OF_TENANT = 40, 10  # alerts written out in one message
TENANTS = 200  # named in one message; the others wait for the next one
SEVERITY = {kind: place for place, kind in enumerate(Kind)}
TITLES = {
    "key_rejected": "admin key rejected",
    "tenant_late": "data is late",
    "quarantined": "data quarantined",
    "check_failed": "a check is in ERROR",
    "unknown_value": "something new without a price or a meaning",
    "price_accuracy": "the price book does not match the bill",
    "spend_spike": "spend far above its usual",
    "day_restated": "a past day was restated",
    "invoice_differs": "an invoice differs",
}
Item = dict[str, str | None]


class More(NamedTuple):
    """How many alerts of one tenant a message counts without writing them out."""

    tenant: str
    new: int
    gone: int

    def __str__(self) -> str:
        counts = [f"{count} more{word}" for count, word in ((self.new, ""), (self.gone, " gone")) if count]
        return f"and {' and '.join(counts)} of {self.tenant}"


class Message(NamedTuple):
    """`text` holds line breaks; `new` and `gone` are what it writes out, item by item, instants in ISO 8601 (UTC);
    `more` is what it counts.
    """

    title: str
    text: str
    new: list[Item]
    gone: list[Item]
    more: list[More]


def in_one_message(found: Due) -> Due:
    """What one message tells of: every alert of the tenants that it has room to name, the worst off first."""
    tenants = list(dict.fromkeys(alert.tenant_id for part in found for alert in in_turn(part)))[:TENANTS]
    named = frozenset(tenants)
    return Due(*([alert for alert in part if alert.tenant_id in named] for part in found))


def digest(found: Due) -> Message:
    """The one message for everything that is due; each alert is written out or counted beside its tenant."""
    new = in_turn(found.new)[:SHOWN]
    gone = in_turn(found.gone)[: SHOWN - len(new)]
    new, gone = new + alike(found.new, new), gone + alike(found.gone, gone)
    more = counted(found, Due(new, gone))
    new, gone = (sorted(shown, key=worst_first) for shown in (new, gone))
    text = "\n".join([*_opened(new), *_ended(gone), *map(str, more), "`stax alerts` shows what is open."])
    return Message(_title(found), plain(text, keep="\n"), list(map(_item, new)), list(map(_item, gone)), more)


def in_turn(alerts: Sequence[Alert]) -> list[Alert]:
    """At most so many of each tenant: first every tenant's worst, then every tenant's second, and so on."""
    of_tenant: dict[str, list[Alert]] = defaultdict(list)
    for alert in sorted(alerts, key=worst_first):
        of_tenant[alert.slug].append(alert)
    turns = [(turn, alert) for own in of_tenant.values() for turn, alert in enumerate(own[:SHOWN_OF_TENANT])]
    return [alert for _, alert in sorted(turns, key=lambda one: (one[0], *worst_first(one[1])))]


def alike(alerts: Sequence[Alert], shown: Sequence[Alert]) -> list[Alert]:
    """Alerts that are not shown, but say of another tenant what one that is shown says: they take no line."""
    known = {_content_key(alert) for alert in shown}
    return [alert for alert in alerts if alert not in shown and _content_key(alert) in known][:TENANTS]


def _content_key(alert: Alert) -> tuple[str, ...]:
    return alert.kind, alert.subject, *key_of(alert.slug, alert.what, alert.todo)


def worst_first(alert: Alert) -> tuple[int, str, str]:
    return SEVERITY[alert.kind], alert.slug, alert.subject


def counted(found: Due, shown: Due) -> list[More]:
    """What was found and is not shown, by tenant."""
    new, gone = (
        Counter(alert.slug for alert in part) - Counter(alert.slug for alert in written)
        for part, written in zip(found, shown, strict=True)
    )
    return [More(slug, new[slug], gone[slug]) for slug in sorted(new | gone)]


def trial() -> Message:
    """What `stax alerts test` sends."""
    return Message(
        "stax: test message", "This is a test of stax's alerts. Nothing happened; this channel works.", [], [], []
    )  # fmt: skip


def _title(found: Due) -> str:
    new, gone = found
    if len(new) + len(gone) == 1:
        [alert] = [*new, *gone]
        return f"stax: {alert.slug}: {TITLES[alert.kind]}{'' if new else ' - gone'}"
    counts = [f"{len(part)} {word}" for part, word in ((new, "new"), (gone, "gone")) if part]
    return f"stax: alerts: {', '.join(counts)}"


def _opened(alerts: Sequence[Alert]) -> Iterator[str]:
    for shared in shared_reasons((alert.slug, f"{TITLES[alert.kind]}\n  {alert.what}", alert.todo) for alert in alerts):
        yield f"{shared.tenants_named}: {shared.reason}"
        yield f"  What to do: {shared.step}"
        yield ""


def _ended(alerts: Sequence[Alert]) -> Iterator[str]:
    for shared in shared_reasons((alert.slug, _end_of(alert), "") for alert in alerts):
        yield f"{shared.tenants_named}: gone: {shared.reason}"
        yield ""


def _end_of(alert: Alert) -> str:
    subject = f" ({alert.subject})" if alert.subject else ""
    span = f"Open from {alert.opened_at:%Y-%m-%d %H:%M} to {alert.resolved_at:%Y-%m-%d %H:%M} UTC."
    return f"{TITLES[alert.kind]}{subject}\n  {span}\n  It was: {alert.what}"


def _item(alert: Alert) -> Item:
    return {
        "tenant": alert.slug,
        "kind": alert.kind.value,
        "subject": plain(alert.subject),
        "day": alert.day.isoformat() if alert.day else None,
        "what": plain(alert.what),
        "todo": plain(alert.todo),
        "opened_at": alert.opened_at.isoformat(),
        "resolved_at": alert.resolved_at.isoformat() if alert.resolved_at else None,
    }
