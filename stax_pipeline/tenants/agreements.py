"""Take what the operator hands in (prices, rates, commitments, an invoice): checked as a whole, recorded in one
transaction, or refused with the row named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.derive.reconciliation import Reconciliation
from stax_pipeline.derive.suggested_rates import Contradiction, Suggestion, contradicted, suggest
from stax_pipeline.domain.errors import Overlap
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.contract_rates import ContractRate
from stax_pipeline.pricing.imports.commitments import read_commitments
from stax_pipeline.pricing.imports.prices import read_prices
from stax_pipeline.pricing.imports.rates import read_rates
from stax_pipeline.pricing.imports.sourced import Sourced, overlap_by_row
from stax_pipeline.pricing.imports.warnings import price_warnings, rate_warnings
from stax_pipeline.pricing.invoices import Invoice
from stax_pipeline.pricing.prices import ListPrice, PriceBook, shipped_prices
from stax_pipeline.pricing.prices.book import dated_model
from stax_pipeline.warehouse import agreements
from stax_pipeline.warehouse.agreements import IdTaken, record_commitments, record_invoice, record_rates
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.prices import known_book, read_book, record_prices
from stax_pipeline.warehouse.tables import reconciliation, usage_lines
from stax_pipeline.warehouse.tenants import find_tenant
from stax_pipeline.warehouse.versioned_rows import Recorded

Value = TypeVar("Value", bound=tuple[Any, ...])


class Imported(NamedTuple, Generic[Value]):
    """What an import came to by tenant slug ('' for the price book); `notes` say what was changed or looks wrong."""

    recorded: dict[str, Recorded[Value]]
    notes: list[str]


def import_prices(engine: sa.Engine, file: str, content: bytes) -> Imported[ListPrice]:
    """Record list prices over the shipped ones, which are recorded first if they are not yet. Raises BadInput."""
    with plain_faults("importing prices"), engine.begin() as connection:
        record_prices(connection, shipped_prices())
        before = read_book(connection)
        sourced = read_prices(file, content, before)
        try:
            recorded = record_prices(connection, [one.value for one in sourced], imported=True)
        except Overlap as fault:
            raise overlap_by_row(fault, sourced) from None
        warnings = list(price_warnings(sourced, before.prices, _models(connection, before)))
    return Imported({"": recorded}, [*_notes(sourced), *warnings])


def import_rates(engine: sa.Engine, file: str, content: bytes) -> Imported[ContractRate]:
    """Record contract rates of one or several tenants. Raises BadInput."""
    sourced = read_rates(file, content)
    with plain_faults("importing rates"), engine.begin() as connection:
        imported = _record(connection, sourced, record_rates)
        warnings = list(rate_warnings(sourced, _models(connection, known_book(connection))))
    return imported._replace(notes=[*imported.notes, *warnings])


def import_commitments(engine: sa.Engine, file: str, content: bytes) -> Imported[Commitment]:
    """Record commitments of one or several tenants. Raises BadInput."""
    with plain_faults("importing commitments"), engine.begin() as connection:
        sourced = read_commitments(file, content, known_book(connection))
        try:
            return _record(connection, sourced, record_commitments)
        except IdTaken as fault:
            row = next(one.row for one in sourced if one.value.commitment_id == fault.commitment_id)
        raise row.bad("commitment_id", "an id that no other tenant has")


def import_invoice(engine: sa.Engine, tenant: Tenant, invoice: Invoice) -> Recorded[Invoice]:
    """Record what a tenant was invoiced for a month; the amount recorded last holds."""
    with plain_faults("recording the invoice"), engine.begin() as connection:
        return record_invoice(connection, tenant.tenant_id, invoice)


def suggested_rates(connection: sa.Connection, tenant: Tenant) -> list[Suggestion]:
    """The rates that the tenant's price accuracy speaks for and that are not on record."""
    return suggest(_price_accuracy(connection, tenant), agreements.read_rates(connection, tenant.tenant_id))


def contradicted_rates(connection: sa.Connection, tenant: Tenant) -> list[Contradiction]:
    """The rates on record that the tenant's price accuracy speaks against."""
    return contradicted(_price_accuracy(connection, tenant), agreements.read_rates(connection, tenant.tenant_id))


def _price_accuracy(connection: sa.Connection, tenant: Tenant) -> list[Reconciliation]:
    columns = [reconciliation.c[name] for name in Reconciliation._fields]
    rows = connection.execute(sa.select(*columns).where(reconciliation.c.tenant_id == tenant.tenant_id))
    return [Reconciliation(*row) for row in rows]


def _models(connection: sa.Connection, book: PriceBook) -> set[str]:
    """The dated ids in the price book or in anyone's use."""
    used = connection.execute(sa.select(usage_lines.c.model).distinct()).scalars()
    return {price.model for price in book.prices} | set(map(dated_model, used))


def _record(
    connection: sa.Connection,
    sourced: Sequence[Sourced[Value]],
    record: Callable[[sa.Connection, UUID, list[Value]], Recorded[Value]],
) -> Imported[Value]:
    """Each tenant's rows in the order of the tenants' ids, so that two imports never wait for each other."""
    recorded: dict[str, Recorded[Value]] = {}
    for tenant in sorted(_tenants(connection, sourced), key=lambda one: one.tenant_id):
        rows = [one for one in sourced if one.tenant == tenant.slug]
        try:
            recorded[tenant.slug] = record(connection, tenant.tenant_id, [one.value for one in rows])
        except Overlap as fault:
            raise overlap_by_row(fault, rows) from None
    return Imported(dict(sorted(recorded.items())), _notes(sourced))


def _tenants(connection: sa.Connection, sourced: Sequence[Sourced[Value]]) -> list[Tenant]:
    found: dict[str, Tenant] = {}
    for one in sourced:
        if one.tenant not in found:
            tenant = find_tenant(connection, one.tenant)
            if tenant is None:
                raise one.row.bad("tenant", "a tenant that `stax tenants` lists")
            found[tenant.slug] = tenant
    return list(found.values())


def _notes(sourced: Sequence[Sourced[Any]]) -> list[str]:
    return [f"row {one.row.number}: {one.note}" for one in sourced if one.note]
