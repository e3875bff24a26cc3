"""The rules over a batch, beside the same rules row by row: equal in every column, and in order."""

from __future__ import annotations

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
    for table in found._fields:
        assert getattr(found, table).to_pylist() == getattr(expected, table).to_pylist(), table
