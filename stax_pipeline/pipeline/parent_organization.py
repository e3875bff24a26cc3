"""A parent organization's key is told its children's use too by the newer source: keep the organization's own alone.

A child that is a tenant has its use from its own key, so that adding the parent's rows would count it twice; a child
that is none is named. Which organizations there are is asked first, since each query groups by all it may already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from stax_pipeline.anthropic import OrganizationSession
from stax_pipeline.anthropic.analytics_page import organizations_on
from stax_pipeline.anthropic.fetched_page import analytics_page_of
from stax_pipeline.domain.errors import ContractBroken, RequestRejected
from stax_pipeline.domain.extraction import Query, QueryName
from stax_pipeline.domain.tenant import DISCONNECTED
from stax_pipeline.pipeline.extraction_record import RunningExtraction
from stax_pipeline.warehouse.tables import tenants

OWN = "organization_ids[]"


async def own_alone(
    session: OrganizationSession, queries: Sequence[Query], extraction: RunningExtraction
) -> Sequence[Query]:
    """The queries but the one that asks for organizations; narrowed to the own one where there are others."""
    rest = [query for query in queries if query.name is not QueryName.ANALYTICS_ORGANIZATIONS]
    found: set[str] = set()
    try:
        for query in queries:
            if query.name is QueryName.ANALYTICS_ORGANIZATIONS:
                async for page in session.walk(query):
                    await extraction.take(page)
                    found |= organizations_on(analytics_page_of(page, extraction.window))
    except RequestRejected as refused:
        if type(refused) is not RequestRejected or refused.status != 400:
            raise
        return rest  # it cannot be grouped so: no parent
    extraction.children = frozenset(found - {extraction.organization_id, ""})
    extraction.has_own_use = extraction.organization_id in found
    if not extraction.children:
        return rest
    own = (OWN, extraction.organization_id)
    return [query if query.window is None else replace(query, params=(*query.params, own)) for query in rest]


def require_own(extraction: RunningExtraction) -> None:
    """Raise ContractBroken where an organization beside children has use of its own, and asking for it brought none."""
    brought = extraction.found[QueryName.ANALYTICS_COST] + extraction.found[QueryName.ANALYTICS_ALL]
    if extraction.children and extraction.has_own_use and not brought:
        raise ContractBroken(
            "the newer source does not tell this parent organization's own use from its children's; "
            "`stax tenants set` with `--source reports` reads the reports instead"
        )


def without_tenant(engine: sa.Engine, children: frozenset[str]) -> list[str]:
    """The children that are no tenant here, in words; nothing where every one is."""
    query = sa.select(tenants.c.organization_id).where(tenants.c.status != DISCONNECTED)
    with engine.connect() as connection:
        missing = sorted(children - set(connection.execute(query).scalars()))
    if not missing:
        return []
    return [
        f"child organizations that are no tenant here: {', '.join(missing)}; their use is left out of this parent "
        "organization, `stax connect` each with an Admin key of its own"
    ]
