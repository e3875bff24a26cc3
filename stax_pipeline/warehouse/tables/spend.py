"""What people read: prices, spend, spend by key, price accuracy."""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.warehouse.columns import count, day, flag, instant, number, table, tenant, text, usage_date
from stax_pipeline.warehouse.tables.shared import dimensions, line, loaded

list_prices = table(
    "list_prices",
    "The dated price book: USD per unit as published",
    text("model", "Model id; '' for what is not sold by token", key=True),
    day("effective_from", "First UTC day of the price", key=True),
    text("cost_type", "tokens, web_search, code_execution or session_usage", key=True),
    text("token_type", "Token type; '' where none applies", key=True),
    text(
        "context_window",
        "all, 0-200k, 200k-1M; 0-100k and 100k-1M for a step the report cannot see",
        key=True,
    ),
    text("speed", "standard or fast", key=True),
    instant("recorded_at", "When the row was recorded", key=True),
    text("pricing_unit", "1M tokens, 1k requests or hour"),
    number("usd_per_unit", "USD per pricing unit"),
    number("us_multiplier", "Factor of US-only inference"),
    text("source", "Where the price was published"),
    instant("superseded_at", "When a later row replaced it; NULL while in force", null=True),
    flag("imported", "Whether the operator imported it; such a row is never replaced by a shipped one"),
)


spend = table(
    "spend",
    "What something cost, and where that figure comes from",
    usage_date(),
    tenant(),
    line(),
    *dimensions("workspace_id", "model", "cost_type", "token_type", "service_tier", "context_window", "inference_geo",
                "speed", "description"),
    count("quantity", "Tokens or requests; NULL where the source tells none", null=True),
    text("unit", "tokens, requests or hours"),
    text("cost_source", "reported, priority-reconstructed, unbilled, usage-estimated, unpriced or commitment-unused"),
    number("cost_usd", "USD; NULL when unpriced", null=True),
    number("credits_usd", "Negative part of reported cost_usd, which holds it already; 0 without credits",
           server_default="0"),
    number("effective_cost_usd", "USD after spreading a recorded commitment; equals cost_usd without one", null=True),
    number("list_cost_usd", "USD at list price, before any contract rate; NULL where no price is known", null=True),
    number("list_cost_low_usd", "Lower bound, for a model whose price steps where the report cannot see", null=True),
    number("list_cost_high_usd", "Upper bound, likewise", null=True),
    number("contracted_cost_usd", "USD at list price after the contract rate", null=True),
    number("list_unit_price_usd", "USD per pricing unit; NULL when several prices went in", null=True),
    number("contracted_unit_price_usd", "The same after the contract rate", null=True),
    number("pricing_quantity", "quantity in pricing units", null=True),
    text("pricing_unit", "1M tokens, 1k requests or hour"),
    text("price_source", "Where the price comes from; contract for an absolute contract price, band-lower for the "
         "lower bound of an unseen step"),
    text("price_book_version", "Digest of the price book, and of the tenant's rates and commitments where it has any"),
    text("commitment_id", "The commitment the line burns; '' without one"),
    number("burndown_units", "Units of a Priority commitment burned, or left unused; NULL elsewhere", null=True),
    count("cost_line_count", "How many cost lines were met"),
    sa.Column("cost_extraction_id", sa.UUID, nullable=True, comment="Cost extraction the line was built from"),
    sa.Column("usage_extraction_id", sa.UUID, nullable=True, comment="Usage extraction the line was built from"),
    loaded(),
    sa.Index("spend_committed_idx", "usage_date", "tenant_id", postgresql_where=sa.text("commitment_id <> ''")),
)  # fmt: skip


TOTALS = ("workspace_id", "model", "cost_type", "service_tier")

spend_totals = table(
    "spend_totals",
    "Spend added up to what most people group it by, written with each tenant's day; spend_daily and others read it",
    usage_date(),
    tenant(),
    line(),
    *dimensions(*TOTALS),
    text("cost_source", "As in spend"),
    count("tokens", "Tokens of the lines; NULL where the source tells none", null=True),
    number("cost_usd", "USD; NULL when no line has a price", null=True),
    number("credits_usd", "Negative part of reported cost_usd, which holds it already; 0 without credits"),
    number("effective_cost_usd", "USD after spreading a recorded commitment; NULL when no line has a price", null=True),
    number("list_cost_usd", "USD at list price of the lines that have one; NULL when none has", null=True),
    number("commitment_fee_usd", "The part of effective_cost_usd that is the fee of a recorded commitment; 0 without"),
    loaded(),
    sa.Index(None, "tenant_id", "usage_date"),
    apart=(*TOTALS, "cost_source"),
)


spend_day_totals = table(
    "spend_day_totals",
    "Spend added up to the tenant's day, written with it; spend_summary and invoice_check read it",
    usage_date(),
    tenant(),
    count("tokens", "Tokens of the usage report"),
    count("unpriced_tokens", "Tokens without a known price: they are in no dollar figure"),
    number("billed_usd", "USD of the cost report, credits included"),
    number("credits_usd", "Negative part of billed_usd, which holds it already; 0 without credits"),
    number("priority_reconstructed_usd", "USD of Priority tokens at their price, which no cost report holds"),
    number("estimated_usd", "USD of tokens whose cost has not arrived yet, estimated from tokens and prices"),
    number("commitment_fee_usd", "USD of recorded commitments' fees on the day; 0 without"),
    loaded(),
    sa.Index(None, "tenant_id", "usage_date"),
)


BY_KEY = ("workspace_id", "api_key_id", "account_id", "model", "cost_type", "token_type", "service_tier")

spend_by_key = table(
    "spend_by_key",
    "Spend lines split over API keys and accounts by the tokens each used; sums tie to spend exactly",
    usage_date(),
    tenant(),
    line(),
    *dimensions(*BY_KEY),
    text("cost_source", "As in spend"),
    count(
        "quantity",
        "Tokens or requests of this key, by the by-key query; NULL where it tells none",
        null=True,
    ),
    number("cost_usd", "This key's share in USD; NULL when unpriced", null=True),
    number("effective_cost_usd", "This key's share of the effective cost in USD", null=True),
    loaded(),
    apart=(*BY_KEY, "cost_source"),
)


reconciliation = table(
    "reconciliation",
    "Price accuracy: standard and batch tokens priced by the book, beside what was reported for them",
    usage_date(),
    tenant(),
    text("model", "Dated model id", key=True),
    text("service_tier", "standard or batch", key=True),
    number(
        "priced_usd",
        "Tokens × price, contract rates included; NULL where a price is unknown",
        null=True,
    ),
    number("priced_low_usd", "Lower bound of the same", null=True),
    number("priced_high_usd", "Upper bound of the same", null=True),
    number("list_priced_usd", "Tokens × list price", null=True),
    number("reported_usd", "Token dollars of the cost report"),
    number("ratio", "priced_usd ÷ reported_usd; NULL where nothing was reported, or nothing used", null=True),
    text(
        "cause",
        "Why the two differ, where it can be told; '' when they agree within 1 %",
    ),
    loaded(),
)
