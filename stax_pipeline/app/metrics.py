"""`/metrics`: what a monitoring system asks for, in Prometheus's text format, for operators and for its own token.

It names every tenant, so that it is never open to others: whoever scrapes it from elsewhere sends the token of the file
`metrics-token` in the home as `Authorization: Bearer …`. A part that cannot be read is left out, and says so by
`stax_up`.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, NamedTuple

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from stax_pipeline.app.dagster_relay import DagsterRelay
from stax_pipeline.app.exposition import CONTENT_TYPE, Family, Sample, exposed
from stax_pipeline.app.people.access import person_of
from stax_pipeline.app.people.database import AppDatabase
from stax_pipeline.app.people.person import AT_THIS_MACHINE
from stax_pipeline.app.request_counts import RequestCounts
from stax_pipeline.domain.errors import StaxError
from stax_pipeline.domain.tenant import DISCONNECTED, KEY_REJECTED

TOKEN_FILE = "metrics-token"
_TENANTS = """
select t.slug, t.status, f.usage_data_through, f.cost_data_through, f.complete_through,
       t.status = :rejected or exists (
           select 1 from unnest(array['cost_report', 'usage_report', 'organization']) as r (report)
           cross join lateral (select x.error from stax.extractions x
                               where x.tenant_id = t.tenant_id and x.report = r.report
                               order by x.recorded_at desc limit 1) newest
           where newest.error is not null) as failed
from stax.tenants t left join stax.freshness f using (tenant_id)
where t.status <> :disconnected
order by t.slug
"""
_RUNS = """{ runsOrError(limit: 200, filter: {statuses: [SUCCESS, FAILURE, CANCELED]}) { ... on Runs {
  results { jobName status startTime endTime } } } }"""


class Tenant(NamedTuple):
    """How far one tenant's data reaches, and whether the newest fetch of one of its reports failed."""

    slug: str
    status: str
    usage_through: datetime | None
    cost_through: datetime | None
    complete_through: date | None
    failed: bool


def make_token(home: Path) -> None:
    """Make the token that a scraper sends, unless there is one: a file (mode 0600) in the home."""
    file = home / TOKEN_FILE
    if not file.exists():
        beside = file.with_name(f".{TOKEN_FILE}.new")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(f"{token_urlsafe(32)}\n")
        beside.replace(file)


def metrics_routes(home: Path, database: AppDatabase, dagster: DagsterRelay, counts: RequestCounts) -> list[Route]:
    """`/metrics` of one installation."""

    async def metrics(request: Request) -> Response:
        person = person_of(request.scope)
        if not (person and person.is_operator) and not _has_token(home, request.headers.get("authorization", "")):
            told = "Metrics are for operators, and for a scraper with the token of the file metrics-token.\n"
            return PlainTextResponse(told, 401, headers={"WWW-Authenticate": "Bearer"})
        tenants, runs = await asyncio.gather(run_in_threadpool(_tenants, database), dagster.ask(_RUNS))
        up = {"database": tenants is not None, "dagster": "runsOrError" in runs}
        now = request.app.state.now()
        of_tenants = () if tenants is None else _of_tenants(tenants, now)
        families = [_up(up), *of_tenants, *_of_runs(runs), _of_requests(counts)]
        return Response(exposed(families), media_type=CONTENT_TYPE)

    return [Route("/metrics", metrics)]


def _has_token(home: Path, sent: str) -> bool:
    try:
        token = (home / TOKEN_FILE).read_text().strip()
    except OSError:
        return False
    return bool(token) and hmac.compare_digest(sent.encode(), f"Bearer {token}".encode())


def _tenants(database: AppDatabase) -> list[Tenant] | None:
    named = {"rejected": KEY_REJECTED, "disconnected": DISCONNECTED}
    try:
        with database.reading(AT_THIS_MACHINE) as connection:
            return [Tenant(*row) for row in connection.execute(sa.text(_TENANTS), named)]
    except StaxError:
        return None


def _up(up: Mapping[str, bool]) -> Family:
    samples = tuple(Sample({"part": part}, int(answers)) for part, answers in up.items())
    return Family("stax_up", "gauge", "1 where that part of the installation answers, else 0", samples)


def _of_tenants(tenants: list[Tenant], now: datetime) -> Iterator[Family]:
    ages = [(one.slug, report, through) for one in tenants for report, through in _reaches(one) if through]
    yield Family(
        "stax_data_through_age_seconds", "gauge",
        "How long ago the instant is up to which a tenant's report is known; none before its first sync",
        tuple(Sample({"tenant": slug, "report": report}, _seconds(now - at)) for slug, report, at in ages),
    )  # fmt: skip
    whole = [(one.slug, one.complete_through) for one in tenants if one.complete_through]
    yield Family(
        "stax_complete_through_age_seconds", "gauge",
        "How long ago the newest day ended of which a tenant's cost and usage are both complete",
        tuple(Sample({"tenant": slug}, _seconds(now - _end_of(day))) for slug, day in whole),
    )  # fmt: skip
    yield Family(
        "stax_tenant_failed", "gauge",
        "1 where a tenant's key is rejected or the newest fetch of one of its reports failed, else 0",
        tuple(Sample({"tenant": one.slug}, int(one.failed)) for one in tenants),
    )  # fmt: skip
    yield Family(
        "stax_tenants_failed", "gauge", "How many tenants that holds for", (Sample({}, sum(t.failed for t in tenants)),)
    )
    yield Family("stax_tenants", "gauge", "Tenants that are not disconnected", (Sample({}, len(tenants)),))


def _reaches(one: Tenant) -> tuple[tuple[str, datetime | None], ...]:
    return ("usage", one.usage_through), ("cost", one.cost_through)


def _end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def _seconds(age: timedelta) -> int:
    return int(age.total_seconds())


def _of_runs(told: Mapping[str, Any]) -> Iterator[Family]:
    """The newest ended run of each job and status; Dagster lists the newest first."""
    newest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for run in (told.get("runsOrError") or {}).get("results") or []:
        if run["startTime"] and run["endTime"]:
            newest.setdefault((run["jobName"], run["status"].lower()), run)
    labelled = [({"job": job, "status": status}, run) for (job, status), run in sorted(newest.items())]
    yield Family(
        "stax_run_duration_seconds", "gauge", "How long the newest run took that ended with that status",
        tuple(Sample(labels, round(run["endTime"] - run["startTime"], 3)) for labels, run in labelled),
    )  # fmt: skip
    yield Family(
        "stax_run_ended_timestamp_seconds", "gauge", "When it ended, in seconds since 1970",
        tuple(Sample(labels, round(run["endTime"], 3)) for labels, run in labelled),
    )  # fmt: skip


def _of_requests(counts: RequestCounts) -> Family:
    found = sorted(counts.found().items())
    return Family(
        "stax_http_requests_total", "counter", "Requests that the app answered, by part, method and status",
        tuple(Sample({"part": k.part, "method": k.method, "status": str(k.status)}, n) for k, n in found),
    )  # fmt: skip
