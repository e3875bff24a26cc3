"""Tie a login to tenants, untie it, and drop it.

Belongs here: the order, in which a kill at any point leaves a login that sees too little, never too much: the login,
then what it may look into, then its tenants; and backwards. Stays out: the policies (`warehouse.grants`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.role_name import parse_role
from stax_pipeline.domain.slug import parse_slug
from stax_pipeline.installation.settings import Settings
from stax_pipeline.warehouse import granted_logins, grants, roles
from stax_pipeline.warehouse.engine import as_login, plain_faults
from stax_pipeline.warehouse.tenants import all_tenants, get_tenant


class Reads(NamedTuple):
    """What a login reads now: slugs in order; `is_new` when the login was made by this call.

    `forgotten` are tenants that an earlier login of that name read, or this one before a restore, and that it does not
    read now.
    """

    slugs: tuple[str, ...]
    is_new: bool = False
    forgotten: tuple[str, ...] = ()


def grant(settings: Settings, role: str, slugs: Sequence[str]) -> Reads:
    """Let `role` read these tenants too, making the login if there is none.

    Raises WrongUse for an unknown tenant, a name that may not be granted, and a login that may do more than read.
    """
    parse_role(role)
    named = [parse_slug(slug) for slug in slugs]
    logins = roles.logins(settings)
    with plain_faults(f"granting to {role}"):
        with as_login(logins.loader) as loader:
            tenant_ids = [get_tenant(loader, slug).tenant_id for slug in named]
            is_new = not granted_logins.exists(loader, role)
            if not is_new:
                granted_logins.require_harmless(loader, role, logins)
        if is_new:
            with as_login(logins.admin) as admin:
                granted_logins.create_login(settings, admin, role)
        with as_login(logins.loader) as loader:
            before = _slugs(loader, role)
            # rows of another login of that name, or of a restored backup
            if not granted_logins.may_look_in(loader, role):
                grants.forget_grants(loader, role)
        with as_login(logins.owner) as owner:
            roles.take_turns(owner)
            grants.open_to(owner, role, logins.role_in(logins.analyst))
        with as_login(logins.loader) as loader:
            grants.add_grants(loader, role, tenant_ids)
            now = _slugs(loader, role)
        with as_login(logins.admin) as admin:
            roles.take_turns(admin)
            granted_logins.quiet_granted(admin)
    return Reads(now, is_new, tuple(slug for slug in before if slug not in now))


def revoke(settings: Settings, role: str, slugs: Sequence[str]) -> Reads:
    """Take these tenants from `role`, at once for open sessions too; with the last one, all it was granted.

    The login itself stays: it may own things elsewhere. Raises WrongUse for an unknown tenant.
    """
    parse_role(role)
    named = [parse_slug(slug) for slug in slugs]
    logins = roles.logins(settings)
    with plain_faults(f"revoking from {role}"):
        with as_login(logins.loader) as loader:
            tenant_ids = [get_tenant(loader, slug).tenant_id for slug in named]
            missing = sorted(set(named) - set(_slugs(loader, role)))
            if missing:
                raise WrongUse(f"Role {role} does not read {', '.join(missing)}; nothing was changed.")
            grants.remove_grants(loader, role, tenant_ids)
            left = _slugs(loader, role)
        with as_login(logins.owner) as owner:
            roles.take_turns(owner)
            if not left and granted_logins.exists(owner, role):
                grants.close_to(owner, role)
    return Reads(left)


def drop(settings: Settings, role: str) -> None:
    """Take everything from a login that `grant` made, and drop it and its password.

    Raises WrongUse, and changes nothing, for a login that was made otherwise or has anything but its tenants.
    """
    parse_role(role)
    logins = roles.logins(settings)
    with plain_faults(f"dropping {role}"):
        with as_login(logins.admin) as admin:
            granted_logins.require_droppable(admin, role)
        with as_login(logins.loader) as loader:
            grants.forget_grants(loader, role)
        with as_login(logins.owner) as owner:
            roles.take_turns(owner)
            grants.close_to(owner, role)
        with as_login(logins.admin) as admin:
            granted_logins.drop_login(admin, role)
    roles.forget_password(settings, role)


def granted(settings: Settings) -> dict[str, Reads]:
    """Every login that has tenants, in order; `is_new` where there is no such login, as after a restore."""
    with plain_faults("looking for logins"), as_login(roles.logins(settings).loader) as loader:
        return {
            role: Reads(tuple(slugs), is_new=not granted_logins.exists(loader, role))
            for role, slugs in grants.slugs_by_role(loader).items()
        }


def _slugs(loader: sa.Connection, role: str) -> tuple[str, ...]:
    granted = grants.granted_tenants(loader, role)
    return tuple(tenant.slug for tenant in all_tenants(loader) if tenant.tenant_id in granted)
