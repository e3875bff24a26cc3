"""One failure of a tenant is told once, however many reports and assets met it."""

from __future__ import annotations

from dataclasses import dataclass, field

from stax_pipeline.domain.reasons import gist


@dataclass(slots=True)
class Failure:
    """Why a tenant failed, in the words of the first place that told it, and the places that did."""

    reason: str
    where: list[str] = field(default_factory=list)


def add_failure(known: list[Failure], reason: str, where: str) -> None:
    """Add to a tenant's failures one that happened in `where`, unless the same reason is known: then only the place."""
    same = next((one for one in known if gist(one.reason) == gist(reason)), None)
    if same is None:
        known.append(Failure(reason, [where]))
    elif where not in same.where:
        same.where.append(where)
