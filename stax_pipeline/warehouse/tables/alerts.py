"""What operators were told, and how it was delivered."""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.warehouse.columns import count, day, instant, table, tenant, text

KIND = "key_rejected, tenant_late, quarantined, check_failed, unknown_value, price_accuracy, spend_spike, …"
SUBJECT = "What tells causes of one kind apart: a model, a day, a report; '' where there is only one"

alerts = table(
    "alerts",
    "One row per cause from its opening to the last message about it",
    tenant(),
    text("kind", KIND, key=True),
    text("subject", SUBJECT, key=True),
    instant("opened_at", "When the cause was first seen", key=True),
    day("day", "The UTC day it is about, or the first of several; NULL where none", null=True),
    text("what", "What happened, in words"),
    text("todo", "What to do next, in words"),
    instant("last_seen_at", "When the cause was last seen"),
    instant("expires_at", "When what cannot be mended is closed without a note; NULL for what can be", null=True),
    instant("resolved_at", "Since when the cause is gone; NULL while it is there", null=True),
    instant("notified_at", "When the first channel took the message of the opening; NULL before", null=True),
    text("notified_by", "Channels that took it, separated by blanks"),
    instant("resolution_notified_at", "When the first channel took the message of the end; NULL before", null=True),
    text("resolution_notified_by", "Channels that took it, separated by blanks"),
    instant("closed_at", "When nothing remained to be told; NULL before", null=True),
    sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"]),
)  # fmt: skip


alert_channels = table(
    "alert_channels",
    "Channels of alerts that failed last: when each is tried again",
    text("channel", "webhook or email", key=True),
    count("failures", "Failures in a row"),
    instant("failing_since", "When the first of them was"),
    instant("retry_at", "Not tried again before"),
    text("reason", "Why the last one failed"),
)
