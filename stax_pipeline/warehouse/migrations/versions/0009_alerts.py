"""What operators were told, and how it was delivered."""

from datetime import datetime

import sqlalchemy as sa
from alembic import context, op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = ("alerts", "alert_channels")


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        _text("kind", "key_rejected, tenant_late, held_back, check_failed, unknown_value, error_bar, spend_spike, …"),
        _text("subject", "What tells causes of one kind apart: a model, a day, a report; '' where there is only one"),
        _instant("opened_at", "When the cause was first seen", null=False),
        sa.Column(
            "day", sa.Date(), nullable=True, comment="The UTC day it is about, or the first of several; NULL where none"
        ),
        _text("what", "What happened, in words"),
        _text("todo", "What to do next, in words"),
        _instant("last_seen_at", "When the cause was last seen", null=False),
        _instant("expires_at", "When what cannot be mended is closed without a note; NULL for what can be"),
        _instant("resolved_at", "Since when the cause is gone; NULL while it is there"),
        _instant("notified_at", "When the first channel took the message of the opening; NULL before"),
        _text("notified_by", "Channels that took it, separated by blanks"),
        _instant("resolution_notified_at", "When the first channel took the message of the end; NULL before"),
        _text("resolution_notified_by", "Channels that took it, separated by blanks"),
        _instant("closed_at", "When nothing remained to be told; NULL before"),
        sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"], name=op.f("alerts_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "kind", "subject", "opened_at", name=op.f("alerts_pkey")),
        schema="stax",
        comment="One row per cause from its opening to the last message about it",
    )
    op.create_table(
        "alert_channels",
        _text("channel", "webhook or email"),
        sa.Column("failures", sa.BigInteger(), autoincrement=False, nullable=False, comment="Failures in a row"),
        _instant("failing_since", "When the first of them was", null=False),
        _instant("retry_at", "Not tried again before", null=False),
        _text("reason", "Why the last one failed"),
        sa.PrimaryKeyConstraint("channel", name=op.f("alert_channels_pkey")),
        schema="stax",
        comment="Channels of alerts that failed last: when each is tried again",
    )
    loader, analyst = (_quoted(context.config.attributes[name]) for name in ("loader", "analyst"))
    for table in TABLES:
        op.execute(f"alter table stax.{table} enable row level security")
        op.execute(f"alter table stax.{table} force row level security")
        op.execute(f"grant select, insert, update, delete on stax.{table} to {loader}")
        op.execute(f"create policy loader on stax.{table} to {loader} using (true) with check (true)")
        op.execute(f"grant select on stax.{table} to {analyst}")
        if analyst != loader:
            op.execute(f"create policy analyst on stax.{table} for select to {analyst} using (true)")


def _text(name: str, comment: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, comment=comment)


def _instant(name: str, comment: str, *, null: bool = True) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null, comment=comment)


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
