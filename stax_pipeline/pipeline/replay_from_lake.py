"""Record anew the extractions that the lake holds and the warehouse does not: raw objects describe themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime

import sqlalchemy as sa

from stax_pipeline.domain.extraction import Report
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.raw import OBJECT, RawDamaged, prove_whole, read_raw, refusal_of
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.isolation import Outcome, Progress, reason
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.extractions import Extraction, raw_uris, record
from stax_pipeline.warehouse.publication_log import Publication, add_publications
from stax_pipeline.warehouse.publish import lock_tenant


def restore_extractions(engine: sa.Engine, lake: Lake, tenants: Sequence[Tenant], progress: Progress) -> Outcome:
    """Read every raw object that no extraction names; a damaged one is told and left out, the others are recorded."""
    outcome = Outcome(tenants=len(tenants))
    for done, tenant in enumerate(tenants, start=1):
        try:
            with plain_faults(f"tenant {tenant.slug}: restoring"), engine.begin() as connection:
                lock_tenant(connection, tenant.tenant_id)
                known = raw_uris(connection, tenant.tenant_id)
                paths = [path for path in _objects(lake, tenant) if path not in known]
                found = [e for path in paths if (e := _restored(connection, lake, tenant, path, outcome))]
                _publish(connection, tenant, found)
        except Exception as fault:
            outcome.failures[tenant.slug] = reason(fault, "restoring")
        progress(done - len(outcome.failures), len(tenants), len(outcome.failures))
    return outcome


def _objects(lake: Lake, tenant: Tenant) -> list[str]:
    folders = (f"raw/{report}/tenant={tenant.tenant_id}" for report in Report)
    return [path for folder in folders for path in lake.paths(folder) if path.endswith(OBJECT)]


def _restored(connection: sa.Connection, lake: Lake, tenant: Tenant, path: str, outcome: Outcome) -> Extraction | None:
    try:
        extraction = _described(lake, tenant, path)
    except Exception as fault:
        outcome.failures[tenant.slug] = reason(fault, f"reading {path}")
        return None
    record(connection, extraction)
    outcome.rows += 1
    return extraction


def _publish(connection: sa.Connection, tenant: Tenant, found: list[Extraction]) -> None:
    """Note that each became current when it was recorded: the lake does not tell when it was published."""
    for report in (Report.COST, Report.USAGE):
        current: dict[date, tuple[datetime, datetime]] = {}
        for extraction in sorted(found, key=lambda e: e.recorded_at or e.extracted_at):
            if extraction.report != report or extraction.error:
                continue
            moment = extraction.recorded_at or extraction.extracted_at
            mark = extraction.extracted_at, moment
            days = [day for day in extraction.window.days if day not in current or mark > current[day]]
            current.update(dict.fromkeys(days, mark))
            add_publications(
                connection, report, [(tenant.tenant_id, Publication(moment, extraction.extraction_id, days))]
            )


def _described(lake: Lake, tenant: Tenant, path: str) -> Extraction:
    """The extraction as its object tells it. Raises RawDamaged."""
    digest = hashlib.sha256(lake.get(path)).hexdigest()
    header, found = read_raw(lake, path, digest)
    if header.tenant_id != tenant.tenant_id:
        raise RawDamaged(f"{path} says that it is another tenant's.")
    pages = list(found)
    prove_whole(path, header, pages)
    return Extraction(
        header.extraction_id, header.tenant_id, header.report, header.window.start,
        header.answered_end or header.window.end,
        header.extracted_at, len(pages), sum(page.rows for page in pages), digest, path, header.run_id,
        header.error or refusal_of(lake, path),
        max((page.received_at for page in pages), default=header.extracted_at),
        header.window.end if header.answered_end else None,
    )  # fmt: skip


def unknown_tenants(lake: Lake, tenants: Sequence[Tenant]) -> set[str]:
    """Ids of tenants that the lake holds raw objects of and the warehouse does not know."""
    known = {str(tenant.tenant_id) for tenant in tenants}
    found = {part.removeprefix("tenant=") for path in lake.paths("raw") for part in path.split("/")[2:3]}
    return found - known
