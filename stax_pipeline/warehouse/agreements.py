"""What a tenant negotiated, committed to and was invoiced, as the warehouse keeps it: dated, corrections supersede."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.derive.terms import Terms
from stax_pipeline.domain.errors import Overlap, WrongUse
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.commitments import overlapping as overlapping_commitments
from stax_pipeline.pricing.contract_rates import ContractRate, ContractRates
from stax_pipeline.pricing.contract_rates import overlapping as overlapping_rates
from stax_pipeline.pricing.invoices import Invoice
from stax_pipeline.pricing.prices import PriceBook
from stax_pipeline.warehouse.publish import lock_tenant
from stax_pipeline.warehouse.tables import commitments, contract_rates, invoices
from stax_pipeline.warehouse.versioned_rows import Recorded, Replaced, compare, in_force, supersede

_RATE_KEY = ContractRate._fields[:4]  # model_pattern, service_tier, token_type, effective_from


class IdTaken(WrongUse):
    """A commitment's id is another tenant's."""

    def __init__(self, commitment_id: str) -> None:
        super().__init__(f"commitment {commitment_id} is another tenant's: give this one an id of its own.")
        self.commitment_id = commitment_id


def read_rates(connection: sa.Connection, tenant_id: UUID, at: datetime | None = None) -> ContractRates:
    """The tenant's rates in force, or those that were on record at the instant `at`."""
    columns = [contract_rates.c[name] for name in ContractRate._fields]
    query = sa.select(*columns).where(contract_rates.c.tenant_id == tenant_id, in_force(contract_rates, at))
    return ContractRates.of(ContractRate(*row) for row in connection.execute(query))


def read_commitments(connection: sa.Connection, tenant_id: UUID, at: datetime | None = None) -> tuple[Commitment, ...]:
    """The tenant's commitments in force, or those that were on record at the instant `at`, by id."""
    columns = [commitments.c[name] for name in Commitment._fields]
    query = sa.select(*columns).where(commitments.c.tenant_id == tenant_id, in_force(commitments, at))
    return tuple(sorted(Commitment(*row) for row in connection.execute(query)))


def read_terms(connection: sa.Connection, tenant_id: UUID, book: PriceBook, at: datetime | None = None) -> Terms:
    """`book` with the tenant's rates and commitments; the caller reads the book of the same instant."""
    return Terms(book, read_rates(connection, tenant_id, at), read_commitments(connection, tenant_id, at))


def read_invoices(connection: sa.Connection, tenant_id: UUID) -> list[Invoice]:
    """The tenant's invoices, the one recorded last of each month, by month; withdrawn ones are left out."""
    columns = [invoices.c[name] for name in Invoice._fields]
    query = (
        sa.select(*columns)
        .where(invoices.c.tenant_id == tenant_id)
        .distinct(invoices.c.month)
        .order_by(invoices.c.month, invoices.c.recorded_at.desc())
    )
    return [Invoice(*row) for row in connection.execute(query) if row.amount_usd is not None]


def record_rates(connection: sa.Connection, tenant_id: UUID, rates: Iterable[ContractRate]) -> Recorded[ContractRate]:
    """Record one tenant's rates in the caller's transaction, a row of the same pattern, tier, type and day superseded.

    Raises Overlap when two rates would then hold for the same tokens. A transaction that records for several tenants
    takes them in the order of their ids.
    """
    lock_tenant(connection, tenant_id)
    known = {rate[:4]: rate for rate in read_rates(connection, tenant_id).rates}
    recorded = compare(known.values(), rates, lambda rate: rate[:4])
    after = known | {rate[:4]: rate for rate in recorded.written}
    if pair := overlapping_rates(after.values()):
        raise Overlap("hold for the same tokens", "one rate at a time: end the other by its effective_to", *pair)
    supersede(connection, contract_rates, _RATE_KEY, recorded, {"tenant_id": tenant_id})
    return recorded


def withdraw_rate(connection: sa.Connection, tenant_id: UUID, key: tuple[str, str, str, date]) -> ContractRate | None:
    """Close the tenant's rate of that pattern, tier, token type and first day in the caller's transaction.

    None when there is no such rate in force.
    """
    lock_tenant(connection, tenant_id)
    found = next((rate for rate in read_rates(connection, tenant_id).rates if rate[:4] == key), None)
    if found:
        supersede(connection, contract_rates, _RATE_KEY, Recorded([], [], []), {"tenant_id": tenant_id}, [found])
    return found


