"""One-time links: made by an operator, used once by a tenant's own person, who connects it and gets a login.

So an operator never sees the tenant's key. Of a link only a hash is kept. Stays out: the page that it opens
(`pages.invite`).
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

import sqlalchemy as sa

from stax_pipeline.app.people.roster import make_reader
from stax_pipeline.app.people.sessions import hash_of
from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.domain.slug import parse_slug
from stax_pipeline.installation.settings import Settings
from stax_pipeline.warehouse import roles
from stax_pipeline.warehouse.engine import as_login, plain_faults
from stax_pipeline.warehouse.tables import invites
from stax_pipeline.warehouse.tenants import find_tenant

LASTS = timedelta(hours=24)


class Invite(NamedTuple):
    """What a link is for; `name` is '' where the tenant takes its organisation's."""

    tenant_id: UUID
    slug: str
    name: str


def make(settings: Settings, slug: str, name: str) -> str:
    """The address of a new link for that tenant, which need not be there yet; older links for it end.

    Raises WrongUse where nobody could open it, CannotStart where the tenant's role cannot be made.
    """
    parse_slug(slug)
    if not settings.public_url:
        raise WrongUse(
            "An invite is a link: set STAX_PUBLIC_URL to the address that people open, such as https://stax.example.com."
        )
    if settings.login_header:
        raise CannotStart("People come through STAX_LOGIN_HEADER's login here: make theirs with `stax login add`.")
    urls, token = roles.logins(settings), secrets.token_urlsafe(32)
    with plain_faults(f"inviting {slug}"):
        with as_login(urls.loader) as loader:
            known = find_tenant(loader, slug)
            tenant_id = known.tenant_id if known else _promised(loader, slug) or uuid4()
        make_reader(urls, tenant_id, is_there=known is not None)
        with as_login(urls.loader) as loader:
            loader.execute(invites.delete().where(invites.c.slug == slug))
            loader.execute(
                invites.insert().values(
                    token_sha256=hash_of(token),
                    tenant_id=tenant_id,
                    slug=slug,
                    name=name,
                    made_at=sa.func.now(),
                    expires_at=sa.func.now() + LASTS,
                )
            )
    return f"{settings.public_url}/invite/{token}"


def find(app: sa.Connection, token: str) -> Invite | None:
    """What the link is for; None where it was used, has ended or never was."""
    columns = [invites.c[name] for name in Invite._fields]
    row = app.execute(sa.select(*columns).where(*_is_open(token))).one_or_none()
    return None if row is None else Invite(*row)


def use(app: sa.Connection, token: str) -> None:
    """Mark the link as used. Raises WrongUse where somebody else used it a moment ago."""
    used = app.execute(invites.update().where(*_is_open(token)).values(used_at=sa.func.now()))
    if not used.rowcount:
        raise WrongUse("This link was used already. Ask your operator for a new one.")


def _is_open(token: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        invites.c.token_sha256 == hash_of(token),
        invites.c.used_at.is_(None),
        invites.c.expires_at > sa.func.now(),
    )


def _promised(loader: sa.Connection, slug: str) -> UUID | None:
    """The id that an earlier link gave a tenant that is not there yet."""
    found: UUID | None = loader.execute(
        sa.select(invites.c.tenant_id).where(invites.c.slug == slug).limit(1)
    ).scalar_one_or_none()
    return found
