"""What the operator records about a tenant (rates, commitments, invoices), and what changed after the fact."""

import sqlalchemy as sa
from alembic import context, op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("contract_rates", "commitments", "invoices", "restatements")


def upgrade() -> None:
    op.create_table(
        "restatements",
        sa.Column("usage_date", sa.Date(), nullable=False, comment="The UTC day the use happened on"),
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column(
            "subject",
            sa.Text(),
            nullable=False,
            comment="cost (reported dollars), usage (tokens, searches) or price (dollars under new prices)",
        ),
        sa.Column(
            "workspace_id", sa.Text(), nullable=False, comment="Workspace id; 'default' is the default workspace"
        ),
        sa.Column("description", sa.Text(), nullable=False, comment="Display text of the cost report"),
        sa.Column(
            "cost_type", sa.Text(), nullable=False, comment="tokens, web_search, code_execution, session_usage, …"
        ),
        sa.Column(
            "token_type",
            sa.Text(),
            nullable=False,
            comment="Token type under the cost report's names; '' where none applies",
        ),
        sa.Column("model", sa.Text(), nullable=False, comment="Model id as the source names it; '' where none applies"),
        sa.Column(
            "service_tier",
            sa.Text(),
            nullable=False,
            comment="standard, batch, priority, … as the source names it; '' where none applies",
        ),
        sa.Column("context_window", sa.Text(), nullable=False, comment="0-200k or 200k-1M; '' where none applies"),
        sa.Column(
            "inference_geo", sa.Text(), nullable=False, comment="global, us, not_available, …; '' where none applies"
        ),
        sa.Column(
            "speed",
            sa.Text(),
            nullable=False,
            comment="standard, fast; '' where the source refused to tell; mixed where a spend line holds both",
        ),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the change was published: when the tables changed",
        ),
        sa.Column(
            "old_usd",
            sa.Numeric(),
            nullable=True,
            comment="USD before; NULL where there was no line, or dollars are not the subject",
        ),
        sa.Column(
            "new_usd",
            sa.Numeric(),
            nullable=True,
            comment="USD after, 0 where the line vanished; NULL where dollars are not the subject",
        ),
        sa.Column(
            "old_quantity",
            sa.Numeric(),
            nullable=True,
            comment="Tokens or searches before; NULL without a line, or if not counted",
        ),
        sa.Column(
            "new_quantity",
            sa.Numeric(),
            nullable=True,
            comment="Tokens or searches after, 0 where the line vanished; NULL if not counted",
        ),
        sa.Column(
            "difference_usd",
            sa.Numeric(),
            sa.Computed("coalesce(new_usd, 0) - coalesce(old_usd, 0)", persisted=True),
            nullable=True,
            comment="new_usd - old_usd, a missing one counted as 0",
        ),
        sa.Column(
            "difference_quantity",
            sa.Numeric(),
            sa.Computed("coalesce(new_quantity, 0) - coalesce(old_quantity, 0)", persisted=True),
            nullable=True,
            comment="new_quantity - old_quantity, a missing one counted as 0",
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why the figure changed, in words"),
        sa.Column("old_extraction_id", sa.UUID(), nullable=True, comment="Extraction that was current before"),
        sa.Column("new_extraction_id", sa.UUID(), nullable=True, comment="Extraction that is current since"),
        sa.Column(
            "loaded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row was written",
        ),
        sa.CheckConstraint("subject in ('cost', 'usage', 'price')", name=op.f("restatements_subject_check")),
        sa.CheckConstraint(
            "abs(difference_quantity) < 1e20 AND scale(difference_quantity) <= 18",
            name=op.f("restatements_difference_quantity_check"),
        ),
        sa.CheckConstraint(
            "abs(difference_usd) < 1e20 AND scale(difference_usd) <= 18", name=op.f("restatements_difference_usd_check")
        ),
        sa.CheckConstraint(
            "abs(new_quantity) < 1e20 AND scale(new_quantity) <= 18", name=op.f("restatements_new_quantity_check")
        ),
        sa.CheckConstraint("abs(new_usd) < 1e20 AND scale(new_usd) <= 18", name=op.f("restatements_new_usd_check")),
        sa.CheckConstraint(
            "abs(old_quantity) < 1e20 AND scale(old_quantity) <= 18", name=op.f("restatements_old_quantity_check")
        ),
        sa.CheckConstraint("abs(old_usd) < 1e20 AND scale(old_usd) <= 18", name=op.f("restatements_old_usd_check")),
        sa.PrimaryKeyConstraint(
            "usage_date",
            "tenant_id",
            "subject",
            "workspace_id",
            "description",
            "cost_type",
            "token_type",
            "model",
            "service_tier",
            "context_window",
            "inference_geo",
            "speed",
            "seen_at",
            name=op.f("restatements_pkey"),
        ),
        schema="stax",
        comment="A past day's figure that changed at a later extraction or under new prices; equal rows summed",
    )
    op.create_table(
        "commitments",
        sa.Column("commitment_id", sa.Text(), nullable=False, comment="The operator's name for it"),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False, comment="When the row was recorded"),
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant"),
        sa.Column("model", sa.Text(), nullable=False, comment="Dated model id"),
        sa.Column(
            "input_tokens_per_minute",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Committed input tokens per minute",
        ),
        sa.Column(
            "output_tokens_per_minute",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Committed output tokens per minute",
        ),
        sa.Column("fee_usd", sa.Numeric(), nullable=False, comment="USD for the whole term"),
        sa.Column("starts_on", sa.Date(), nullable=False, comment="First UTC day of the term"),
        sa.Column("ends_on", sa.Date(), nullable=False, comment="Last UTC day of the term"),
        sa.Column(
            "superseded_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a later row replaced it; NULL while in force",
        ),
        sa.CheckConstraint("abs(fee_usd) < 1e20 AND scale(fee_usd) <= 18", name=op.f("commitments_fee_usd_check")),
        sa.CheckConstraint("ends_on >= starts_on", name=op.f("commitments_dates_check")),
        sa.CheckConstraint("fee_usd >= 0", name=op.f("commitments_fee_check")),
        sa.CheckConstraint(
            "input_tokens_per_minute >= 0 and output_tokens_per_minute >= 0", name=op.f("commitments_capacity_check")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"], name=op.f("commitments_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("commitment_id", "recorded_at", name=op.f("commitments_pkey")),
        schema="stax",
        comment="Priority Tier capacity that a tenant committed to, and its fee",
    )
    op.create_table(
        "contract_rates",
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column("model_pattern", sa.Text(), nullable=False, comment="Model id, or the beginning of one and *"),
        sa.Column(
            "service_tier", sa.Text(), nullable=False, comment="standard, batch, priority, … or * for every tier"
        ),
        sa.Column(
            "token_type",
            sa.Text(),
            nullable=False,
            comment="Token type under the cost report's names, or * for every type",
        ),
        sa.Column("effective_from", sa.Date(), nullable=False, comment="First UTC day"),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False, comment="When the row was recorded"),
        sa.Column("effective_to", sa.Date(), nullable=True, comment="Last UTC day; NULL without an end"),
        sa.Column(
            "discount",
            sa.Numeric(),
            nullable=True,
            comment="Share taken off the list price, 0.15 is 15 %; NULL where an absolute price stands",
        ),
        sa.Column(
            "usd_per_unit",
            sa.Numeric(),
            nullable=True,
            comment="USD per 1M tokens instead of the list price; NULL where a discount stands",
        ),
        sa.Column(
            "superseded_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a later row replaced it; NULL while in force",
        ),
        sa.CheckConstraint("(discount is null) <> (usd_per_unit is null)", name=op.f("contract_rates_either_check")),
        sa.CheckConstraint(
            "abs(discount) < 1e20 AND scale(discount) <= 18", name=op.f("contract_rates_discount_check")
        ),
        sa.CheckConstraint(
            "abs(usd_per_unit) < 1e20 AND scale(usd_per_unit) <= 18", name=op.f("contract_rates_usd_per_unit_check")
        ),
        sa.CheckConstraint("effective_to >= effective_from", name=op.f("contract_rates_dates_check")),
        sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"], name=op.f("contract_rates_tenant_id_fkey")),
        sa.PrimaryKeyConstraint(
            "tenant_id",
            "model_pattern",
            "service_tier",
            "token_type",
            "effective_from",
            "recorded_at",
            name=op.f("contract_rates_pkey"),
        ),
        schema="stax",
        comment="A discount or an absolute price that a tenant negotiated, by date",
    )
    op.create_table(
        "invoices",
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column("month", sa.Date(), nullable=False, comment="First day of the calendar month, UTC"),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False, comment="When the row was recorded"),
        sa.Column("amount_usd", sa.Numeric(), nullable=False, comment="USD of the invoice"),
        sa.Column("note", sa.Text(), nullable=False, comment="Whatever the operator noted; '' without"),
        sa.CheckConstraint(
            "abs(amount_usd) < 1e20 AND scale(amount_usd) <= 18", name=op.f("invoices_amount_usd_check")
        ),
        sa.CheckConstraint("extract(day from month) = 1", name=op.f("invoices_month_check")),
        sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"], name=op.f("invoices_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "month", "recorded_at", name=op.f("invoices_pkey")),
        schema="stax",
        comment="What Anthropic invoiced a tenant for a month; the row recorded last holds",
    )
    op.add_column(
        "list_prices",
        sa.Column(
            "imported",
            sa.Boolean(),
            nullable=False,
            server_default=sa.false(),
            comment="Whether the operator imported it; such a row is never replaced by a shipped one",
        ),
        schema="stax",
    )
    op.alter_column(
        "spend",
        "cost_source",
        existing_type=sa.TEXT(),
        comment="reported, priority-reconstructed, unbilled, usage-estimated, unpriced or commitment-unused",
        existing_comment="reported, priority-reconstructed, unbilled, usage-estimated or unpriced",
        existing_nullable=False,
        schema="stax",
    )
    op.alter_column(
        "spend",
        "price_book_version",
        existing_type=sa.TEXT(),
        comment="Digest of the price book, and of the tenant's rates and commitments where it has any",
        existing_comment="Digest of the price book the line was priced with",
        existing_nullable=False,
        schema="stax",
    )
    op.alter_column(
        "spend",
        "burndown_units",
        existing_type=sa.NUMERIC(),
        comment="Units of a Priority commitment burned, or left unused; NULL elsewhere",
        existing_comment="Units of a Priority commitment the tokens burn; NULL for other tiers",
        existing_nullable=True,
        schema="stax",
    )
    op.alter_column("list_prices", "imported", server_default=None, schema="stax")
    loader, analyst = (_quoted(context.config.attributes[name]) for name in ("loader", "analyst"))
    for table in TABLES:
        op.execute(f"alter table stax.{table} enable row level security")
        op.execute(f"alter table stax.{table} force row level security")
        op.execute(f"grant select, insert, update, delete on stax.{table} to {loader}")
        op.execute(f"create policy loader on stax.{table} to {loader} using (true) with check (true)")
        op.execute(f"grant select on stax.{table} to {analyst}")
        if analyst != loader:
            op.execute(f"create policy analyst on stax.{table} for select to {analyst} using (true)")


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
