"""What a run did for its tenants: what failed in it and what mends it, and whether anything arrived at all.

Stays out: Dagster, where `assets.extraction_check` fails the run in which nothing arrived.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from stax_pipeline.domain.event_privacy import without_figures
from stax_pipeline.domain.extraction import Report
from stax_pipeline.domain.failures import REJECTED_BEFORE, Failure, add_failure, counted
from stax_pipeline.domain.next_step import next_step
from stax_pipeline.domain.tenant import KEY_REJECTED
from stax_pipeline.warehouse.tables import extractions, tenants

COLUMNS = ("tenant", "assets", "reason", "mend")
LEFT_OUT = f"left out: {REJECTED_BEFORE}"
NO_FIGURES = frozenset({Report.ORGANIZATION, Report.ANALYTICS})  # names, and what is only compared
_TOLD = 20


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run's failures as (tenant, assets, reason, mend), of `tenants` in all; whether none got any report."""

    rows: Sequence[tuple[str, str, str, str]]
    tenants: int
    is_nothing_arrived: bool

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row[0] for row in self.rows))

    def __str__(self) -> str:
        return f"{counted(len(self.failed), self.tenants)}: {', '.join(self.failed[:_TOLD])}"


def judge(
    chosen: Collection[str], left_out: Collection[str], failures: Mapping[str, Sequence[tuple[str, str]]],
    arrived: Collection[str], rejected: Collection[str],
) -> RunResult:  # fmt: skip
    """`failures` are (asset, reason) by slug; `arrived` and `rejected` are slugs that got a report, and whose key is
    rejected now. A tenant that had nothing to fetch did not fail.
    """
    rows = [
        (slug, ", ".join(one.where), one.reason, next_step(slug, one.reason, key_rejected=slug in rejected))
        for slug, found in failures.items()
        for one in _distinct(found)
    ]
    rows += [(slug, "", LEFT_OUT, next_step(slug, "", key_rejected=True)) for slug in left_out]
    everyone = [*chosen, *left_out]
    is_nothing = bool(everyone) and all(slug in failures and slug not in arrived for slug in chosen)
    return RunResult(sorted(rows), len(everyone), is_nothing)


def _distinct(found: Iterable[tuple[str, str]]) -> list[Failure]:
    distinct: list[Failure] = []
    for asset, reason in found:
        add_failure(distinct, reason, asset)
    return distinct


def in_words(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """One line per row of a `Verdict`, for Dagster's events: tenant, reason and mend of the first 20."""
    lines = [
        f"{slug}: {without_figures(reason).rstrip('.')}. {mend}".rstrip() for slug, _, reason, mend in rows[:_TOLD]
    ]
    if len(rows) > _TOLD:
        lines.append(f"and {len(rows) - _TOLD} more: `stax status` names each.")
    return "\n".join(lines)


def arrived(connection: sa.Connection, run_id: str, reports: Collection[Report]) -> set[str]:
    """Slugs that got one of `reports` in that run. Names and comparisons do not count beside dollars or tokens."""
    wanted = set(reports) - NO_FIGURES or reports
    query = (
        sa.select(tenants.c.slug)
        .join(extractions, extractions.c.tenant_id == tenants.c.tenant_id)
        .where(extractions.c.run_id == run_id, extractions.c.error.is_(None), extractions.c.report.in_(wanted))
    )
    return set(connection.execute(query).scalars())


def rejected(connection: sa.Connection) -> set[str]:
    """Slugs whose key is rejected now."""
    return set(connection.execute(sa.select(tenants.c.slug).where(tenants.c.status == KEY_REJECTED)).scalars())
