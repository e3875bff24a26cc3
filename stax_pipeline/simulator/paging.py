"""Walking a report by time buckets: the range asked for, the page's buckets, and tokens bound to their query.

What is inside a bucket belongs to the reports.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stax_pipeline.simulator.parameters import Parameters, bad_request

_SECRET = b"simulator page tokens"
_TAG_BYTES = 16
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Request:
    """One authorised request to a report: who asks, what, and when."""

    organization_id: str
    path: str
    parameters: Parameters
    now: datetime


def floor(instant: datetime, width: timedelta) -> datetime:
    return instant - (instant - EPOCH) % width


def make_token(request: Request, position: str) -> str:
    """The token of the page of this query that starts at `position`."""
    text = position.encode()
    return "page_" + base64.urlsafe_b64encode(_tag(request, text) + text).decode().rstrip("=")


def read_token(request: Request, token: str) -> str:
    """The position in a token of this very query. Raises `ApiError`."""
    encoded = token.removeprefix("page_")
    try:
        raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except (binascii.Error, ValueError):
        raise bad_request("page: Invalid page token") from None
    tag, text = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
    if not token.startswith("page_") or not hmac.compare_digest(tag, _tag(request, text)):
        raise bad_request("page: Invalid page token for this query")
    return text.decode()


def _tag(request: Request, position: bytes) -> bytes:
    query = sorted(item for item in request.parameters.items if item[0] != "page")
    bound = json.dumps([request.organization_id, request.path, query]).encode()
    return hmac.digest(_SECRET, bound + position, hashlib.sha256)[:_TAG_BYTES]


def report_page(
    request: Request,
    width: timedelta,
    limit: int,
    last_end: datetime,
    results: Callable[[datetime, datetime], bytes],
) -> bytes:
    """One page as JSON: up to `limit` buckets ascending, none that ends after `last_end`, empty ones included."""
    start, end = _span(request, width, last_end)
    token = request.parameters.one("page")
    if token is not None:
        start = datetime.fromisoformat(read_token(request, token))
    stop = min(end, start + limit * width)
    buckets: list[bytes] = []
    first = start
    while first < stop:
        last = first + width
        head = f'{{"starting_at":"{stamp(first)}","ending_at":"{stamp(last)}","results":'
        buckets.append(head.encode() + results(first, last) + b"}")
        first = last
    next_page = make_token(request, stop.isoformat()) if stop < end else None
    return _envelope(buckets, next_page)


def _span(request: Request, width: timedelta, last_end: datetime) -> tuple[datetime, datetime]:
    starting_at = request.parameters.instant("starting_at")
    if starting_at is None:
        raise bad_request("starting_at: Field required")
    ending_at = request.parameters.instant("ending_at")
    start = floor(starting_at, width)
    end = last_end if ending_at is None else min(floor(ending_at, width), last_end)
    if start >= end:
        raise bad_request("ending date must be after starting date")
    return start, end


def _envelope(buckets: Iterable[bytes], next_page: str | None) -> bytes:
    more = json.dumps(next_page is not None).encode()
    return (
        b'{"data":['
        + b",".join(buckets)
        + b'],"has_more":%s,"next_page":%s}'
        % (
            more,
            json.dumps(next_page).encode(),
        )
    )


def stamp(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
