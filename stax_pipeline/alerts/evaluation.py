"""One round of alerts: judge, keep the state, tell what is due. What cannot be delivered waits and is never lost.

State is stored before anything is sent, and each channel's success is stored by itself: killed in between, a message
may come twice, never not at all. Stays out: Dagster (`assets.alerts` calls this at every tick).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from stax_pipeline.alerts.causes import Kind
from stax_pipeline.alerts.channels import Channel, DeliveryFailed
from stax_pipeline.alerts.facts import EVERY, judge
from stax_pipeline.alerts.life_cycle import advance, closed, due, next_attempt, notified
from stax_pipeline.alerts.message import Message, digest, in_one_message
from stax_pipeline.alerts.store import (
    Failing,
    note_failure,
    note_success,
    read_alerts,
    read_failing,
    take_turn,
    write_alerts,
)
from stax_pipeline.installation.settings import Settings
from stax_pipeline.warehouse.engine import plain_faults

NOTHING_FAILED: Mapping[str, Collection[str]] = {}


@dataclass(slots=True)
class Evaluation:
    """What one round did: how many alerts are open, what was delivered, and what could not be judged or delivered.

    `posted` is the message beside each sentence of `delivered`.
    """

    open: int = 0
    delivered: list[str] = field(default_factory=list)
    posted: list[Message] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join([f"{self.open} open.", *self.delivered, *self.faults])


def evaluate_alerts(
    engine: sa.Engine,
    settings: Settings,
    channels: Sequence[Channel],
    now: datetime,
    failed_checks: Mapping[str, Collection[str]] = NOTHING_FAILED,
    kinds: Collection[Kind] = EVERY,
) -> Evaluation:
    """Judge these kinds at the instant `now` (UTC) and tell each channel what it was not told, as one message.

    Raises CannotStart when the database cannot be reached; a channel that fails is told again later.
    """
    done = Evaluation()
    with plain_faults("keeping alerts"), engine.begin() as connection:
        if not take_turn(connection):
            done.faults.append("Another round is running.")
            return done
        judged = judge(connection, settings, now, failed_checks, kinds)
        after = advance(read_alerts(connection), judged.causes, judged.kinds, now)
        write_alerts(connection, after)
    done.faults += judged.faults
    for channel in channels:
        _notify(engine, channel, now, done)
    with plain_faults("keeping alerts"), engine.begin() as connection:
        kept = read_alerts(connection)
        write_alerts(connection, closed(kept, [channel.name for channel in channels], now))
    done.open = sum(alert.resolved_at is None for alert in kept)
    return done


def _notify(engine: sa.Engine, channel: Channel, now: datetime, done: Evaluation) -> None:
    """One message with what is due and finds room in it, unless the channel failed a short while ago."""
    with plain_faults("telling alerts"), engine.begin() as connection:
        if not take_turn(connection):
            return
        found = in_one_message(due(read_alerts(connection), channel.name, now))
        failing = read_failing(connection).get(channel.name)
        if not (found.new or found.gone) or (failing and now < failing.retry_at):
            return
        message = digest(found)
        try:
            done.delivered.append(channel.send(message))
        except DeliveryFailed as fault:
            done.faults.append(str(fault))
            note_failure(connection, _failed(channel, failing, str(fault), now))
            return
        done.posted.append(message)
        note_success(connection, channel.name)
        write_alerts(connection, notified(found, channel.name, now))


def _failed(channel: Channel, before: Failing | None, reason: str, now: datetime) -> Failing:
    failures = before.failures + 1 if before else 1
    since = before.failing_since if before else now
    return Failing(channel.name, failures, since, next_attempt(failures, now), reason)
