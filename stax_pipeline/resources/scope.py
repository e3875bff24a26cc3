"""Which tenants a run is about, and which of them each asset of the run lacks.

Belongs here: one resource that lives as long as a run. Its configuration has no type that reads the environment, and
its values are never repeated: whoever may launch a run may write them. Stays out: what a step does about a tenant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import dagster as dg

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.domain.tenant import KEY_REJECTED, Tenant
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.pipeline.arrived import Arrived
from stax_pipeline.pipeline.identities import Identities
from stax_pipeline.resources.dagster import loader_engine, or_failure
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.tenants import all_tenants, tenants_to_sync


class Resolved(NamedTuple):
    """The tenants of a run, and those that a run of all leaves out since their key was rejected before."""

    tenants: list[Tenant]
    left_out: list[Tenant]


class Missing(NamedTuple):
    """Why a run did not bring a tenant up to date: the asset that failed for it, and the reason."""

    asset: str
    reason: str


class Scope:
    """The tenants of one run, looked up once: one that is rejected on the way stays in the run to its end.

    `lacking` says, by asset and slug, which tenants the run did not bring up to date in it; `identities` know whose
    the run's keys are; `arrived` hands what was fetched to the step that publishes it.
    """

    def __init__(self, slugs: Sequence[str] = (), *, accept_shrink: bool = False) -> None:
        self._slugs = slugs
        self.accept_shrink = accept_shrink
        self.arrived = Arrived()
        self.identities = Identities()
        self.lacking: dict[str, dict[str, Missing]] = {}

    @property
    def is_narrowed(self) -> bool:
        """Whether the run is about tenants that were named."""
        return bool(self._slugs)

    @property
    def tenants(self) -> list[Tenant]:
        return self._resolved.tenants

    @property
    def left_out(self) -> list[Tenant]:
        return self._resolved.left_out

    @property
    def named(self) -> list[str] | None:
        """The slugs that checks speak of; None for every tenant."""
        return [tenant.slug for tenant in self.tenants] if self.is_narrowed else None

    @cached_property
    def _resolved(self) -> Resolved:
        return or_failure(lambda: _resolve(self._slugs))

    @property
    def failures(self) -> dict[str, list[Missing]]:
        """What failed in this run, by slug."""
        found: dict[str, list[Missing]] = {}
        for asset, lacking in self.lacking.items():
            for slug, missing in lacking.items():
                if missing.asset == asset:
                    found.setdefault(slug, []).append(missing)
        return found

    def note(self, asset: str, upstream: Iterable[str], failures: Mapping[str, str]) -> dict[str, Missing]:
        """Note who failed in `asset`; returns who is missing in it because an asset before it lacks them."""
        before = {slug: missing for name in upstream for slug, missing in self.lacking.get(name, {}).items()}
        inherited = {slug: missing for slug, missing in before.items() if slug not in failures}
        self.lacking[asset] = inherited | {slug: Missing(asset, why) for slug, why in failures.items()}
        return inherited


def _resolve(slugs: Sequence[str]) -> Resolved:
    with plain_faults("looking for tenants"), loader_engine(read_settings()).connect() as connection:
        known = all_tenants(connection)
        unknown = set(slugs) - {tenant.slug for tenant in known}
        if unknown:
            raise WrongUse(
                f"{len(unknown)} of {count_of(len(set(slugs)), 'name')} in this run's configuration (resources, scope, "
                "tenants) are not tenants. `stax tenants` lists the tenants."
            )
        rejected = [] if slugs else [tenant for tenant in known if tenant.status == KEY_REJECTED]
        return Resolved(tenants_to_sync(connection, slugs), rejected)


@dg.resource(
    description="Which tenants a run is about. Edit it in the launchpad to narrow a run.",
    config_schema={
        "tenants": dg.Field(dg.Array(str), default_value=[], description="Slugs; empty means every connected tenant"),
        "accept_shrink": dg.Field(
            bool, default_value=False, description="Publish a settled day that lost more than half"
        ),
    },
)
def scope(context: dg.InitResourceContext) -> Scope:
    """The scope of the run that begins."""
    chosen = context.resource_config
    return Scope(chosen["tenants"], accept_shrink=chosen["accept_shrink"])


InScope = dg.ResourceParam[Scope]
