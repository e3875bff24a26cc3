"""Wrong answers on request: which requests get one, and what is wrong with it.

Faults are given by a test before or while the simulator runs; they depend only on the order of the requests. Whole
scripts of an outage and random faults stay out.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}

Page = dict[str, Any]
Change = Callable[[Page, str], None]
Items = tuple[tuple[str, str], ...]
When = Callable[[Items], bool]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one answer.

    `status` replaces the status, `body` the whole answer; without a body, a status other than 200 gets the
    documented error body. `change` edits the true answer in place and is given a token that leads back to the very
    same page. `delay` is in seconds and comes first.
    """

    status: int | None = None
    body: str | None = None
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    change: Change | None = None
    delay: float = 0.0


def status(code: int, retry_after: float | None = None) -> Fault:
    headers = () if retry_after is None else (("retry-after", f"{retry_after:g}"),)
    return Fault(status=code, headers=headers)


def retry_after(value: str, code: int = 429) -> Fault:
    """A status with that header, word for word: seconds, a date, or nonsense."""
    return Fault(status=code, headers=(("retry-after", value),))


def error_envelope(kind: str = "overloaded_error", code: int = 200, error_code: str = "", message: str = "no") -> Fault:
    """The documented error body, whatever the status says."""
    details = {"details": {"error_code": error_code}} if error_code else {}
    return body({"type": "error", "error": {"type": kind, "message": message, **details}}, code)


def missing_scope(needed: str, got: str = "api:admin") -> Fault:
    """What a key without the scope gets from one endpoint."""
    words = f"Missing required scopes. Got: [{got}] Needed: [{needed}]"
    return error_envelope("permission_error", 403, message=words)


def cursor_gone() -> Fault:
    """What a page token gets that the source has forgotten; give it `when=later_page`."""
    return error_envelope("invalid_request_error", 410, message="cursor expired")


def later_page(params: Items) -> bool:
    return any(name == "page" for name, _ in params)


def groups_before(name: str, day: date) -> When:
    """Of requests that group by `name` and begin before `day`."""

    def asks(params: Items) -> bool:
        first = dict(params).get("starting_at", "")[:10]
        return ("group_by[]", name) in params and first < day.isoformat()

    return asks


def html(code: int = 200) -> Fault:
    return Fault(
        status=code,
        body="<html><body>Bad gateway</body></html>",
        content_type="text/html",
    )


def body(value: object, code: int = 200) -> Fault:
    """`value` as JSON, or as it is when it is text."""
    return Fault(status=code, body=value if isinstance(value, str) else json.dumps(value))


def delay(seconds: float) -> Fault:
    return Fault(delay=seconds)


def has_more_without_token() -> Fault:
    return Fault(change=lambda page, _: page.update(has_more=True, next_page=None))


def token_without_more() -> Fault:
    return Fault(change=lambda page, token: page.update(has_more=False, next_page=token))


def empty_page() -> Fault:
    """Nothing, and a request to go on, to the very same page."""
    return Fault(change=lambda page, token: page.update(data=[], has_more=True, next_page=token))


def repeated_token() -> Fault:
    """Every page says that the next page is itself."""
    return Fault(change=lambda page, token: page.update(has_more=True, next_page=token))


def missing_field(name: str) -> Fault:
    """`name` is gone from the envelope, the buckets and their rows."""
    return Fault(change=lambda page, _: _drop(page, name))


def new_fields(value: object = "unheard of") -> Fault:
    """A field nobody knows in the envelope, in every bucket and in every row."""
    return Fault(change=lambda page, _: _every_object(page, lambda found: found.update(field_of_tomorrow=value)))


def restated_buckets(edit: Callable[[Page], None]) -> Fault:
    """The first bucket once more at the end of the page, its rows edited: overlapping, or restated while reading."""

    def change(page: Page, _: str) -> None:
        again = deepcopy(page["data"][0])
        for row in again["results"]:
            edit(row)
        page["data"].append(again)

    return Fault(change=change)