def record_commitments(connection: sa.Connection, tenant_id: UUID, rows: Iterable[Commitment]) -> Recorded[Commitment]:
    """Record one tenant's commitments in the caller's transaction, one of the same id superseded.

    Raises Overlap when two would then cover the same model and day, IdTaken for an id that another tenant has.
    Ids are one tenant's alone: who records commitments takes turns, before waiting for a tenant.
    """
    _lock_commitments(connection)
    lock_tenant(connection, tenant_id)
    rows = list(rows)
    _refuse_foreign(connection, tenant_id, [row.commitment_id for row in rows])
    known = {row.commitment_id: row for row in read_commitments(connection, tenant_id)}
    recorded = compare(known.values(), rows, lambda row: row.commitment_id)
    after = known | {row.commitment_id: row for row in recorded.written}
    if pair := overlapping_commitments(after.values()):
        raise Overlap("cover the same model and days", "one commitment for a model and day", *pair)
    supersede(connection, commitments, ("commitment_id",), recorded, {"tenant_id": tenant_id})
    return recorded


def withdraw_commitment(connection: sa.Connection, commitment_id: str) -> Commitment | None:
    """Close a commitment of whatever tenant in the caller's transaction; None when there is no such one in force."""
    _lock_commitments(connection)
    owner = sa.select(commitments.c.tenant_id).where(
        commitments.c.commitment_id == commitment_id, in_force(commitments, None)
    )
    tenant_id = connection.execute(owner).scalar_one_or_none()
    if tenant_id is None:
        return None
    lock_tenant(connection, tenant_id)
    found = next(one for one in read_commitments(connection, tenant_id) if one.commitment_id == commitment_id)
    supersede(connection, commitments, ("commitment_id",), Recorded([], [], []), {"tenant_id": tenant_id}, [found])
    return found


def _lock_commitments(connection: sa.Connection) -> None:
    connection.execute(sa.text("select pg_advisory_xact_lock(hashtext('commitments'))"))


def _refuse_foreign(connection: sa.Connection, tenant_id: UUID, ids: list[str]) -> None:
    query = (
        sa.select(commitments.c.commitment_id)
        .where(commitments.c.commitment_id.in_(ids), commitments.c.tenant_id != tenant_id, in_force(commitments, None))
        .order_by(commitments.c.commitment_id)
    )
    foreign = connection.execute(query).scalars().first()
    if foreign is not None:
        raise IdTaken(foreign)


def record_invoice(connection: sa.Connection, tenant_id: UUID, invoice: Invoice) -> Recorded[Invoice]:
    """Record a month's invoice in the caller's transaction; the row recorded last holds.

    The amount that stands already is left alone, unless it comes with another note.
    """
    lock_tenant(connection, tenant_id)
    old = _invoice_of(connection, tenant_id, invoice.month)
    if old and old.amount_usd == invoice.amount_usd and invoice.note in ("", old.note):
        return Recorded([], [], [old])
    _add_invoice(connection, tenant_id, *invoice)
    return Recorded([], [Replaced(old, invoice)], []) if old else Recorded([invoice], [], [])


def withdraw_invoice(connection: sa.Connection, tenant_id: UUID, month: date, note: str) -> Invoice | None:
    """Take back the month's invoice in the caller's transaction; None when there is none on record."""
    lock_tenant(connection, tenant_id)
    found = _invoice_of(connection, tenant_id, month)
    if found:
        _add_invoice(connection, tenant_id, month, None, note)
    return found


def _invoice_of(connection: sa.Connection, tenant_id: UUID, month: date) -> Invoice | None:
    return next((one for one in read_invoices(connection, tenant_id) if one.month == month), None)


def _add_invoice(
    connection: sa.Connection, tenant_id: UUID, month: date, amount_usd: Decimal | None, note: str
) -> None:
    connection.execute(
        invoices.insert().values(
            tenant_id=tenant_id, recorded_at=sa.func.clock_timestamp(), month=month, amount_usd=amount_usd, note=note
        )
    )
