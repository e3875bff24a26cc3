"""How much a check of a run has to look at, by what its last result says, and what its result says of that.

A check that held over all days of a run need not look again at those that are as they were: it looks at every day, or
at what changed since a look whose days hold the run's own. What a result says is kept in Dagster beside it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import dagster as dg
import sqlalchemy as sa

from stax_pipeline import __version__
from stax_pipeline.checks.changed import as_of, changed_since, written_last
from stax_pipeline.dagster_instance.internals import last_evaluation
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.warehouse.arrow_copy import Slot

OF_VIEWS = 32
"""Tenant-days of a run at which a check of views looks."""
RELIED_ON = timedelta(days=1)
"""So long a look counts: damage that no record tells of is found by the first run of each day at the latest."""


class Held(NamedTuple):
    """Of every tenant and each day of the window a check held at this instant (UTC), by this version of the product."""

    at: datetime
    window: Window
    version: str

    def metadata(self) -> dict[str, Any]:
        return {
            "holds_as_of": dg.MetadataValue.timestamp(self.at),
            "first_day": self.window.start.isoformat(),
            "last_day": self.window.days[-1].isoformat(),
            "version": self.version,
        }


@dataclass(frozen=True, slots=True)
class Look:
    """What a check looks at: the tenant-days `changed` alone, since `relied_on` held or as a sample; or every day."""

    relied_on: Held | None = None
    changed: Collection[Slot] | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """In words, for who reads the result."""
        if self.changed is None:
            return {"looked_at": "every day of the run"}
        if self.relied_on is None:
            return {"looked_at": f"{count_of(len(self.changed), 'tenant-day')} of the run, written last"}
        since = f"{self.relied_on.at:%Y-%m-%d %H:%M:%S} UTC"
        days = count_of(len(self.changed or ()), "tenant-day")
        return {"looked_at": f"{days} that may have changed since {since}"}


class Looks:
    """The looks of one step over the days of its run, for every tenant."""

    def __init__(self, connection: sa.Connection, instance: dg.DagsterInstance, window: Window) -> None:
        self.as_of = as_of(connection)
        self._connection = connection
        self._instance = instance
        self._window = window
        self._changed: dict[datetime, set[Slot]] = {}

    def at(self, key: dg.AssetCheckKey) -> Look:
        """What the check has to look at."""
        held = _last_held(self._instance, key)
        if held is None or not _covers(held, self._window, self.as_of):
            return Look()
        if held.at not in self._changed:
            self._changed[held.at] = changed_since(self._connection, self._window, held.at)
        return Look(held, self._changed[held.at])

    def some(self) -> Look:
        """What a check of views has to look at."""
        return Look(changed=written_last(self._connection, self._window, OF_VIEWS))

    def held(self) -> Held:
        """What a check says that found nothing."""
        return Held(self.as_of, self._window, __version__)


def _covers(held: Held, window: Window, now: datetime) -> bool:
    is_within = held.window.start <= window.start and window.end <= held.window.end
    return is_within and held.version == __version__ and now - held.at < RELIED_ON


def _last_held(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> Held | None:
    """What the check's last result says; None where it says of no instant that it held for every tenant."""
    evaluation = last_evaluation(instance, key)
    if evaluation is None or not evaluation.passed or "holds_as_of" not in evaluation.metadata:
        return None
    told = {name: evaluation.metadata[name].value for name in ("holds_as_of", "first_day", "last_day", "version")}
    first, last = (date.fromisoformat(str(told[name])) for name in ("first_day", "last_day"))
    window = Window(first, last + timedelta(days=1))
    return Held(datetime.fromtimestamp(float(str(told["holds_as_of"])), UTC), window, str(told["version"]))
