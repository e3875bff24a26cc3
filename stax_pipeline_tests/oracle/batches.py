"""What the rules of one tenant make of a batch of several."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from stax_pipeline.derive.batch import Batch, Derived
from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.fees import spread_fees
from stax_pipeline.derive.reconciliation import Reconciliation, reconcile
from stax_pipeline.derive.schemas import RECONCILIATION, SPEND, SPEND_BY_KEY, lines_of, table_of
from stax_pipeline.derive.spend import SpendLine, spend_lines
from stax_pipeline.derive.split_by_key import KeySpend, spend_by_key
from stax_pipeline.derive.usage_lines import KeyUsageLine, UsageLine


def derived(batch: Batch) -> Derived:
    """The same as `derive`."""
    spend: dict[str, list[SpendLine]] = {}
    by_key: dict[str, list[KeySpend]] = {}
    accuracy: dict[str, list[Reconciliation]] = {}
    costs, usage = lines_of(batch.cost_lines, CostLine), lines_of(batch.usage_lines, UsageLine)
    keys = lines_of(batch.usage_by_key, KeyUsageLine)
    for tenant_id in sorted(batch.terms):
        settled, minutes = _days(batch, tenant_id)
        terms, held = batch.terms[tenant_id], (costs.get(tenant_id, []), usage.get(tenant_id, []))
        spend[tenant_id] = spread_fees(spend_lines(*held, terms, settled), terms, minutes)
        by_key[tenant_id] = spend_by_key(spend[tenant_id], keys.get(tenant_id, []))
        accuracy[tenant_id] = reconcile(*held, terms, settled, batch.restated.get(tenant_id, {}))
    return Derived(table_of(SPEND, spend), table_of(SPEND_BY_KEY, by_key), table_of(RECONCILIATION, accuracy))


def _days(batch: Batch, tenant_id: str) -> tuple[frozenset[date], Mapping[date, int]]:
    rows = [row for row in batch.days.to_pylist() if row["tenant_id"] == tenant_id]
    settled = frozenset(row["usage_date"] for row in rows if row["settled"])
    return settled, {row["usage_date"]: row["minutes"] for row in rows if row["minutes"] is not None}
