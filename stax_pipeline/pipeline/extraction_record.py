"""What one extraction brought: its pages while it runs, and how they are kept when it ends."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple
from uuid import uuid4

from stax_pipeline import __version__
from stax_pipeline.anthropic.client import READ_IN_PASSING
from stax_pipeline.derive.normalise import Normalised, PageReader
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.domain.extraction import QueryName, RawPage, Report, Window
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.domain.time import day_end
from stax_pipeline.lake.raw import RawHeader, RawWriter, store_raw
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.beside import beside
from stax_pipeline.pipeline.isolation import Tally
from stax_pipeline.warehouse.extractions import Extraction

NAMES = frozenset({QueryName.WORKSPACES, QueryName.NAMED_WORKSPACES, QueryName.API_KEYS, QueryName.MEMBERS})


@dataclass(slots=True)
class RunningExtraction:
    """The pages of one extraction while it runs.

    `found` counts rows by query. `children` are organizations of a parent's, whose use is left out; `has_own_use`
    says whether the parent was seen beside them. `refused` has the reasons of lists, by path, that are missing;
    `excerpt` is the beginning of the answer that ended the extraction as no page; `read` are the days read, where they
    are not those of the window. `normalised` are its lines, once it ended whole.
    """

    window: Window
    organization_id: str = ""
    moment: datetime | None = None
    raw: RawWriter = field(default_factory=RawWriter)
    queries: list[QueryName] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    found: Counter[QueryName] = field(default_factory=Counter)
    children: frozenset[str] = frozenset()
    has_own_use: bool = False
    excerpt: str = ""
    tally: Tally | None = None
    read: Window | None = None
    normalised: Normalised | None = None
    reader: PageReader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = PageReader(self.read or self.window)

    @property
    def missing(self) -> str:
        """Why lists are missing from what counts, '' when none is."""
        return "; ".join(self.refused.values())

    @property
    def answered_end(self) -> date:
        """The day from which on the source has nothing yet; the window's end where it answered for all of it."""
        return max(self.reader.answered_until(self.queries), self.window.start)

    @property
    def _now(self) -> datetime:
        return self.moment or datetime.now(UTC)

    async def take(self, page: RawPage) -> None:
        """`add`, beside the event loop but for a short list, and tell of it here, where progress is counted."""
        if self.tally:
            self.tally.step()
        if page.query in NAMES and len(page.body) <= READ_IN_PASSING:
            self.add(page)
        else:
            await beside(self.add, page)

    def add(self, page: RawPage) -> None:
        """Keep a page, then read its rows. Raises ContractBroken."""
        self.moment = min(self.moment or page.server_date, page.server_date)
        self.raw.add(page)
        self.found[page.query] += page.rows
        self.reader.add(page)
        if self.reader.refreshed_at:  # the source says itself that its data is older than its answer
            self.moment = min(self.moment, self.reader.refreshed_at)

    def finish(self) -> None:
        """Make the lines, and note what is odd about the whole. Raises NegativeSpeedDifference, ContractBroken."""
        self.reader.names.require()
        self.findings += _unknown(self.reader.unknown)
        if late := [day for day in self.window.days if day >= self.answered_end and day_end(day) <= self._now]:
            days = ", ".join(map(str, late))
            self.findings.append(f"not reported yet: {days}; asked again within hours, until then never zero")
        if self.reader.rounded:
            self.findings.append(
                f"{_count_of_amounts(self.reader.rounded)} more than 16 decimals of a cent: kept to 18 "
                "decimals of a dollar, rounded half-even, the text as sent in extras of cost_lines"
            )
        self.normalised = self.reader.normalised()
        apart = {day for day in self.reader.days_apart(self.normalised) if day_end(day) <= self._now}
        if apart:
            days = ", ".join(day.isoformat() for day in sorted(apart))
            self.findings.append(f"queries all and by_key disagree on {days}")


def _count_of_amounts(number: int) -> str:
    return "1 amount has" if number == 1 else f"{number} amounts have"


def _unknown(unknown: Counter[str]) -> list[str]:
    return [f"unknown {what}, {count_of(count, 'time')}" for what, count in sorted(unknown.items())]


class ExtractionResult(NamedTuple):
    """How one tenant's extraction ended: the fault and its kind, if any, and which generation of the key was used."""

    fault: str | None = None
    kind: type[Exception] | None = None
    generation: int = 0


def store(
    lake: Lake, run_id: str, report: Report, tenant: Tenant, extraction: RunningExtraction, fault: str | None
) -> Extraction:
    """Keep the pages; the record that names them, which is to follow. Raises CannotStart where the lake is full."""
    extraction_id = uuid4()
    moment = extraction.moment or datetime.now(UTC)
    asked_end = extraction.window.end
    answered_end = asked_end if fault else extraction.answered_end
    path, digest = None, ""
    if extraction.raw.pages or extraction.excerpt:
        header = RawHeader(
            extraction_id=extraction_id,
            tenant_id=tenant.tenant_id,
            organization_id=extraction.organization_id,
            report=report,
            window=extraction.window,
            extracted_at=moment,
            queries=tuple(extraction.queries),
            run_id=run_id,
            product=f"stax-pipeline {__version__}",
            error=fault,
            excerpt=extraction.excerpt,
            answered_end=answered_end if answered_end < asked_end else None,
        )
        try:
            path, digest = store_raw(lake, header, extraction.raw.finish(header))
        except OSError as broken:
            raise CannotStart(f"The lake cannot be written: {broken.strerror}. Check STAX_LAKE_URL.") from None
    return Extraction(
        extraction_id, tenant.tenant_id, report, extraction.window.start, answered_end, moment, extraction.raw.pages,
        extraction.found.total(), digest, path, run_id, fault,
        asked_end=asked_end if answered_end < asked_end else None,
    )  # fmt: skip
