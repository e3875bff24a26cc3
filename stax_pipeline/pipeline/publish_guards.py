"""What must not be published, of a batch: the rules of `derive.guards` put to the tenants whose rows changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import pyarrow as pa
import sqlalchemy as sa

from stax_pipeline.derive.batch import Batch
from stax_pipeline.derive.engine import Engine
from stax_pipeline.derive.guards import DOLLARS, grouping_faults, settlement, shrink_faults, unit_faults
from stax_pipeline.derive.schemas import DAYS, USAGE_BY_KEY, USAGE_LINES, schema_of
from stax_pipeline.domain.errors import ContractBroken, TenantStopped
from stax_pipeline.domain.time import is_old_enough_to_settle
from stax_pipeline.pipeline.arrivals import on_slots
from stax_pipeline.pipeline.publish_batch import Share, Stores
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.agreements import terms_of
from stax_pipeline.warehouse.arrow_copy import Slot, read_arrow

OLD_ENOUGH = schema_of(tenant_id=pa.string(), usage_date=pa.date32(), old_enough=pa.bool_())
SETTLED = schema_of(tenant_id=pa.string(), usage_date=pa.date32(), settled=pa.bool_())


class Shrunk(TenantStopped):
    """A settled day lost more than half of its figure: kept raw, not published unless accepted."""


class UnitMismatch(TenantStopped):
    """Reported dollars and priced tokens are far apart: the source must have changed its unit."""


def cost_faults(
    connection: sa.Connection, stores: Stores, rules: Engine, shares: Sequence[Share], held: pa.Table
) -> dict[UUID, TenantStopped]:
    """Cost whose unit changed, that is not grouped as asked, or that shrank on a settled day.

    The first two are told by the whole answer, whichever of its days changed.
    """
    days = {slot: share.arrival.extraction.extracted_at for share in shares for slot in share.all_slots}
    usage = read_arrow(connection, tables.usage_lines, USAGE_LINES.names, days)
    fresh = pa.concat_tables([share.fresh[0] for share in shares])
    whole = settlement(rules, fresh, usage, _old_enough(stores, days)).select(SETTLED.names)
    ids = {share.tenant.tenant_id for share in shares}
    terms = {str(one): own for one, own in terms_of(connection, ids, stores.book.read(connection)).items()}
    minutes = pa.nulls(whole.num_rows, pa.int64())
    batch = Batch(
        fresh, usage, USAGE_BY_KEY.empty_table(), whole.append_column("minutes", minutes).cast(DAYS), terms, {}
    )  # fmt: skip
    before = {slot: moment for share in shares for slot, moment in share.replaced.items()}
    was = settlement(rules, held, on_slots(usage, before), _old_enough(stores, before)).select(SETTLED.names)
    shrunk = _shrunk(stores, rules, shares, held, [share.changed_rows[0] for share in shares], was, DOLLARS)
    return {
        **_as(Shrunk, shrunk),
        **_as(ContractBroken, grouping_faults(rules, fresh, usage, whole)),
        **_as(UnitMismatch, unit_faults(rules, batch)),
    }


def usage_faults(
    connection: sa.Connection, stores: Stores, rules: Engine, shares: Sequence[Share], held: pa.Table
) -> dict[UUID, TenantStopped]:
    """Tokens, or tokens by key, that shrank on a settled day."""
    before = {slot: moment for share in shares for slot, moment in share.replaced.items()}
    settled = _old_enough(stores, before).rename_columns(SETTLED.names)
    keys = {
        (s.tenant.tenant_id, day): s.before[day].extracted_at for s in shares for day in s.changed_keys
        if day in s.before
    }  # fmt: skip
    held_keys = read_arrow(connection, tables.usage_by_key, USAGE_BY_KEY.names, keys)
    key_days = _old_enough(stores, keys).rename_columns(SETTLED.names)
    fresh, fresh_keys = ([share.changed_rows[place] for share in shares] for place in (0, 1))
    return {
        **_as(Shrunk, _shrunk(stores, rules, shares, held_keys, fresh_keys, key_days, "tokens by key")),
        **_as(Shrunk, _shrunk(stores, rules, shares, held, fresh, settled, "tokens")),
    }


def _shrunk(
    stores: Stores, rules: Engine, shares: Iterable[Share], held: pa.Table, fresh: Sequence[pa.Table],
    settled: pa.Table, what: str,
) -> dict[str, str]:  # fmt: skip
    if stores.accept_shrink or not held.num_rows:
        return {}
    slugs = {str(share.tenant.tenant_id): share.tenant.slug for share in shares}
    return shrink_faults(rules, held, pa.concat_tables(fresh), settled, slugs, what)


def _old_enough(stores: Stores, moments: Mapping[Slot, datetime]) -> pa.Table:
    rows = [
        {"tenant_id": str(tenant_id), "usage_date": day,
         "old_enough": is_old_enough_to_settle(day, moment, stores.settle)}
        for (tenant_id, day), moment in moments.items()
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, OLD_ENOUGH)


def _as(kind: Callable[[str], TenantStopped], reasons: Mapping[str, str]) -> dict[UUID, TenantStopped]:
    return {UUID(tenant_id): kind(why) for tenant_id, why in reasons.items()}
