"""Accept what a check finds of a tenant, or take that back: in one transaction, or refused."""

from __future__ import annotations

from datetime import date

import sqlalchemy as sa

from stax_pipeline.checks.rules import RULES
from stax_pipeline.domain.acceptance import Acceptance
from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.warehouse.acceptances import record_acceptance, withdraw_acceptance
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.versioned_rows import Recorded

ACCEPTABLE = tuple(rule.name for rule in RULES if rule.acceptable)


def accept(engine: sa.Engine, tenant: Tenant, acceptance: Acceptance) -> Recorded[Acceptance]:
    """Record that the tenant's finding is accepted. Raises WrongUse for a check whose findings must be mended."""
    if acceptance.check_name not in ACCEPTABLE:
        raise WrongUse(
            f"What {ascii(acceptance.check_name[:80])} finds cannot be accepted: expected {' or '.join(ACCEPTABLE)}. "
            "Nothing was changed."
        )
    with plain_faults("accepting a finding"), engine.begin() as connection:
        return record_acceptance(connection, tenant.tenant_id, acceptance)


def withdraw(engine: sa.Engine, tenant: Tenant, check_name: str, first: date) -> Acceptance:
    """Tell the finding again from the next check on. Raises WrongUse when nothing of the kind is accepted."""
    with plain_faults("withdrawing an acceptance"), engine.begin() as connection:
        found = withdraw_acceptance(connection, tenant.tenant_id, check_name, first)
    if found is None:
        named = f"{ascii(check_name[:80])} from {first}"
        raise WrongUse(f"{tenant.slug} has no accepted {named}: `stax checks` lists them. Nothing was changed.")
    return found
