"""Query parameters as the source reads them: what is unknown, missing or out of bounds is a 400.

Error bodies' own shape and HTTP are in `app`; what the parameters mean to a report is in that report's module.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_LONGEST_INTEGER = 9


@dataclass(frozen=True, slots=True)
class ApiError(Exception):
    """An answer other than 200."""

    status: int
    type: str
    message: str


def bad_request(message: str) -> ApiError:
    return ApiError(400, "invalid_request_error", message)


class Parameters:
    """The query of one request, checked against the names that its endpoint knows."""

    def __init__(
        self,
        items: Sequence[tuple[str, str]],
        scalars: Collection[str] = (),
        lists: Collection[str] = (),
    ) -> None:
        self.items = tuple(items)
        names = [name for name, _ in items]
        for name in names:
            if name not in scalars and name not in lists:
                raise bad_request(f"{name}: Extra inputs are not permitted")
            if name in scalars and names.count(name) > 1:
                raise bad_request(f"{name}: Input should be a single value")

    def one(self, name: str) -> str | None:
        return next((value for known, value in self.items if known == name), None)

    def many(self, name: str) -> tuple[str, ...]:
        return tuple(value for known, value in self.items if known == name)

    def choices(self, name: str, allowed: Collection[str]) -> tuple[str, ...]:
        values = self.many(name)
        for value in values:
            if value not in allowed:
                raise bad_request(f"{name}: Input should be {_listed(allowed)}")
        return values

    def choice(self, name: str, allowed: Collection[str], default: str) -> str:
        value = self.one(name)
        if value is not None and value not in allowed:
            raise bad_request(f"{name}: Input should be {_listed(allowed)}")
        return default if value is None else value

    def flag(self, name: str) -> bool:
        return self.choice(name, ("true", "false"), "false") == "true"

    def limit(self, default: int, maximum: int) -> int:
        text = self.one("limit")
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_INTEGER):
            raise bad_request("limit: Input should be a valid integer")
        if not 1 <= int(text) <= maximum:
            raise bad_request(f"limit: Input should be between 1 and {maximum}")
        return int(text)

    def instant(self, name: str) -> datetime | None:
        text = self.one(name)
        if text is None:
            return None
        try:
            value = datetime.fromisoformat(text)
            utc = value.astimezone(UTC)
        except (ValueError, OverflowError):
            raise bad_request(f"{name}: Input should be a valid RFC 3339 datetime") from None
        if value.tzinfo is None:
            raise bad_request(f"{name}: Input should have timezone info")
        return utc


def _listed(allowed: Collection[str]) -> str:
    return " or ".join(f"'{value}'" for value in sorted(allowed))
