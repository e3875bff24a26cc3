"""What can go wrong, in words a person can act on. No message ever holds a secret."""

from __future__ import annotations

from datetime import datetime


class StaxError(Exception):
    """A fault explained in plain words. The command line prints it without a traceback and exits with `exit_code`."""

    exit_code = 1


class Interrupted(StaxError):
    """The operator, or Dagster on his behalf, stopped the work; no tenant is to blame."""

    exit_code = 130


class WrongUse(StaxError):
    """The caller asked for something that cannot be (a bad slug, a bad date, a wrong setting)."""

    exit_code = 2


class Overlap(WrongUse):
    """Two rows of the operator's, `first` and `second`, that may not stand side by side.

    `why` ends "both …", `advice` ends "expected …".
    """

    def __init__(self, why: str, advice: str, first: object, second: object) -> None:
        super().__init__(f"{first} and {second} {why}: expected {advice}.")
        self.why, self.advice, self.first, self.second = why, advice, first, second


class CannotStart(StaxError):
    """Something the product needs is missing: the database, the master key, the server's binaries."""

    exit_code = 3


class KeyRefused(StaxError):
    """The admin key was refused, by us or by Anthropic, before it was stored."""

    exit_code = 4


class TenantStopped(StaxError):
    """One tenant's stream stops here for a named reason; every other tenant goes on."""


class KeyRejected(TenantStopped):
    """Anthropic answered 401 or 403 to a stored key: fatal for this tenant until the key is replaced."""


class RequestRejected(TenantStopped):
    """Anthropic answered 400, 404 or another status that a retry does not mend.

    `status` is the HTTP status; `error_type` and `error_code` are the source's own words, '' when it gave none.
    """

    def __init__(self, message: str, *, status: int, error_type: str = "", error_code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.error_code = error_code


class SourceUnavailable(TenantStopped):
    """Retries are used up, or the source asked for a longer wait than this run allows.

    `retry_at` is the instant (UTC) the source named, None when it named none.
    `status` is the last HTTP status, None for a transport failure or a time-out.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_at: datetime | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_at = retry_at


class ContractBroken(TenantStopped):
    """The source answered something its documentation does not allow; nothing of it is published."""
