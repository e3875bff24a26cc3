"""What a tenant negotiated, committed to and was invoiced, as the warehouse keeps it: dated, corrections supersede."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any
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
from stax_pipeline.warehouse.tables import commitments, contract_rates, invoices, list_prices
from stax_pipeline.warehouse.versioned_rows import Recorded, Replaced, compare, in_force, supersede

_RATE_KEY = ContractRate._fields[:4]  # model_pattern, service_tier, token_type, effective_from


class IdTaken(WrongUse):
    """A commitment's id is another tenant's."""

    def __init__(self, commitment_id: str) -> None:
        super().__init__(f"commitment {commitment_id} is another tenant's: give this one an id of its own.")
        self.commitment_id = commitment_id


def read_rates(connection: sa.Connection, tenant_id: UUID, at: datetime | None = None) -> ContractRates:
    """The tenant's rates in force, or those that were on record at the instant `at`."""
    return _rates_of(connection, [tenant_id], at).get(tenant_id, ContractRates())


def _rates_of(
    connection: sa.Connection, tenant_ids: Collection[UUID], at: datetime | None
) -> dict[UUID, ContractRates]:  # fmt: skip
    found = _rows_of(connection, contract_rates, ContractRate._fields, tenant_ids, at)
    return {one: ContractRates.of(ContractRate(*row) for row in rows) for one, rows in found.items()}


def read_commitments(connection: sa.Connection, tenant_id: UUID, at: datetime | None = None) -> tuple[Commitment, ...]:
    """The tenant's commitments in force, or those that were on record at the instant `at`, by id."""
    return _commitments_of(connection, [tenant_id], at).get(tenant_id, ())


def _commitments_of(
    connection: sa.Connection, tenant_ids: Collection[UUID], at: datetime | None
) -> dict[UUID, tuple[Commitment, ...]]:
    found = _rows_of(connection, commitments, Commitment._fields, tenant_ids, at)
    return {one: tuple(sorted(Commitment(*row) for row in rows)) for one, rows in found.items()}


def _rows_of(
    connection: sa.Connection, table: sa.Table, fields: tuple[str, ...], tenant_ids: Collection[UUID],
    at: datetime | None,
) -> dict[UUID, list[Any]]:  # fmt: skip
    columns = [table.c[name] for name in fields]
    query = sa.select(table.c.tenant_id, *columns).where(
        table.c.tenant_id == sa.func.any(list(tenant_ids)), in_force(table, at)
    )
    found: dict[UUID, list[Any]] = defaultdict(list)
    for tenant_id, *row in connection.execute(query):
        found[tenant_id].append(row)
    return found


def terms_of(
    connection: sa.Connection, tenant_ids: Collection[UUID], book: PriceBook, at: datetime | None = None
) -> dict[UUID, Terms]:
    """`book` with each tenant's rates and commitments; the caller reads the book of the same instant.

    Tenants without any share one object.
    """
    rates, own = _rates_of(connection, tenant_ids, at), _commitments_of(connection, tenant_ids, at)
    listed = Terms(book)
    return {
        one: Terms(book, rates.get(one, ContractRates()), own.get(one, ())) if one in rates or one in own else listed
        for one in tenant_ids
    }


def read_terms(connection: sa.Connection, tenant_id: UUID, book: PriceBook, at: datetime | None = None) -> Terms:
    """The same of one tenant."""
    return terms_of(connection, [tenant_id], book, at)[tenant_id]


def last_changes(connection: sa.Connection, tenant_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """When list prices, or rates or commitments of each tenant, were last recorded or superseded (UTC): as of that
    instant they are what they are now. A tenant without a price, rate or commitment is left out.
    """
    book = connection.execute(sa.select(_latest(list_prices))).scalar()
    found = dict.fromkeys(tenant_ids, book)
    for table in (contract_rates, commitments):
        query = sa.select(table.c.tenant_id, _latest(table)).where(table.c.tenant_id == sa.func.any(list(tenant_ids)))
        for tenant_id, moment in connection.execute(query.group_by(table.c.tenant_id)):
            before = found[tenant_id]
            found[tenant_id] = max(before, moment) if before else moment
    return {tenant_id: moment for tenant_id, moment in found.items() if moment}


def _latest(table: sa.Table) -> sa.ColumnElement[datetime]:
    return sa.func.greatest(sa.func.max(table.c.recorded_at), sa.func.max(table.c.superseded_at))


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
