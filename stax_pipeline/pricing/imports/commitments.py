"""Priority Tier commitments from a file."""

from __future__ import annotations

from decimal import Decimal

from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.imports.sourced import Sourced, refuse_repeated
from stax_pipeline.pricing.imports.table import Row, read_table
from stax_pipeline.pricing.prices import PriceBook, Usage
from stax_pipeline.pricing.prices.book import dated_model

COLUMNS = (
    "commitment_id", "tenant", "model", "input_tokens_per_minute", "output_tokens_per_minute", "fee_usd",
    "starts_on", "ends_on",
)  # fmt: skip
MAX_PER_MINUTE = 10**12  # what a day and a term make of it still fits the warehouse
MAX_FEE_USD = Decimal(10**12)


def read_commitments(file: str, content: bytes, book: PriceBook) -> list[Sourced[Commitment]]:
    """The file's commitments with their tenants' slugs, aliases replaced by dated ids.

    Raises BadInput, also for a model without list prices on the first day: by them the fee is split.
    """
    found = [_commitment(row, book) for row in read_table(file, content, COLUMNS).rows]
    refuse_repeated(found, lambda one: one.value.commitment_id, "commitment_id")
    return found


def _commitment(row: Row, book: PriceBook) -> Sourced[Commitment]:
    tenant = row.required("tenant", "a tenant's name")
    named = row.model()
    model = dated_model(named)
    commitment = Commitment(
        commitment_id=row.required("commitment_id", "a name for the commitment"),
        model=model,
        input_tokens_per_minute=row.count("input_tokens_per_minute", MAX_PER_MINUTE),
        output_tokens_per_minute=row.count("output_tokens_per_minute", MAX_PER_MINUTE),
        fee_usd=row.decimal("fee_usd", most=MAX_FEE_USD),
        starts_on=row.day("starts_on"),
        ends_on=row.day("ends_on"),
    )
    if commitment.ends_on < commitment.starts_on:
        raise row.bad("ends_on", f"a day not before starts_on ({commitment.starts_on})")
    if not commitment.input_tokens_per_minute and not commitment.output_tokens_per_minute:
        raise row.bad("output_tokens_per_minute", "tokens per minute of input or output", "0 for both")
    for token_type in ("uncached_input_tokens", "output_tokens"):
        usage = Usage(commitment.starts_on, model, token_type, "priority", "0-200k", "global", "standard")
        if book.token_price(usage) is None:
            wanted = f"a model with a list price of {token_type} on {commitment.starts_on}: `stax prices import` first"
            raise row.bad("model", wanted)
    return Sourced(row, commitment, f"{named} is recorded by its dated id {model}" if model != named else "", tenant)
