"""What changed after the fact."""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.warehouse.columns import flag, instant, number, table, tenant, text, usage_date
from stax_pipeline.warehouse.tables.shared import dimensions, loaded

restatements = table(
    "restatements",
    "A past day's figure that changed at a later extraction or under new prices; equal rows summed",
    usage_date(),
    tenant(),
    text("kind", "cost (reported dollars), usage (tokens, searches), usage-dollars (dollars of other usage at "
         "the same prices) or price (dollars of the same usage under new prices)", key=True),
    *dimensions(
        "workspace_id", "description", "cost_type", "token_type", "model", "service_tier", "context_window",
        "inference_geo", "speed", key=True,
    ),
    instant("seen_at", "When the change was published: when the tables changed", key=True),
    number("old_usd", "USD before; NULL where there was no line, or the kind has no dollars", null=True),
    number("new_usd", "USD after, 0 where the line vanished; NULL where the kind has no dollars", null=True),
    number("old_quantity", "Tokens or searches before; NULL without a line, or if not counted", null=True),
    number("new_quantity", "Tokens or searches after, 0 where the line vanished; NULL if not counted", null=True),
    sa.Column(
        "difference_usd", sa.Numeric, sa.Computed("coalesce(new_usd, 0) - coalesce(old_usd, 0)", persisted=True),
        comment="new_usd - old_usd, a missing one counted as 0",
    ),
    sa.Column(
        "difference_quantity", sa.Numeric,
        sa.Computed("coalesce(new_quantity, 0) - coalesce(old_quantity, 0)", persisted=True),
        comment="new_quantity - old_quantity, a missing one counted as 0",
    ),
    text("reason", "Why the figure changed, in words"),
    sa.Column("old_extraction_id", sa.UUID, nullable=True, comment="Extraction that was current before"),
    sa.Column("new_extraction_id", sa.UUID, nullable=True, comment="Extraction that is current since"),
    loaded(),
    sa.CheckConstraint("kind in ('cost', 'usage', 'price', 'usage-dollars')", name="kind"),
)  # fmt: skip


publications = table(
    "publications",
    "When an extraction became the current one of a day: what replay goes through",
    tenant(),
    text("report", "cost_report or usage_report", key=True),
    usage_date(),
    instant("published_at", "When the tables changed", key=True),
    sa.Column(
        "extraction_id", sa.UUID, sa.ForeignKey("stax.extractions.extraction_id"), nullable=False,
        comment="The extraction that is current since",
    ),
)  # fmt: skip


spend_builds = table(
    "spend_builds",
    "What spend of a day was built from, and when: what --as-of goes by; a day is built again only when one of these "
    "changed",
    tenant(),
    usage_date(),
    instant("built_at", "When spend changed", key=True),
    text("price_book_version", "Version of the prices, rates and commitments"),
    instant("priced_at", "The instant whose records they are"),
    sa.Column("cost_extraction_id", sa.UUID, nullable=True, comment="Cost extraction it was built from"),
    sa.Column("usage_extraction_id", sa.UUID, nullable=True, comment="Usage extraction it was built from"),
    text("uses", "What was priced, as JSON: the models (/fast behind those in fast mode) and web_search"),
    text("cost_digest", "Digest of the day's cost lines"),
    text("usage_digest", "Digest of the day's usage lines"),
    text("key_digest", "Digest of the day's usage by key"),
    flag("settled", "Whether a missing cost of the day was read as zero"),
    text("rules_version", "Version of the rules it was built by"),
)  # fmt: skip
