"""All that people read, for a batch of tenants at once: spend, spend by key and price accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.engine import Engine
from stax_pipeline.derive.fees import spread_fees
from stax_pipeline.derive.reconciliation import Cell, Change, Reconciliation, reconcile
from stax_pipeline.derive.schemas import RECONCILIATION, SPEND, SPEND_BY_KEY, lines_of, table_of
from stax_pipeline.derive.spend import SpendLine, spend_lines
from stax_pipeline.derive.split_by_key import KeySpend, spend_by_key
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import KeyUsageLine, UsageLine

RESULTS = frozenset({"spend", "spend_by_key", "reconciliation"})


class Batch(NamedTuple):
    """What several tenants' days hold, and the rules they are priced by.

    `days` (DAYS) has every tenant's day that the other tables have rows of, settled or not, and how many minutes of its
    usage are known: 1440 for a whole day, null where usage is not covered. `terms` and `restated` are by `tenant_id`;
    `restated` gives the changes of each row of price accuracy after the fact, the newest first.
    """

    cost_lines: pa.Table
    usage_lines: pa.Table
    usage_by_key: pa.Table
    days: pa.Table
    terms: Mapping[str, Terms]
    restated: Mapping[str, Mapping[Cell, Sequence[Change]]]


class Derived(NamedTuple):
    """Tables SPEND, SPEND_BY_KEY, RECONCILIATION, by tenant and in order; without rows where it was not wanted."""

    spend: pa.Table
    spend_by_key: pa.Table
    reconciliation: pa.Table


def derive(engine: Engine, batch: Batch, wanted: frozenset[str] = RESULTS) -> Derived:
    """Derive the wanted tables, named as in the warehouse.

    Raises:
        duckdb.Error: a figure does not fit; halve the batch to find whose it is.
    """
    spend: dict[str, list[SpendLine]] = {}
    by_key: dict[str, list[KeySpend]] = {}
    accuracy: dict[str, list[Reconciliation]] = {}
    costs, usage = lines_of(batch.cost_lines, CostLine), lines_of(batch.usage_lines, UsageLine)
    keys = lines_of(batch.usage_by_key, KeyUsageLine)
    every: list[dict[str, Any]] = batch.days.to_pylist()
    for tenant_id in sorted({str(row["tenant_id"]) for row in every}):
        days = [row for row in every if row["tenant_id"] == tenant_id]
        settled = frozenset(row["usage_date"] for row in days if row["settled"])
        minutes = {row["usage_date"]: row["minutes"] for row in days if row["minutes"] is not None}
        terms, held = batch.terms[tenant_id], (costs.get(tenant_id, []), usage.get(tenant_id, []))
        spend[tenant_id] = spread_fees(spend_lines(*held, terms, settled), terms, minutes)
        by_key[tenant_id] = spend_by_key(spend[tenant_id], keys.get(tenant_id, []))
        accuracy[tenant_id] = reconcile(*held, terms, settled, batch.restated.get(tenant_id, {}))
    return Derived(
        table_of(SPEND, spend if "spend" in wanted else {}),
        table_of(SPEND_BY_KEY, by_key if "spend_by_key" in wanted else {}),
        table_of(RECONCILIATION, accuracy if "reconciliation" in wanted else {}),
    )
