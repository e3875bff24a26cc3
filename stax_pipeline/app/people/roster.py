"""What an operator does about people: `stax login add`, `list` and `remove`.

Belongs here: the order, in which a kill at any point leaves a login that sees too little, never too much: the tenant's
role, what it may look into, its tenant, and only then the login. Stays out: asking for a password (`cli`).
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from stax_pipeline.app.people.passwords import hashed, parse_password
from stax_pipeline.app.people.person import Role, parse_name
from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.installation.settings import Settings
from stax_pipeline.warehouse import app_readers, granted_logins, grants, roles
from stax_pipeline.warehouse.engine import as_login, plain_faults
from stax_pipeline.warehouse.tables import invites, logins, sessions, tenants
from stax_pipeline.warehouse.tenants import get_tenant


class Listed(NamedTuple):
    """A login as an operator sees it; `tenant` is a slug, '' for roles that see all tenants."""

    name: str
    role: Role
    tenant: str
    has_password: bool
    sessions: int
    created_at: datetime


def add(settings: Settings, name: str, role: Role, slug: str | None, password: str | None) -> bool:
    """Make a login, or give it another role, tenant and password; its sessions end. True where it is new.

    Args:
        settings: of an installation whose database runs.
        name: what is typed at the login page, or sent by the login proxy.
        role: what it reaches.
        slug: the tenant of role tenant, None for the others.
        password: None for a login that only a login proxy vouches for.

    Raises WrongUse for a name, a password or a tenant that cannot be, CannotStart where a tenant's role cannot be made.
    """
    named = parse_name(name)
    if (role is Role.TENANT) != (slug is not None):
        raise WrongUse("A login of role tenant sees one tenant, the others see all: name it with --tenant SLUG.")
    kept = "" if password is None else hashed(parse_password(password))
    urls = roles.logins(settings)
    with plain_faults(f"adding login {named}"):
        tenant_id = None
        if slug is not None:
            with as_login(urls.loader) as loader:
                tenant_id = get_tenant(loader, slug).tenant_id
            make_reader(urls, tenant_id)
        with as_login(urls.loader) as loader:
            row = {"role": role, "tenant_id": tenant_id, "password_hash": kept, "created_at": sa.func.now()}
            is_new = not loader.execute(sa.select(logins.c.name).where(logins.c.name == named)).first()
            loader.execute(
                insert(logins).values(name=named, **row).on_conflict_do_update(index_elements=["name"], set_=row)
            )
            loader.execute(sessions.delete().where(sessions.c.login_name == named))  # those that began meanwhile too
    return is_new


def remove(settings: Settings, name: str) -> int:
    """Remove a login, and end its sessions at once. Returns how many; raises WrongUse where there is no such login."""
    named = parse_name(name)
    with plain_faults(f"removing login {named}"), as_login(roles.logins(settings).loader) as loader:
        ended = loader.execute(sessions.delete().where(sessions.c.login_name == named)).rowcount
        if not loader.execute(logins.delete().where(logins.c.name == named)).rowcount:
            raise WrongUse(f"There is no login {named}. `stax login list` lists them.")
    return ended


def listed(settings: Settings) -> list[Listed]:
    """Every login in order of name, with how many sessions it has now."""
    open_now = sa.select(sa.func.count()).where(
        sessions.c.login_name == logins.c.name, sessions.c.expires_at > sa.func.now()
    )
    query = (
        sa.select(
            logins.c.name,
            logins.c.role,
            sa.func.coalesce(tenants.c.slug, ""),
            logins.c.password_hash != "",
            open_now.scalar_subquery(),
            logins.c.created_at,
        )
        .join_from(logins, tenants, isouter=True)
        .order_by(logins.c.name)
    )
    with plain_faults("looking for logins"), as_login(roles.logins(settings).loader) as loader:
        return [Listed(row[0], Role(row[1]), *row[2:]) for row in loader.execute(query)]


def begin_anew(settings: Settings) -> None:
    """After a restore: sessions and links end, and tenants that have logins get the roles that backups lack."""
    urls = roles.logins(settings)
    query = sa.select(logins.c.tenant_id).where(logins.c.tenant_id.is_not(None)).distinct()
    with plain_faults("looking for logins"):
        with as_login(urls.loader) as loader:
            loader.execute(sessions.delete())
            loader.execute(invites.delete())
            found = loader.execute(query).scalars().all()
        for tenant_id in found:
            make_reader(urls, tenant_id)


def forget_reader(settings: Settings, tenant_id: UUID) -> None:
    """Drop the role of a tenant that is gone, if it had one."""
    urls, role = roles.logins(settings), app_readers.tenants_role(tenant_id)
    with plain_faults(f"dropping {role}"):
        with as_login(urls.admin) as admin:
            if not granted_logins.exists(admin, role):
                return
        with as_login(urls.owner) as owner:
            roles.take_turns(owner)
            grants.close_to(owner, role)
        with as_login(urls.admin) as admin:
            app_readers.drop_role(admin, role)


def make_reader(urls: roles.Logins, tenant_id: UUID, *, is_there: bool = True) -> None:
    """The tenant's role, made if there is none; it reads that tenant and no other, once `is_there`."""
    role, app = app_readers.tenants_role(tenant_id), urls.app and urls.role_in(urls.app)
    with as_login(urls.admin) as admin:
        if app and roles.may_create_roles(admin):
            app_readers.make_role(admin, role, app)
        elif not granted_logins.exists(admin, role):
            raise CannotStart(
                f"The user of STAX_DATABASE_URL may not create roles. Create it yourself (create role {role} "
                f"nologin; grant {role} to {app or 'the login of STAX_APP_URL'}), then add the login again."
            )
    with as_login(urls.owner) as owner:
        roles.take_turns(owner)
        grants.open_to(owner, role, urls.role_in(urls.analyst))
    if is_there:
        with as_login(urls.loader) as loader:
            grants.add_grants(loader, role, [tenant_id])
