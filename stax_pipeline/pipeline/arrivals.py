"""What arrived of a report: an extraction's rows as tables, in one shape for cost and usage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple
from uuid import UUID

import pyarrow as pa
import sqlalchemy as sa

from stax_pipeline.derive.day_facts import Facts, cost_facts, usage_facts
from stax_pipeline.derive.engine import Engine, Session
from stax_pipeline.derive.normalise import Normalised
from stax_pipeline.derive.restatement import Later, Restatement, RestatementKind, cost_restatements, usage_restatements
from stax_pipeline.derive.schemas import COST_LINES, USAGE_BY_KEY, USAGE_LINES
from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.arrived import Arrived
from stax_pipeline.pipeline.history import read_extraction
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.arrow_copy import Slot
from stax_pipeline.warehouse.extractions import Extraction


@dataclass(frozen=True, slots=True)
class Arrival:
    """An extraction's rows of the days that it may be newest for.

    `tables` are those of its kind, in that order; usage by key may be there for fewer days, `key_days`.
    """

    tenant: Tenant
    extraction: Extraction
    days: list[date]
    key_days: list[date]
    tables: tuple[pa.Table, ...]

    @property
    def rows(self) -> int:
        return sum(table.num_rows for table in self.tables)


class Kind(NamedTuple):
    """How a report's rows are read from raw pages, summed up and compared, and which tables they go into."""

    report: Report
    doing: str
    tables: tuple[sa.Table, ...]
    schemas: tuple[pa.Schema, ...]
    restatements: RestatementKind
    chosen: Callable[[Normalised], tuple[pa.Table, ...]]
    facts: Callable[[Session, Sequence[pa.Table]], Facts]
    restated: Callable[[Engine, pa.Table, pa.Table, Mapping[str, Later]], dict[str, list[Restatement]]]


def read_arrival(
    lake: Lake, arrived: Arrived, kind: Kind, tenant: Tenant, extraction: Extraction, days: list[date]
) -> Arrival:
    """The extraction's rows of these days, read again from its raw pages where this run did not fetch it.

    Raises TenantStopped, RawDamaged.
    """
    found = arrived.take(extraction.extraction_id, days) or read_extraction(lake, extraction, days)
    own = pa.scalar(str(tenant.tenant_id))
    tables = (
        table.add_column(0, schema.field(0), pa.repeat(own, table.num_rows)).select(schema.names).cast(schema)
        for table, schema in zip(kind.chosen(found), kind.schemas, strict=True)
    )
    key_days = sorted(found.key_days) if kind.report is Report.USAGE else days
    return Arrival(tenant, extraction, days, key_days, tuple(tables))


def on_slots(table: pa.Table, slots: Collection[Slot]) -> pa.Table:
    """The rows of these tenant-days."""
    keys = pa.table({
        "tenant_id": pa.array([str(tenant_id) for tenant_id, _ in slots], pa.string()),
        "usage_date": pa.array([day for _, day in slots], pa.date32()),
    })  # fmt: skip
    return table.join(keys, ["tenant_id", "usage_date"], join_type="left semi")


def from_extraction(table: pa.Table, extraction_id: UUID | None) -> pa.Table:
    """The rows with the extraction that they were read from."""
    name = pa.scalar(extraction_id and str(extraction_id), pa.string())
    return table.append_column("extraction_id", pa.repeat(name, table.num_rows))


def span_of(days: Iterable[date]) -> Window:
    """From the first of the days to the last."""
    days = list(days)
    return Window(min(days), max(days) + timedelta(days=1))


COST = Kind(
    Report.COST, "publishing cost lines", (tables.cost_lines,), (COST_LINES,), RestatementKind.COST,
    lambda found: (found.cost_lines,),    lambda session, found: cost_facts(session, *found), cost_restatements,
)  # fmt: skip
USAGE = Kind(
    Report.USAGE, "publishing usage lines", (tables.usage_lines, tables.usage_by_key), (USAGE_LINES, USAGE_BY_KEY),
    RestatementKind.USAGE, lambda found: (found.usage_lines, found.usage_by_key),
    lambda session, found: usage_facts(session, *found), usage_restatements,
)  # fmt: skip
