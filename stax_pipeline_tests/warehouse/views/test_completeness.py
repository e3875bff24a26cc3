"""The grid of days, against rows made by hand."""

from __future__ import annotations

from datetime import timedelta

from stax_pipeline_tests.warehouse.views.conftest import DAY, WHEN, Warehouse


def test_the_grid_marks_the_day(warehouse: Warehouse) -> None:
    warehouse.cover(DAY)
    warehouse.cover(DAY + timedelta(days=1))
    warehouse.add(
        "restatements", kind="cost", reason="changed at a later extraction", seen_at=WHEN, old_usd="1", new_usd="3"
    )
    found = warehouse.rows("select usage_date, restated, cost_state from stax.completeness order by 1")
    assert [tuple(row.values()) for row in found] == [
        (DAY, True, "complete"), (DAY + timedelta(days=1), False, "complete"),
    ]  # fmt: skip


def test_a_day_that_was_never_read_is_a_hole_in_the_grid(warehouse: Warehouse) -> None:
    for n in (0, 2):
        warehouse.cover(DAY + timedelta(days=n))
    query = "select usage_date, cost_state, usage_state, settled, restated from stax.completeness order by 1"
    assert [tuple(row.values()) for row in warehouse.rows(query)] == [
        (DAY, "complete", "complete", True, False),
        (DAY + timedelta(days=1), None, None, False, False),
        (DAY + timedelta(days=2), "complete", "complete", True, False),
    ]
