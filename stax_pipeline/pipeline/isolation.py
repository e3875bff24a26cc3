"""One tenant's fault never touches another: the wall round each tenant's share of a step."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, field
from typing import Protocol

from stax_pipeline.domain.errors import CannotStart, Interrupted, StaxError
from stax_pipeline.domain.plain_text import plain

LOGGER = logging.getLogger("stax.steps")


class Progress(Protocol):
    """Told how much of the whole is done, and for how many tenants work has failed, which is not done."""

    def __call__(self, done: int, total: int, failed: int = 0, /) -> None: ...


def no_progress(_done: int, _total: int, _failed: int = 0) -> None:
    """For callers that show none."""


class Tally:
    """Counts the work of a step over its tenants, each with the same share, and tells it as it goes."""

    def __init__(self, progress: Progress, tenants: int, share: int) -> None:
        self._progress = progress
        self._share = share
        self._total = tenants * share
        self._finished = 0
        self._begun = 0
        self._failed = 0
        self._reported = -1, -1, -1

    def step(self, amount: int = 1) -> None:
        """Part of a tenant's share is done."""
        self._begun += amount
        self._report()

    def tenant_done(self, counted: int) -> None:
        """All of a tenant's share is done, whatever was counted of it."""
        self._begun -= counted
        self._finished += 1
        self._report()

    def tenant_failed(self, counted: int) -> None:
        """No more of a tenant's share will be done than was counted of it, and never all of it."""
        self._failed += 1
        self._begun -= max(counted - (self._share - 1), 0)
        self._report()

    def tenant_without_work(self) -> None:
        """A tenant has nothing to do in this step."""
        self._total -= self._share
        self._report()

    def tenant_ended(self, counted: int, *, failed: bool, worked: bool) -> None:
        """A tenant's work ended in one of these three ways."""
        if failed:
            self.tenant_failed(counted)
        elif worked:
            self.tenant_done(counted)
        else:
            self.tenant_without_work()

    def _report(self) -> None:
        done = min(self._finished * self._share + self._begun, self._total)
        now = done, self._total, self._failed
        if (done or self._failed) and now != self._reported:
            self._reported = now
            self._progress(*now)


@dataclass(slots=True)
class Outcome:
    """What a step did over its tenants: rows written, findings by tenant, and who failed for which reason.

    `retries` counts requests to the source that had to be sent again.
    """

    tenants: int = 0
    rows: int = 0
    retries: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)
    figures: dict[str, object] = field(default_factory=dict)

    @property
    def succeeded(self) -> int:
        return self.tenants - len(self.failures)

    def find(self, slug: str, *words: str) -> None:
        if words:
            self.findings.setdefault(slug, []).extend(plain(word, keep="\n") for word in words)


def reason(fault: Exception, doing: str) -> str:
    """The fault in words that are safe to keep. Stops the run instead where no tenant is to blame.

    An unexpected error is told by its kind and place alone: its message might quote anything.
    """
    if isinstance(fault, CannotStart | Interrupted):
        raise fault
    if isinstance(fault, StaxError):
        return plain(str(fault), keep="\n")
    frames = traceback.extract_tb(fault.__traceback__)
    place = f"{frames[-1].name}, line {frames[-1].lineno}" if frames else "unknown place"
    LOGGER.error("unexpected %s while %s (%s)", type(fault).__name__, doing, place)
    return f"unexpected {type(fault).__name__} while {doing} ({place}); please report it"
