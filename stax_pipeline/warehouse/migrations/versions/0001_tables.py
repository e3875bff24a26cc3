"""The tables of the main job: tenants and keys, extractions and coverage, lines, spend, names, prices."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column("api_key_id", sa.Text(), nullable=False, comment="Anthropic's id"),
        sa.Column("name", sa.Text(), nullable=False, comment="Name"),
        sa.Column("status", sa.Text(), nullable=False, comment="active, inactive, archived, expired, …"),
        sa.Column(
            "workspace_id",
            sa.Text(),
            nullable=False,
            comment="The workspace it belongs to; '' for the whole organisation",
        ),
        sa.Column("partial_key_hint", sa.Text(), nullable=False, comment="What Anthropic shows of the key"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True, comment="When it was created"),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False, comment="The last snapshot that held it"),
        sa.Column(
            "extras", JSONB(), server_default="{}", nullable=False, comment="Every further field of the snapshot"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "api_key_id", name=op.f("api_keys_pkey")),
        schema="stax",
        comment="API keys of a tenant's organisation; those that vanish are kept",
    )
    op.create_table(
        "cost_lines",
        sa.Column("usage_date", sa.Date(), nullable=False, comment="The UTC day the use happened on"),
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
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
        sa.Column("currency", sa.Text(), nullable=False, comment="Always USD: anything else stops the tenant"),
        sa.Column(
            "occurrence",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="1, 2, … among rows equal in every dimension, by amount",
        ),
        sa.Column(
            "amount_usd",
            sa.Numeric(),
            nullable=False,
            comment="USD, exact: the report's cents ÷ 100; negative for credits",
        ),
        sa.Column(
            "extras",
            JSONB(),
            server_default="{}",
            nullable=False,
            comment="Fields the report sent that no documentation lists",
        ),
        sa.Column("extraction_id", sa.UUID(), nullable=False, comment="The extraction this row was read from"),
        sa.Column(
            "loaded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row was written",
        ),
        sa.CheckConstraint(
            "abs(amount_usd) < 1e20 AND scale(amount_usd) <= 18",
            name=op.f("cost_lines_amount_usd_check"),
        ),
        sa.PrimaryKeyConstraint(
            "usage_date",
            "tenant_id",
            "workspace_id",
            "description",
            "cost_type",
            "token_type",
            "model",
            "service_tier",
            "context_window",
            "inference_geo",
            "currency",
            "occurrence",
            name=op.f("cost_lines_pkey"),
        ),
        schema="stax",
        comment="One normalised row of the cost report, in USD",
    )
    op.create_table(
        "list_prices",
        sa.Column("model", sa.Text(), nullable=False, comment="Model id; '' for what is not sold by token"),
        sa.Column("effective_from", sa.Date(), nullable=False, comment="First UTC day of the price"),
        sa.Column(
            "cost_type", sa.Text(), nullable=False, comment="tokens, web_search, code_execution or session_usage"
        ),
        sa.Column("token_type", sa.Text(), nullable=False, comment="Token type; '' where none applies"),
        sa.Column(
            "context_window",
            sa.Text(),
            nullable=False,
            comment="all, 0-200k, 200k-1M; 0-100k and 100k-1M for a step the report cannot see",
        ),
        sa.Column("speed", sa.Text(), nullable=False, comment="standard or fast"),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False, comment="When the row was recorded"),
        sa.Column("pricing_unit", sa.Text(), nullable=False, comment="1M tokens, 1k requests or hour"),
        sa.Column("usd_per_unit", sa.Numeric(), nullable=False, comment="USD per pricing unit"),
        sa.Column("us_multiplier", sa.Numeric(), nullable=False, comment="Factor of US-only inference"),
        sa.Column("source", sa.Text(), nullable=False, comment="Where the price was published"),
        sa.Column(
            "superseded_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a later row replaced it; NULL while in force",
        ),
        sa.CheckConstraint(
            "abs(us_multiplier) < 1e20 AND scale(us_multiplier) <= 18",
            name=op.f("list_prices_us_multiplier_check"),
        ),
        sa.CheckConstraint(
            "abs(usd_per_unit) < 1e20 AND scale(usd_per_unit) <= 18",
            name=op.f("list_prices_usd_per_unit_check"),
        ),
        sa.PrimaryKeyConstraint(
            "model",
            "effective_from",
            "cost_type",
            "token_type",
            "context_window",
            "speed",
            "recorded_at",
            name=op.f("list_prices_pkey"),
        ),
        schema="stax",
        comment="The dated price book: USD per unit as published",
    )
    op.create_table(
        "members",
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column("member_id", sa.Text(), nullable=False, comment="Anthropic's user id"),
        sa.Column("name", sa.Text(), nullable=False, comment="Name"),
        sa.Column("email", sa.Text(), nullable=False, comment="E-mail address"),
        sa.Column("role", sa.Text(), nullable=False, comment="Role, as Anthropic names it"),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=True, comment="When the member joined"),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False, comment="The last snapshot that held it"),
        sa.Column(
            "extras", JSONB(), server_default="{}", nullable=False, comment="Every further field of the snapshot"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "member_id", name=op.f("members_pkey")),
        schema="stax",
        comment="Members of a tenant's organisation; those that vanish are kept",
    )
    op.create_table(
        "reconciliation",
        sa.Column("usage_date", sa.Date(), nullable=False, comment="The UTC day the use happened on"),
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column("model", sa.Text(), nullable=False, comment="Dated model id"),
        sa.Column("service_tier", sa.Text(), nullable=False, comment="standard or batch"),
        sa.Column(
            "priced_usd",
            sa.Numeric(),
            nullable=True,
            comment="Tokens × price, contract rates included; NULL where a price is unknown",
        ),
        sa.Column("priced_low_usd", sa.Numeric(), nullable=True, comment="Lower bound of the same"),
        sa.Column("priced_high_usd", sa.Numeric(), nullable=True, comment="Upper bound of the same"),
        sa.Column("list_priced_usd", sa.Numeric(), nullable=True, comment="Tokens × list price"),
        sa.Column("reported_usd", sa.Numeric(), nullable=False, comment="Token dollars of the cost report"),
        sa.Column(
            "ratio", sa.Numeric(), nullable=True, comment="priced_usd ÷ reported_usd; NULL when nothing was reported"
        ),
        sa.Column(
            "cause",
            sa.Text(),
            nullable=False,
            comment="Why the two differ, where it can be told; '' when they agree within 1 %",
        ),
        sa.Column(
            "loaded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row was written",
        ),
        sa.CheckConstraint(
            "abs(list_priced_usd) < 1e20 AND scale(list_priced_usd) <= 18",
            name=op.f("reconciliation_list_priced_usd_check"),
        ),
        sa.CheckConstraint(
            "abs(priced_high_usd) < 1e20 AND scale(priced_high_usd) <= 18",
            name=op.f("reconciliation_priced_high_usd_check"),
        ),
        sa.CheckConstraint(
            "abs(priced_low_usd) < 1e20 AND scale(priced_low_usd) <= 18",
            name=op.f("reconciliation_priced_low_usd_check"),
        ),
        sa.CheckConstraint(
            "abs(priced_usd) < 1e20 AND scale(priced_usd) <= 18",
            name=op.f("reconciliation_priced_usd_check"),
        ),
        sa.CheckConstraint("abs(ratio) < 1e20 AND scale(ratio) <= 18", name=op.f("reconciliation_ratio_check")),
        sa.CheckConstraint(
            "abs(reported_usd) < 1e20 AND scale(reported_usd) <= 18",
            name=op.f("reconciliation_reported_usd_check"),
        ),
        sa.PrimaryKeyConstraint("usage_date", "tenant_id", "model", "service_tier", name=op.f("reconciliation_pkey")),
        schema="stax",
        comment="The error bar: standard and batch tokens priced by the book, beside what was reported for them",
    )
    op.create_table(
        "spend",
        sa.Column("usage_date", sa.Date(), nullable=False, comment="The UTC day the use happened on"),
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column(
            "line", sa.BigInteger(), autoincrement=False, nullable=False, comment="1, 2, … within the tenant's day"
        ),
        sa.Column(
            "workspace_id", sa.Text(), nullable=False, comment="Workspace id; 'default' is the default workspace"
        ),
        sa.Column("model", sa.Text(), nullable=False, comment="Model id as the source names it; '' where none applies"),
        sa.Column(
            "cost_type", sa.Text(), nullable=False, comment="tokens, web_search, code_execution, session_usage, …"
        ),
        sa.Column(
            "token_type",
            sa.Text(),
            nullable=False,
            comment="Token type under the cost report's names; '' where none applies",
        ),
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
        sa.Column("description", sa.Text(), nullable=False, comment="Display text of the cost report"),
        sa.Column(
            "quantity",
            sa.BigInteger(),
            autoincrement=False,
            nullable=True,
            comment="Tokens or requests; NULL where the source tells none",
        ),
        sa.Column("unit", sa.Text(), nullable=False, comment="tokens, requests or hours"),
        sa.Column(
            "cost_source",
            sa.Text(),
            nullable=False,
            comment="reported, priority-reconstructed, unbilled, usage-estimated or unpriced",
        ),
        sa.Column("cost_usd", sa.Numeric(), nullable=True, comment="USD; NULL when unpriced"),
        sa.Column(
            "effective_cost_usd",
            sa.Numeric(),
            nullable=True,
            comment="USD after spreading a recorded commitment; equals cost_usd without one",
        ),
        sa.Column(
            "list_cost_usd",
            sa.Numeric(),
            nullable=True,
            comment="USD at list price, before any contract rate; NULL where no price is known",
        ),
        sa.Column(
            "list_cost_low_usd",
            sa.Numeric(),
            nullable=True,
            comment="Lower bound, for a model whose price steps where the report cannot see",
        ),
        sa.Column("list_cost_high_usd", sa.Numeric(), nullable=True, comment="Upper bound, likewise"),
        sa.Column(
            "contracted_cost_usd", sa.Numeric(), nullable=True, comment="USD at list price after the contract rate"
        ),
        sa.Column(
            "list_unit_price_usd",
            sa.Numeric(),
            nullable=True,
            comment="USD per pricing unit; NULL when several prices went in",
        ),
        sa.Column("contracted_unit_price_usd", sa.Numeric(), nullable=True, comment="The same after the contract rate"),
        sa.Column("pricing_quantity", sa.Numeric(), nullable=True, comment="quantity in pricing units"),
        sa.Column("pricing_unit", sa.Text(), nullable=False, comment="1M tokens, 1k requests or hour"),
        sa.Column(
            "price_source",
            sa.Text(),
            nullable=False,
            comment="Where the list price comes from; band-lower for the lower bound of an unseen step",
        ),
        sa.Column(
            "price_book_version", sa.Text(), nullable=False, comment="Digest of the price book the line was priced with"
        ),
        sa.Column("commitment_id", sa.Text(), nullable=False, comment="The commitment the line burns; '' without one"),
        sa.Column(
            "burndown_units",
            sa.Numeric(),
            nullable=True,
            comment="Units of a Priority commitment the tokens burn; NULL for other tiers",
        ),
        sa.Column(
            "cost_lines", sa.BigInteger(), autoincrement=False, nullable=False, comment="How many cost lines were met"
        ),
        sa.Column("cost_extraction_id", sa.UUID(), nullable=True, comment="Cost extraction the line was built from"),
        sa.Column("usage_extraction_id", sa.UUID(), nullable=True, comment="Usage extraction the line was built from"),
        sa.Column(
            "loaded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row was written",
        ),
        sa.CheckConstraint(
            "abs(burndown_units) < 1e20 AND scale(burndown_units) <= 18",
            name=op.f("spend_burndown_units_check"),
        ),
        sa.CheckConstraint(
            "abs(contracted_cost_usd) < 1e20 AND scale(contracted_cost_usd) <= 18",
            name=op.f("spend_contracted_cost_usd_check"),
        ),
        sa.CheckConstraint(
            "abs(contracted_unit_price_usd) < 1e20 AND scale(contracted_unit_price_usd) <= 18",
            name=op.f("spend_contracted_unit_price_usd_check"),
        ),
        sa.CheckConstraint(
            "abs(cost_usd) < 1e20 AND scale(cost_usd) <= 18",
            name=op.f("spend_cost_usd_check"),
        ),
        sa.CheckConstraint(
            "abs(effective_cost_usd) < 1e20 AND scale(effective_cost_usd) <= 18",
            name=op.f("spend_effective_cost_usd_check"),
        ),
        sa.CheckConstraint(
            "abs(list_cost_high_usd) < 1e20 AND scale(list_cost_high_usd) <= 18",
            name=op.f("spend_list_cost_high_usd_check"),
        ),
        sa.CheckConstraint(
            "abs(list_cost_low_usd) < 1e20 AND scale(list_cost_low_usd) <= 18",
            name=op.f("spend_list_cost_low_usd_check"),
        ),
        sa.CheckConstraint(
            "abs(list_cost_usd) < 1e20 AND scale(list_cost_usd) <= 18",
            name=op.f("spend_list_cost_usd_check"),
        ),
        sa.CheckConstraint(
            "abs(list_unit_price_usd) < 1e20 AND scale(list_unit_price_usd) <= 18",
            name=op.f("spend_list_unit_price_usd_check"),
        ),
        sa.CheckConstraint(
            "abs(pricing_quantity) < 1e20 AND scale(pricing_quantity) <= 18",
            name=op.f("spend_pricing_quantity_check"),
        ),
        sa.PrimaryKeyConstraint("usage_date", "tenant_id", "line", name=op.f("spend_pkey")),
        schema="stax",
        comment="What something cost, and where that figure comes from",
    )
    op.create_table(
        "spend_by_key",
        sa.Column("usage_date", sa.Date(), nullable=False, comment="The UTC day the use happened on"),
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column(
            "workspace_id", sa.Text(), nullable=False, comment="Workspace id; 'default' is the default workspace"
        ),
        sa.Column(
            "api_key_id",
            sa.Text(),
            nullable=False,
            comment="API key id; '' is use without one (Console, OAuth, service account); 'unattributed' cannot be split",
        ),
        sa.Column(
            "account_id", sa.Text(), nullable=False, comment="OAuth account id; '' is use not made through OAuth"
        ),
        sa.Column("model", sa.Text(), nullable=False, comment="Model id as the source names it; '' where none applies"),
        sa.Column(
            "cost_type", sa.Text(), nullable=False, comment="tokens, web_search, code_execution, session_usage, …"
        ),
        sa.Column(
            "token_type",
            sa.Text(),
            nullable=False,
            comment="Token type under the cost report's names; '' where none applies",
        ),
        sa.Column(
            "service_tier",
            sa.Text(),
            nullable=False,
            comment="standard, batch, priority, … as the source names it; '' where none applies",
        ),
        sa.Column("cost_source", sa.Text(), nullable=False, comment="As in spend"),
        sa.Column(
            "quantity",
            sa.BigInteger(),
            autoincrement=False,
            nullable=True,
            comment="Tokens or requests of this key, by the by-key reading; NULL where it tells none",
        ),
        sa.Column("cost_usd", sa.Numeric(), nullable=True, comment="This key's share in USD; NULL when unpriced"),
        sa.Column(
            "effective_cost_usd", sa.Numeric(), nullable=True, comment="This key's share of the effective cost in USD"
        ),
        sa.Column(
            "loaded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row was written",
        ),
        sa.CheckConstraint(
            "abs(cost_usd) < 1e20 AND scale(cost_usd) <= 18",
            name=op.f("spend_by_key_cost_usd_check"),
        ),
        sa.CheckConstraint(
            "abs(effective_cost_usd) < 1e20 AND scale(effective_cost_usd) <= 18",
            name=op.f("spend_by_key_effective_cost_usd_check"),
        ),
        sa.PrimaryKeyConstraint(
            "usage_date",
            "tenant_id",
            "workspace_id",
            "api_key_id",
            "account_id",
            "model",
            "cost_type",
            "token_type",
            "service_tier",
            "cost_source",
            name=op.f("spend_by_key_pkey"),
        ),
        schema="stax",
        comment="Spend lines split over API keys and accounts by the tokens each used; sums tie to spend exactly",
    )
    op.create_table(
        "tenants",
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column("slug", sa.Text(), nullable=False, comment="Name in commands and URLs"),
        sa.Column("name", sa.Text(), nullable=False, comment="Display name"),
        sa.Column(
            "organization_id",
            sa.Text(),
            nullable=False,
            comment="Anthropic organisation id, told by /v1/organizations/me",
        ),
        sa.Column("status", sa.Text(), nullable=False, comment="connected, key_rejected or disconnected"),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, comment="When the tenant was first connected"
        ),
        sa.Column(
            "first_sync_run_id",
            sa.Text(),
            nullable=True,
            comment="The run that made the first backfill, NULL before it",
        ),
        sa.CheckConstraint(
            "status in ('connected', 'key_rejected', 'disconnected')", name=op.f("tenants_status_check")
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("tenants_pkey")),
        sa.UniqueConstraint("organization_id", name=op.f("tenants_organization_id_key")),
        sa.UniqueConstraint("slug", name=op.f("tenants_slug_key")),
        schema="stax",
        comment="One customer of the operator, exactly one Anthropic organisation",
    )
    op.create_table(
        "usage_by_key",
        sa.Column("usage_date", sa.Date(), nullable=False, comment="The UTC day the use happened on"),
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column(
            "workspace_id", sa.Text(), nullable=False, comment="Workspace id; 'default' is the default workspace"
        ),
        sa.Column(
            "api_key_id",
            sa.Text(),
            nullable=False,
            comment="API key id; '' is use without one (Console, OAuth, service account); 'unattributed' cannot be split",
        ),
        sa.Column(
            "account_id", sa.Text(), nullable=False, comment="OAuth account id; '' is use not made through OAuth"
        ),
        sa.Column("model", sa.Text(), nullable=False, comment="Model id as the source names it; '' where none applies"),
        sa.Column(
            "service_tier",
            sa.Text(),
            nullable=False,
            comment="standard, batch, priority, … as the source names it; '' where none applies",
        ),
        sa.Column(
            "uncached_input_tokens",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Input tokens that neither hit nor wrote the cache",
        ),
        sa.Column(
            "cache_read_input_tokens",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Input tokens read from the cache",
        ),
        sa.Column(
            "cache_creation_5m_input_tokens",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Input tokens written to the 5-minute cache",
        ),
        sa.Column(
            "cache_creation_1h_input_tokens",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Input tokens written to the 1-hour cache",
        ),
        sa.Column("output_tokens", sa.BigInteger(), autoincrement=False, nullable=False, comment="Output tokens"),
        sa.Column("web_search_requests", sa.BigInteger(), autoincrement=False, nullable=False, comment="Web searches"),
        sa.Column(
            "extras",
            JSONB(),
            server_default="{}",
            nullable=False,
            comment="Fields the report sent that no documentation lists",
        ),
        sa.Column("extraction_id", sa.UUID(), nullable=False, comment="The extraction this row was read from"),
        sa.Column(
            "loaded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row was written",
        ),
        sa.PrimaryKeyConstraint(
            "usage_date",
            "tenant_id",
            "workspace_id",
            "api_key_id",
            "account_id",
            "model",
            "service_tier",
            name=op.f("usage_by_key_pkey"),
        ),
        schema="stax",
        comment="Usage by API key and account",
    )
    op.create_table(
        "usage_lines",
        sa.Column("usage_date", sa.Date(), nullable=False, comment="The UTC day the use happened on"),
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column(
            "workspace_id", sa.Text(), nullable=False, comment="Workspace id; 'default' is the default workspace"
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
            "uncached_input_tokens",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Input tokens that neither hit nor wrote the cache",
        ),
        sa.Column(
            "cache_read_input_tokens",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Input tokens read from the cache",
        ),
        sa.Column(
            "cache_creation_5m_input_tokens",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Input tokens written to the 5-minute cache",
        ),
        sa.Column(
            "cache_creation_1h_input_tokens",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Input tokens written to the 1-hour cache",
        ),
        sa.Column("output_tokens", sa.BigInteger(), autoincrement=False, nullable=False, comment="Output tokens"),
        sa.Column("web_search_requests", sa.BigInteger(), autoincrement=False, nullable=False, comment="Web searches"),
        sa.Column(
            "extras",
            JSONB(),
            server_default="{}",
            nullable=False,
            comment="Fields the report sent that no documentation lists",
        ),
        sa.Column("extraction_id", sa.UUID(), nullable=False, comment="The extraction this row was read from"),
        sa.Column(
            "loaded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row was written",
        ),
        sa.PrimaryKeyConstraint(
            "usage_date",
            "tenant_id",
            "workspace_id",
            "model",
            "service_tier",
            "context_window",
            "inference_geo",
            "speed",
            name=op.f("usage_lines_pkey"),
        ),
        schema="stax",
        comment="One normalised row of the usage report, with its speed",
    )
    op.create_table(
        "workspaces",
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column(
            "workspace_id",
            sa.Text(),
            nullable=False,
            comment="The id used in every other table; 'default' is the default workspace",
        ),
        sa.Column("anthropic_id", sa.Text(), nullable=False, comment="The id Anthropic gives it"),
        sa.Column("name", sa.Text(), nullable=False, comment="Name"),
        sa.Column("is_default", sa.Boolean(), nullable=False, comment="Whether it is the default workspace"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True, comment="When it was created"),
        sa.Column(
            "archived_at", sa.DateTime(timezone=True), nullable=True, comment="When it was archived; NULL while active"
        ),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False, comment="The last snapshot that held it"),
        sa.Column(
            "extras", JSONB(), server_default="{}", nullable=False, comment="Every further field of the snapshot"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "workspace_id", name=op.f("workspaces_pkey")),
        schema="stax",
        comment="Workspaces of a tenant's organisation; those that vanish are kept",
    )
    op.create_table(
        "admin_keys",
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant"),
        sa.Column(
            "generation",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="1 for the first key, one more for each that replaced it",
        ),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False, comment="The sealed key"),
        sa.Column(
            "wrapped_data_key",
            sa.LargeBinary(),
            nullable=False,
            comment="The key's data key, wrapped by the master key",
        ),
        sa.Column("master_key_id", sa.Text(), nullable=False, comment="Which master key wrapped it"),
        sa.Column("key_hint", sa.Text(), nullable=False, comment="The key's last four characters"),
        sa.Column(
            "validated_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When Anthropic last accepted the key at connect or rotate",
        ),
        sa.Column(
            "revoked_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the key was replaced, disconnected or rejected; NULL while in use",
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"], name=op.f("admin_keys_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "generation", name=op.f("admin_keys_pkey")),
        schema="stax",
        comment="Admin keys, encrypted (AES-256-GCM); readable by the loader alone",
    )
    op.create_table(
        "extractions",
        sa.Column("extraction_id", sa.UUID(), nullable=False, comment="Random id"),
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant"),
        sa.Column("report", sa.Text(), nullable=False, comment="cost_report, usage_report or organization"),
        sa.Column(
            "window_start",
            sa.Date(),
            nullable=False,
            comment="First usage date asked for; the extraction day for organization",
        ),
        sa.Column("window_end", sa.Date(), nullable=False, comment="The day after the last one asked for"),
        sa.Column(
            "extracted_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Earliest Date header of its pages: the source's clock",
        ),
        sa.Column("pages", sa.BigInteger(), autoincrement=False, nullable=False, comment="Pages kept"),
        sa.Column("rows", sa.BigInteger(), autoincrement=False, nullable=False, comment="Report rows on those pages"),
        sa.Column("sha256", sa.Text(), nullable=False, comment="Hash of the raw object"),
        sa.Column(
            "raw_uri",
            sa.Text(),
            nullable=True,
            comment="Where the raw object lies, relative to the lake; NULL where nothing arrived",
        ),
        sa.Column("run_id", sa.Text(), nullable=False, comment="The Dagster run that made it"),
        sa.Column("error", sa.Text(), nullable=True, comment="Why it does not count; NULL when it does"),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When this row was written",
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"], name=op.f("extractions_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("extraction_id", name=op.f("extractions_pkey")),
        schema="stax",
        comment="One fetch of one report for one tenant over a window of days; its pages lie verbatim in the lake",
    )
    op.create_index(
        op.f("extractions_tenant_id_report_extracted_at_idx"),
        "extractions",
        ["tenant_id", "report", "extracted_at"],
        unique=False,
        schema="stax",
    )
    op.create_table(
        "coverage",
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column("report", sa.Text(), nullable=False, comment="cost_report or usage_report"),
        sa.Column("usage_date", sa.Date(), nullable=False, comment="The UTC day the use happened on"),
        sa.Column("extraction_id", sa.UUID(), nullable=False, comment="The extraction this row was read from"),
        sa.Column("extracted_at", sa.DateTime(timezone=True), nullable=False, comment="That extraction's moment"),
        sa.Column(
            "data_through",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="The instant up to which the day's data is complete",
        ),
        sa.Column(
            "old_enough_to_settle",
            sa.Boolean(),
            nullable=False,
            comment="Whether the extraction was made STAX_SETTLE_HOURS after the day's end, or later",
        ),
        sa.Column("state", sa.Text(), nullable=False, comment="open, provisional or complete"),
        sa.Column(
            "rows", sa.BigInteger(), autoincrement=False, nullable=False, comment="Rows of the day in that extraction"
        ),
        sa.CheckConstraint("state in ('open', 'provisional', 'complete')", name=op.f("coverage_state_check")),
        sa.ForeignKeyConstraint(
            ["extraction_id"], ["stax.extractions.extraction_id"], name=op.f("coverage_extraction_id_fkey")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "report", "usage_date", name=op.f("coverage_pkey")),
        schema="stax",
        comment="For each tenant, report and usage date: which extraction is current and how far its data reaches",
    )
