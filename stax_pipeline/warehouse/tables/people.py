"""People of the app: who may log in, and who is logged in. `stax_app` alone reads it beside the loader."""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.warehouse.columns import identity, instant, table, text

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


invites = table(
    "invites",
    "One-time links by which a tenant's own person connects it and gets a login; for the app and the loader alone",
    text("token_sha256", "Hash of the link's secret part, which is kept nowhere", key=True),
    identity("tenant_id", "The tenant it is for, by the id that a new one will have"),
    text("slug", "The tenant's name in commands and URLs"),
    text("name", "Its display name; '' for the organisation's own"),
    instant("made_at", "When an operator made it"),
    instant("expires_at", "When it ends by itself"),
    instant("used_at", "When it was used; NULL before", null=True),
)


connection_audit = table(
    "connection_audit",
    "Who connected, rotated or disconnected which tenant, and when; rows are added and never changed",
    identity("tenant_id", "The tenant", key=True),
    instant("at", "When it was done", key=True),
    text("what", "connected, rotated or disconnected", key=True),
    text("who", "The login of the app, or the command line"),
    text("key_hint", "The last four characters of the key that is in use from then on; '' for none"),
    sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"]),
    sa.CheckConstraint("what in ('connected', 'rotated', 'disconnected')", name="what"),
)
