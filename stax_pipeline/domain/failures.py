"""One failure of a tenant is told once, however many reports and assets met it; who failed is counted once for all
screens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stax_pipeline.domain.plurals import count_of
from stax_pipeline.domain.reasons import gist

REJECTED_BEFORE = "Anthropic rejected the key in an earlier run"


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


def counted(failed: int, tenants: int) -> str:
    """Such as `failed for 1 of 3 tenants`. A tenant that a run of all left out is one of them, and failed."""
    return f"failed for {failed:,} of {count_of(tenants, 'tenant')}"
