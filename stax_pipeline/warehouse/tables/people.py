"""People of the app: who may log in, and who is logged in. `stax_app` alone reads it beside the loader."""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.warehouse.columns import instant, table, text

logins = table(
    "logins",
    "Who may log in to the app, in which role; readable by the app and the loader alone",
    text("name", "The name that is typed at the login page, or that the login proxy sends", key=True),
    text("role", "operator and analyst see all tenants, tenant sees its own"),
    sa.Column(
        "tenant_id",
        sa.UUID,
        sa.ForeignKey("stax.tenants.tenant_id"),
        nullable=True,
        comment="The tenant that a login of role tenant sees; NULL for the other roles",
    ),
    text("password_hash", "Argon2id hash of the password; '' for a login that only a login proxy vouches for"),
    instant("created_at", "When the login was made or last given a password"),
    sa.CheckConstraint("role in ('operator', 'analyst', 'tenant')", name="role"),
    sa.CheckConstraint("(role = 'tenant') = (tenant_id is not null)", name="tenant"),
)


sessions = table(
    "sessions",
    "Who is logged in to the app; readable by the app and the loader alone",
    text("token_sha256", "Hash of the session's cookie, which is kept nowhere", key=True),
    sa.Column(
        "login_name",
        sa.Text,
        sa.ForeignKey("stax.logins.name", ondelete="CASCADE"),
        nullable=False,
        comment="Whose session it is",
    ),
    instant("begun_at", "When the password was accepted"),
    instant("expires_at", "When it ends by itself"),
    sa.Index(None, "login_name"),
)
