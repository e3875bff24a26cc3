"""One message about several alerts: a title, plain text for people, and the same as data for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stax_pipeline.domain.alerts import Alert, Due

SHOWN = 40  # alerts written out in one message; all of them are in its data and in `stax alerts`
TITLES = {
    "key_rejected": "admin key rejected",
    "tenant_late": "data is late",
    "held_back": "data held back",
    "check_failed": "a check is in ERROR",
    "unknown_value": "something new without a price or a meaning",
    "error_bar": "the price book does not match the bill",
    "spend_spike": "spend far above its usual",
    "day_restated": "a past day was restated",
    "invoice_differs": "an invoice differs",
}
Item = dict[str, str | None]


class Message(NamedTuple):
    """`text` holds line breaks; `new` and `gone` say the same item by item, instants in ISO 8601 (UTC)."""

    title: str
    text: str
    new: list[Item]
    gone: list[Item]


def digest(found: Due) -> Message:
    """The one message for everything that is due."""
    new, gone = (sorted(part, key=lambda a: (a.slug, a.kind, a.subject)) for part in found)
    return Message(_title(new, gone), "\n".join(_text(new, gone)), list(map(_item, new)), list(map(_item, gone)))


def trial() -> Message:
    """What `stax alerts test` sends."""
    return Message(
        "stax: test message", "This is a test of stax's alerts. Nothing happened; this channel works.", [], []
    )  # fmt: skip


def _title(new: Sequence[Alert], gone: Sequence[Alert]) -> str:
    if len(new) + len(gone) == 1:
        [alert] = [*new, *gone]
        return f"stax: {alert.slug}: {TITLES[alert.kind]}{'' if new else ' - gone'}"
    counts = [f"{len(part)} {word}" for part, word in ((new, "new"), (gone, "gone")) if part]
    return f"stax: alerts: {', '.join(counts)}"


def _text(new: Sequence[Alert], gone: Sequence[Alert]) -> Iterator[str]:
    for alert in new[:SHOWN]:
        yield f"{alert.slug}: {TITLES[alert.kind]}"
        yield f"  {alert.what}"
        if alert.resolved_at:
            yield f"  It is gone again since {alert.resolved_at:%Y-%m-%d %H:%M} UTC."
        yield f"  What to do: {alert.todo}"
        yield ""
    room = SHOWN - min(len(new), SHOWN)
    for alert in gone[:room]:
        yield f"{alert.slug}: gone: {TITLES[alert.kind]}{f' ({alert.subject})' if alert.subject else ''}"
        yield f"  Open from {alert.opened_at:%Y-%m-%d %H:%M} to {alert.resolved_at:%Y-%m-%d %H:%M} UTC."
        yield f"  It was: {alert.what}"
        yield ""
    left = len(new) + len(gone) - SHOWN
    if left > 0:
        yield f"and {left} more."
    yield "`stax alerts` shows all that is open."


def _item(alert: Alert) -> Item:
    return {
        "tenant": alert.slug,
        "kind": alert.kind.value,
        "subject": alert.subject,
        "day": alert.day.isoformat() if alert.day else None,
        "what": alert.what,
        "todo": alert.todo,
        "opened_at": alert.opened_at.isoformat(),
        "resolved_at": alert.resolved_at.isoformat() if alert.resolved_at else None,
    }
