"""Whether a page is tried again, and after how long.

Belongs here: one pure decision and the loop round it. Stays out: what counts as trouble (`responses`). This is the only
layer that retries a request: retries at several layers multiply.

Full jitter from half a second up to half a minute spreads tenants that failed together; a wait that the source asked
for is obeyed as it is, and one that is longer than what is left ends the page at once with the instant to come back,
so that no worker sleeps for an hour.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TypeVar

from stax_pipeline.domain.errors import SourceUnavailable, TenantStopped

BASE_SECONDS = 0.5
CAP_SECONDS = 30.0
STRANGE_TRIES = 2  # a torn body or a proxy's page may be gone the next time; a changed contract is not

T = TypeVar("T")


class Kind(Enum):
    TRANSIENT = auto()  # may pass: try again within the budget
    STRANGE = auto()  # not what the documentation allows: try once more
    FATAL = auto()  # another try changes nothing


@dataclass(frozen=True, slots=True)
class Trouble:
    """One try that brought no page.

    `error` is what the caller gets when no further try is made. `asked` is the wait in seconds that the source named.
    """

    kind: Kind
    error: TenantStopped
    asked: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """`asked` is the wait that the source named, if any."""

    asked: float | None = None


def decide(
    trouble: Trouble,
    *,
    tries: int,
    strange: int,
    max_tries: int,
    left: float,
    draw: float,
) -> Wait | GiveUp:
    """What follows the `tries`-th try. `strange` counts strange answers so far, `left` is the budget in seconds,
    `draw` a number in [0, 1)."""
    if trouble.kind is Kind.FATAL or tries >= max_tries or (trouble.kind is Kind.STRANGE and strange >= STRANGE_TRIES):
        return GiveUp(trouble.asked)
    if trouble.asked is not None:
        return Wait(trouble.asked) if trouble.asked < left else GiveUp(trouble.asked)
    pause = draw * min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(tries - 1, 16))
    return Wait(pause) if pause < left else GiveUp()


class Retrying:
    """The loop. Clocks, sleep and chance come from outside, so that a test of an hour's wait costs nothing.

    `monotonic` measures the budget in seconds; `now` (UTC) only names the instant to come back, since it may be set.
    """

    def __init__(
        self,
        *,
        max_tries: int,
        total_seconds: float,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        random: Callable[[], float],
    ) -> None:
        self._max_tries = max_tries
        self._total_seconds = total_seconds
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self._random = random
        self.retries = 0

    async def run(self, attempt: Callable[[float], Awaitable[T | Trouble]]) -> T:
        """The first result that is no trouble. `attempt` is told how many seconds are left."""
        started, tries, strange = self._monotonic(), 0, 0
        left = self._total_seconds
        while True:
            outcome = await attempt(left)
            if not isinstance(outcome, Trouble):
                return outcome
            tries += 1
            strange += outcome.kind is Kind.STRANGE
            left = self._total_seconds - (self._monotonic() - started)
            decision = decide(
                outcome,
                tries=tries,
                strange=strange,
                max_tries=self._max_tries,
                left=left,
                draw=self._random(),
            )
            if isinstance(decision, GiveUp):
                raise _final(outcome.error, decision, tries, self._now())
            self.retries += 1
            await self._sleep(decision.seconds)
            left -= decision.seconds


def _final(error: TenantStopped, decision: GiveUp, tries: int, now: datetime) -> TenantStopped:
    """The error with what only the loop knows: how often it was tried, and when the source wants to be asked again."""
    if isinstance(error, SourceUnavailable):
        again = ""
        if decision.asked is not None and error.retry_at is None:
            error.retry_at = now + timedelta(seconds=decision.asked)
            again = f"; it asks to be left alone until {error.retry_at:%Y-%m-%d %H:%M:%S} UTC"
        error.args = (f"{error} after {tries} {'try' if tries == 1 else 'tries'}{again}",)
    return error