def out_of_order() -> Fault:
    """Buckets and their rows the other way round."""

    def change(page: Page, _: str) -> None:
        page["data"].reverse()
        for bucket in page["data"]:
            bucket["results"].reverse()

    return Fault(change=change)


def first_bucket_only() -> Fault:
    """One bucket, and a token to go on."""
    return Fault(change=lambda page, token: page.update(data=page["data"][:1], has_more=True, next_page=token))


def moved_buckets(by: timedelta, wider: timedelta = timedelta(0)) -> Fault:
    """Every bucket begins so much later, and is so much wider."""

    def change(page: Page, _: str) -> None:
        for bucket in page["data"]:
            for name, shift in (("starting_at", by), ("ending_at", by + wider)):
                bucket[name] = (datetime.fromisoformat(bucket[name]) + shift).isoformat()

    return Fault(change=change)


def missing_buckets() -> Fault:
    """The first day is gone, where there are days."""

    def change(page: Page, _: str) -> None:
        del page.get("data", [])[:1]

    return Fault(change=change)


def amounts(write: Callable[[str], str]) -> Fault:
    """Every amount of a cost report, or of the newer cost source, replaced by what `write` makes of it."""
    return Fault(change=lambda page, _: _each_cost(page, lambda row: row.update(amount=write(row["amount"]))))


def dollars() -> Fault:
    """Amounts in dollars where cents are due."""
    return amounts(lambda cents: f"{Decimal(cents).scaleb(-2):f}")


def hundredths_of_cents() -> Fault:
    """Amounts a hundred times what is due."""
    return amounts(lambda cents: f"{Decimal(cents) * 100:f}")


def nan_amount() -> Fault:
    return amounts(lambda _: "NaN")


def currency(code: str = "EUR") -> Fault:
    return Fault(change=lambda page, _: _each_cost(page, lambda row: row.update(currency=code)))


def _each_cost(page: Page, edit: Callable[[Page], None]) -> None:
    for bucket in page.get("data", ()):
        for row in bucket.get("results", [bucket.get("cost", {})]):
            if "amount" in row:
                edit(row)


def _every_object(page: Page, edit: Callable[[Page], None]) -> None:
    for found in (page, *page.get("data", ()), *(row for b in page.get("data", ()) for row in b.get("results", ()))):
        edit(found)


def _drop(value: object, name: str) -> None:
    if isinstance(value, dict):
        value.pop(name, None)
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _drop(child, name)


@dataclass(slots=True)
class _Rule:
    fault: Fault
    key: str | None
    path: str | None
    nth: int
    times: int | None
    when: When
    seen: int = 0

    def takes(self, key: str, path: str, params: Items) -> bool:
        if self.key not in (None, key) or not path.endswith(self.path or "") or not self.when(params):
            return False
        self.seen += 1
        return self.nth <= self.seen and (self.times is None or self.seen < self.nth + self.times)


class Faults:
    """The faults in force. Safe to change while the simulator serves."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()

    def add(
        self,
        fault: Fault,
        *,
        key: str | None = None,
        path: str | None = None,
        nth: int = 1,
        times: int | None = 1,
        when: When = lambda _: True,
    ) -> None:
        """Give `fault` to the `nth` request from now on with this key and path, and the `times` - 1 after it.

        `when` says which parameters of a request match. `path` is a path or its end (`cost_report`); no key or path
        means any; `times=None` means for ever. Each rule counts the requests that match it; of several that apply, the
        one added first answers.
        """
        with self._lock:
            self._rules.append(_Rule(fault, key, path, nth, times, when))

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def next(self, key: str, path: str, params: Items = ()) -> Fault | None:
        """The fault for this request, which is counted."""
        with self._lock:
            applying = [rule.fault for rule in self._rules if rule.takes(key, path, params)]
        return applying[0] if applying else None
