"""Take back what the operator handed in by mistake: closed without a successor in one transaction, or refused."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import sqlalchemy as sa

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.contract_rates import ContractRate
from stax_pipeline.pricing.invoices import Invoice
from stax_pipeline.pricing.prices import ListPrice
from stax_pipeline.pricing.prices.book import dated_model
from stax_pipeline.warehouse.agreements import withdraw_commitment as close_commitment
from stax_pipeline.warehouse.agreements import withdraw_invoice as take_back_invoice
from stax_pipeline.warehouse.agreements import withdraw_rate as close_rate
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.prices import withdraw_prices as close_prices


class WithdrawnPrices(NamedTuple):
    """The imported prices that were closed, and the shipped ones that hold in their stead."""

    closed: list[ListPrice]
    back: list[ListPrice]


def withdraw_rate(
    engine: sa.Engine, tenant: Tenant, pattern: str, tier: str, token_type: str, first: date
) -> ContractRate:
    """Close one rate in force. Raises WrongUse when the tenant has none of that pattern, tier, type and first day."""
    with plain_faults("withdrawing a rate"), engine.begin() as connection:
        found = close_rate(connection, tenant.tenant_id, (dated_model(pattern), tier, token_type, first))
    if found is None:
        named = f"{pattern} {tier} {token_type} from {first}"
        raise WrongUse(f"{tenant.slug} has no rate {named}: `stax rates` lists them. Nothing was changed.")
    return found


def withdraw_commitment(engine: sa.Engine, commitment_id: str) -> Commitment:
    """Close a commitment in force. Raises WrongUse when there is none of that id."""
    with plain_faults("withdrawing a commitment"), engine.begin() as connection:
        found = close_commitment(connection, commitment_id)
    if found is None:
        named = ascii(commitment_id[:80])
        raise WrongUse(f"There is no commitment {named}: `stax commitments` lists them. Nothing was changed.")
    return found


def withdraw_invoice(engine: sa.Engine, tenant: Tenant, month: date, note: str) -> Invoice:
    """Take back what a tenant was invoiced for a month. Raises WrongUse when nothing is on record of it."""
    with plain_faults("withdrawing an invoice"), engine.begin() as connection:
        found = take_back_invoice(connection, tenant.tenant_id, month, note)
    if found is None:
        raise WrongUse(f"{tenant.slug} has no invoice of {month:%Y-%m} on record. Nothing was changed.")
    return found


def withdraw_prices(
    engine: sa.Engine, model: str, first: date, token_type: str | None, context_window: str | None, speed: str | None
) -> WithdrawnPrices:
    """Close the imported prices of a model (or of a cost type that no model has) and first day.

    None stands for every token type, context window or speed. Raises WrongUse when nothing was imported that fits.
    """

    def chosen(price: ListPrice) -> bool:
        return (
            (price.model or price.cost_type) == dated_model(model)
            and price.effective_from == first
            and token_type in (None, price.token_type)
            and context_window in (None, price.context_window)
            and speed in (None, price.speed)
        )

    with plain_faults("withdrawing prices"), engine.begin() as connection:
        closed, back = close_prices(connection, chosen)
    if not closed:
        named = " ".join(filter(None, (model, f"from {first}", token_type, context_window, speed)))
        advice = "`stax prices --all` lists prices, and shipped ones cannot be withdrawn, only replaced"
        raise WrongUse(f"No imported price {named} is in force: {advice}. Nothing was changed.")
    return WithdrawnPrices(closed, back)
