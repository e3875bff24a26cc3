"""The HTTP face: routes, keys, required headers, error bodies, faults and the log of requests.

What an endpoint answers is in its own module; threads and sockets are in `server`.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from stax_pipeline.simulator import analytics_cost, analytics_usage, cost_report, lists, usage_report
from stax_pipeline.simulator.faults import ERROR_TYPES, Fault, Faults
from stax_pipeline.simulator.organization import Organization, identifier
from stax_pipeline.simulator.paging import Request, make_token, read_token
from stax_pipeline.simulator.parameters import ApiError, Parameters, bad_request

API_VERSION = "2023-06-01"
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
"""Names in `Host` that are answered: a page of another name that points here (DNS rebinding) is not."""
_LOGGED_REQUESTS = 100_000
ANALYTICS = {
    analytics_cost.PATH: analytics_cost.analytics_cost,
    analytics_usage.PATH: analytics_usage.analytics_usage,
}

Clock = Callable[[], datetime]
Items = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request and its answer. `key_hint` is the end of the key that came with it."""

    method: str
    path: str
    params: Items
    key_hint: str
    status: int
    request_id: str


class Api:
    """The simulated source: organisations by key, a clock, faults and the log."""

    def __init__(self, organizations: Iterable[Organization], clock: Clock) -> None:
        self.by_key = {organization.admin_key: organization for organization in organizations}
        self.clock = clock
        self.faults = Faults()
        self.requests: deque[LoggedRequest] = deque(maxlen=_LOGGED_REQUESTS)
        self._count = 0

    def app(self) -> Starlette:
        every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK, www_redirect=False)
        return Starlette(routes=[Route("/{path:path}", self._serve, methods=every)], middleware=[hosts])

    async def _serve(self, http: HttpRequest) -> Response:
        self._count += 1
        request_id = identifier("req", self._count)
        key = _key(http)
        path, items = http.url.path, tuple(http.query_params.multi_items())
        fault = self.faults.next(key, path, items)
        if fault and fault.delay:
            await asyncio.sleep(fault.delay)
        now = self.clock().astimezone(UTC)
        organization = self.by_key.get(key)
        response = self._answer(http, organization, fault, request_id, now)
        response.headers["date"] = format_datetime(now, usegmt=True)
        response.headers["request-id"] = request_id
        if organization:
            response.headers["anthropic-organization-id"] = organization.id
        entry = LoggedRequest(http.method, path, items, key[-4:], response.status_code, request_id)
        self.requests.append(entry)
        return response

    def _answer(
        self,
        http: HttpRequest,
        organization: Organization | None,
        fault: Fault | None,
        request_id: str,
        now: datetime,
    ) -> Response:
        if fault and fault.body is not None:
            return Response(fault.body, fault.status or 200, dict(fault.headers), fault.content_type)
        try:
            if fault and fault.status not in (None, 200):
                raise _fault_error(fault)
            body = _body(http, organization, now)
        except ApiError as error:
            headers = dict(fault.headers) if fault else {}
            return Response(
                _error_body(error, request_id),
                error.status,
                headers,
                "application/json",
            )
        if fault and fault.change and organization:
            body = _changed(body, fault, organization, http, now)
        return Response(body, 200, dict(fault.headers) if fault else None, "application/json")


def _key(http: HttpRequest) -> str:
    return http.headers.get("x-api-key") or http.headers.get("authorization", "").removeprefix("Bearer ")


def _body(http: HttpRequest, organization: Organization | None, now: datetime) -> bytes:
    """The answer of the endpoint, or the `ApiError` that stands in its way."""
    if not _key(http):
        raise ApiError(401, "authentication_error", "x-api-key header is required")
    if organization is None:
        raise ApiError(401, "authentication_error", "invalid x-api-key")
    version = http.headers.get("anthropic-version")
    if version is None:
        raise bad_request("anthropic-version: header is required")
    if version != API_VERSION:
        raise bad_request(f"anthropic-version: {version} is not a valid version")
    path, items = http.url.path, tuple(http.query_params.multi_items())
    if http.method != "GET":
        raise ApiError(405, "invalid_request_error", "Method Not Allowed")
    if path == cost_report.PATH:
        return cost_report.cost_report(organization, items, now)
    betas = {beta.strip() for line in http.headers.getlist("anthropic-beta") for beta in line.split(",")}
    if path == usage_report.PATH:
        return usage_report.usage_report(organization, items, now, betas)
    if path in ANALYTICS:
        return ANALYTICS[path](organization, items, now, betas)
    if path in lists.ENDPOINTS:
        return lists.ENDPOINTS[path](organization, items)
    raise ApiError(404, "not_found_error", "Not found")


def _error_body(error: ApiError, request_id: str) -> bytes:
    content = {"type": error.type, "message": error.message}
    return json.dumps({"type": "error", "error": content, "request_id": request_id}).encode()


def _fault_error(fault: Fault) -> ApiError:
    status = fault.status or 500
    kind = ERROR_TYPES.get(status, "api_error")
    message = "invalid x-api-key" if status == 401 else kind.removesuffix("_error").replace("_", " ").capitalize()
    return ApiError(status, kind, message)


def _changed(
    body: bytes,
    fault: Fault,
    organization: Organization,
    http: HttpRequest,
    now: datetime,
) -> bytes:
    page = json.loads(body)
    items = tuple(http.query_params.multi_items())
    names = {name for name, _ in items}
    request = Request(organization.id, http.url.path, Parameters(items, lists=names), now)
    token = _token_of_this_page(request, page)
    if fault.change:
        fault.change(page, token)
    return json.dumps(page).encode()


def _token_of_this_page(request: Request, page: dict[str, Any]) -> str:
    """A token that leads back to the very page that was answered; '' where there is none."""
    if request.path in ANALYTICS:
        given = request.parameters.one("page")
        return make_token(request, read_token(request, given) if given else "0")
    starts = [bucket["starting_at"] for bucket in page.get("data", ()) if "starting_at" in bucket]
    return make_token(request, datetime.fromisoformat(starts[0]).isoformat()) if starts else ""
