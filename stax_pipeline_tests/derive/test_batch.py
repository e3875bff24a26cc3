"""The rules over a batch, beside the same rules row by row: equal in every column."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import HealthCheck, given, settings

from stax_pipeline.derive.batch import Batch, derive
from stax_pipeline.derive.engine import Engine
from stax_pipeline_tests.derive.batches import batches
from stax_pipeline_tests.oracle.batches import derived

SLOW = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@SLOW
@given(batch=batches())
def test_every_table_is_what_the_rules_make_row_by_row(engine: Engine, batch: Batch) -> None:
    found, expected = derive(engine, batch), derived(batch)
    assert found.spend.to_pylist() == expected.spend.to_pylist()
    assert in_order(found.spend_by_key).to_pylist() == expected.spend_by_key.to_pylist()
    assert found.reconciliation.to_pylist() == expected.reconciliation.to_pylist()


def in_order(spend_by_key: pa.Table) -> pa.Table:
    """As the rules row by row give them."""
    return spend_by_key.sort_by([(name, "ascending") for name in spend_by_key.column_names[:10]])
