"""Price accuracy and restated days, against rows made by hand."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from stax_pipeline.domain.money import ratio
from stax_pipeline_tests.warehouse.views.conftest import DAY, WHEN, Warehouse


class TestPriceAccuracy:
    def reconciled(self, warehouse: Warehouse, day: int, priced: str | None, reported: str, *, high: str = "") -> None:
        warehouse.add(
            "reconciliation", usage_date=date(2026, 11, day), model="claude-opus-4-8", service_tier="batch",
            priced_usd=priced, priced_low_usd=priced, priced_high_usd=high or priced, reported_usd=reported,
            ratio=ratio(Decimal(priced), Decimal(reported)) if priced else None,
        )  # fmt: skip

    def test_a_month_of_days(self, warehouse: Warehouse) -> None:
        self.reconciled(warehouse, 1, "10.1", "10")  # the edge: 1 % of what was reported
        self.reconciled(warehouse, 2, "10.11", "10")
        self.reconciled(warehouse, 3, "7", "0")
        self.reconciled(warehouse, 4, None, "20")
        found = warehouse.row("select * from stax.price_accuracy")
        assert (found["tenant"], found["month"], found["model"]) == ("acme", date(2026, 11, 1), "claude-opus-4-8")
        assert (found["priced_usd"], found["reported_usd"]) == (Decimal("27.21"), 40)
        assert (found["ratio"], found["lowest_ratio"]) == (Decimal("1.0105"), Decimal("1.01"))
        assert found["highest_ratio"] == Decimal("1.011")
        assert (found["days"], found["days_outside"], found["days_unpriced"]) == (4, 1, 1)

    def test_a_band_is_measured_at_its_bounds(self, warehouse: Warehouse) -> None:
        for day, reported in enumerate(("0.99", "0.9899", "3", "5.05", "5.0501"), start=1):
            self.reconciled(warehouse, day, "1", reported, high="5")
        assert warehouse.row("select days, days_outside from stax.price_accuracy") == {"days": 5, "days_outside": 2}

    def test_nothing_to_compare(self, warehouse: Warehouse) -> None:
        self.reconciled(warehouse, 1, None, "3")
        found = warehouse.row("select * from stax.price_accuracy")
        assert found["ratio"] is found["lowest_ratio"] is found["priced_usd"] is None


class TestRestatedDays:
    def restate(self, warehouse: Warehouse, old: str | None, new: str, hours: int = 0, **values: object) -> None:
        shown = {"kind": "cost", "reason": "changed at a later extraction", "seen_at": WHEN + timedelta(hours=hours)}
        warehouse.add("restatements", old_usd=old, new_usd=new, **{**shown, **values})

    def test_first_shown_and_now(self, warehouse: Warehouse) -> None:
        self.restate(warehouse, "1", "3", model="a")
        self.restate(warehouse, "3", "2.5", hours=2, model="a")
        self.restate(warehouse, None, "4", hours=1, model="b", reason="appeared at a later extraction")
        found = warehouse.row("select * from stax.restated_days")
        assert (found["usage_date"], found["kind"], found["measure"], found["changes"]) == (DAY, "cost", None, 3)
        assert (found["old_usd"], found["new_usd"], found["difference_usd"]) == (1, Decimal("6.5"), Decimal("5.5"))
        assert found["old_quantity"] is found["difference_quantity"] is None
        assert found["last_seen_at"] - found["first_seen_at"] == timedelta(hours=2)
        assert found["reasons"] == "appeared at a later extraction; changed at a later extraction"

    def test_kinds_and_measures_are_not_added_up(self, warehouse: Warehouse) -> None:
        self.restate(warehouse, "1", "3", kind="price", description="cost_usd")
        self.restate(warehouse, "2", "8", kind="price", description="effective_cost_usd")
        warehouse.add("restatements", kind="usage", old_quantity=7, new_quantity=5, seen_at=WHEN)
        found = warehouse.rows("select * from stax.restated_days order by kind, measure")
        assert [(r["measure"], r["old_usd"], r["difference_usd"], r["difference_quantity"]) for r in found] == [
            ("cost_usd", 1, 2, None), ("effective_cost_usd", 2, 6, None), (None, None, None, -2),
        ]  # fmt: skip
