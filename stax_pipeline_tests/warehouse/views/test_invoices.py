"""Invoices beside the reported dollars, and what can explain a difference, against rows made by hand."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from stax_pipeline.domain.money import ratio
from stax_pipeline_tests.warehouse.views.conftest import DAY, WHEN, Warehouse

OCTOBER = date(2026, 10, 1)


class TestInvoiceCheck:
    QUERY = "select * from stax.invoice_check"

    @pytest.fixture
    def october(self, warehouse: Warehouse) -> Warehouse:
        """$1,000 reported, $100 of a commitment's fee, $7 estimated, $90 of Priority; 31 complete days."""
        for n in range(31):
            warehouse.cover(OCTOBER + timedelta(days=n))
        for day, usd, source, effective in (
            (1, "990", "reported", "990"), (31, "10", "reported", "10"), (3, "7", "usage-estimated", "7"),
            (4, "90", "priority-reconstructed", "80"), (4, "0", "commitment-unused", "20"),
        ):  # fmt: skip
            committed = "c" if effective in ("80", "20") else ""
            warehouse.add_spend(usd, source, usage_date=date(2026, 10, day), effective_cost_usd=effective,
                                commitment_id=committed)  # fmt: skip
        return warehouse

    def invoice(
        self, warehouse: Warehouse, usd: str | None, hours: int = 0, month: date = OCTOBER, note: str = ""
    ) -> None:
        warehouse.add(
            "invoices", month=month, amount_usd=usd, recorded_at=WHEN + timedelta(hours=hours), note=note
        )  # fmt: skip

    def test_every_figure(self, october: Warehouse) -> None:
        october.add("reconciliation", usage_date=OCTOBER, priced_usd="99", reported_usd="100", ratio="0.99")
        october.add("reconciliation", usage_date=OCTOBER, model="b", priced_usd="5", reported_usd="0")
        self.invoice(october, "1", hours=-1)
        self.invoice(october, "1100.05", note="INV-1")
        found = october.row(self.QUERY)
        found.pop("tenant_id")
        assert found == {
            "tenant": "acme", "month": OCTOBER, "invoice_usd": Decimal("1100.05"), "note": "INV-1",
            "billed_usd": 1000, "credits_usd": 0, "priority_reconstructed_usd": 90,
            "estimated_usd": 7, "commitment_fee_usd": 100,
            "expected_usd": 1100, "difference_usd": Decimal("0.05"), "days_in_month": 31, "days_complete": 31,
            "days_settled": 31, "price_accuracy": Decimal("0.99"), "status": "within 0.1 %",
            "closing": "closed",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("usd", "status"),
        [
            ("1100", "matches to the cent"),
            ("1100.005", "matches to the cent"),
            ("1099.995", "matches to the cent"),
            ("1100.0051", "within 0.1 %"),
            ("1101.1", "within 0.1 %"),
            ("1098.9", "within 0.1 %"),
            ("1101.1001", "differs"),
            ("1098.8999", "differs"),
        ],
    )
    def test_the_tolerance(self, october: Warehouse, usd: str, status: str) -> None:
        self.invoice(october, usd)
        assert october.row(self.QUERY)["status"] == status

    def test_without_an_invoice(self, october: Warehouse) -> None:
        found = october.row(self.QUERY)
        assert (found["status"], found["invoice_usd"], found["difference_usd"]) == ("no invoice", None, None)
        assert found["expected_usd"] == 1100

    def test_a_withdrawn_invoice_is_none(self, october: Warehouse) -> None:
        self.invoice(october, "5", note="INV-1")
        self.invoice(october, None, hours=1)
        found = october.row(self.QUERY)
        assert (found["status"], found["invoice_usd"], found["difference_usd"]) == ("no invoice", None, None)
        assert (found["note"], found["expected_usd"]) == (None, 1100)

    def test_a_missing_or_open_day_makes_the_month_incomplete(self, october: Warehouse) -> None:
        self.invoice(october, "1100", note="")
        october.connection.exec_driver_sql("update stax.coverage set state = 'open' where usage_date = '2026-10-07'")
        found = october.row(self.QUERY)
        assert (found["status"], found["days_complete"], found["note"]) == ("month incomplete", 30, None)

    def test_a_month_is_closed_once_every_day_of_both_reports_was_read_on_the_8th_or_later(
        self, october: Warehouse
    ) -> None:
        read = "update stax.coverage set extracted_at = '{}' where {}"
        october.connection.exec_driver_sql(read.format("2026-11-08T00:00Z", "true"))
        assert october.row(self.QUERY)["closing"] == "closed"
        for which in ("usage_date = '2026-10-31'", "report = 'cost_report' and usage_date = '2026-10-02'"):
            october.connection.exec_driver_sql(read.format("2026-11-07T23:59:59Z", which))
            assert october.row(self.QUERY)["closing"].startswith("not closed until"), which
            october.connection.exec_driver_sql(read.format("2026-11-08T00:00Z", "true"))
        october.connection.exec_driver_sql("delete from stax.coverage where usage_date = '2026-10-31'")
        told = "not closed until all its days are read on or after 2026-11-08"
        assert october.row(self.QUERY)["closing"] == told

    def test_an_invoice_of_a_month_without_days(self, warehouse: Warehouse) -> None:
        self.invoice(warehouse, "5", month=date(2026, 2, 1))
        found = warehouse.row(self.QUERY)
        assert (found["days_in_month"], found["days_complete"], found["billed_usd"]) == (28, 0, 0)
        assert (found["status"], found["difference_usd"]) == ("month incomplete", 5)


class TestInvoiceDifferences:
    def test_each_kind_by_day_and_model(self, warehouse: Warehouse) -> None:
        for n in range(31):
            if n != 6:
                warehouse.cover(OCTOBER + timedelta(days=n), "provisional" if n == 7 else "complete")
        day = date(2026, 10, 3)
        warehouse.add_spend("9", usage_date=day, quantity=1)
        warehouse.add_spend("5", "priority-reconstructed", usage_date=day, quantity=3)
        warehouse.add_spend("2", "priority-reconstructed", usage_date=day, quantity=4)
        warehouse.add_spend("3", "usage-estimated", usage_date=day, quantity=3, model="b")
        warehouse.add_spend("0", "unbilled", usage_date=day, quantity=3, list_cost_usd="8")
        warehouse.add_spend(None, "unpriced", usage_date=day, quantity=33, model="new")
        warehouse.add("restatements", kind="cost", usage_date=day, old_usd="4", new_usd="1", model="b")
        warehouse.add("restatements", kind="usage", usage_date=day, old_quantity=4, new_quantity=1)
        for model, priced, high, reported in (
            ("ok", "1", "1", "1.01"),
            ("off", "10", "10", "8"),
            ("band", "1", "5", "4"),
        ):
            warehouse.add("reconciliation", usage_date=day, model=model, service_tier="batch", priced_usd=priced,
                          priced_low_usd=priced, priced_high_usd=high, reported_usd=reported,
                          ratio=ratio(Decimal(priced), Decimal(reported)), cause="contract discount")  # fmt: skip
        query = (
            "select usage_date, model, kind, usd, note from stax.invoice_differences where month = :month order by 1, 3"
        )
        found = [tuple(row.values()) for row in warehouse.rows(query, month=OCTOBER)]
        assert found == [
            (day, "off", "price difference", -2, "batch, priced ÷ reported 1.250000, contract discount"),
            (day, "claude-opus-4-8", "priority-reconstructed", 7, "7 tokens, not in the reported dollars"),
            (day, "b", "restated", -3, "1 change, the last published 2026-11-22"),
            (day, "claude-opus-4-8", "unbilled", 8, "3 tokens, list price of what was never billed"),
            (day, "new", "unpriced", None, "33 tokens, no price is known"),
            (day, "b", "usage-estimated", 3, "3 tokens, the cost has not arrived"),
            (
                date(2026, 10, 7),
                None,
                "day missing",
                None,
                "1 day without a complete cost report, 2026-10-07: not read",
            ),
            (
                date(2026, 10, 8),
                None,
                "day missing",
                None,
                "1 day without a complete cost report, 2026-10-08: provisional",
            ),
        ]

    def test_the_same_tokens_are_told_once(self, warehouse: Warehouse) -> None:
        """Of $10 by the price book $6 was billed: the other tokens are unbilled, and no price is off."""
        warehouse.cover(DAY)
        warehouse.add_spend("6", quantity=6, contracted_cost_usd="6", list_cost_usd="6")
        warehouse.add_spend("0", "unbilled", quantity=4, contracted_cost_usd="4", list_cost_usd="4")
        self.reconciled(warehouse, "10", "6", "tokens without cost: blocked, or billed to another organization")
        query = "select kind, usd from stax.invoice_differences where kind <> 'day missing'"
        assert [tuple(row.values()) for row in warehouse.rows(query)] == [("unbilled", 4)]

    def test_what_is_estimated_is_no_price_difference_either(self, warehouse: Warehouse) -> None:
        """And the billed tokens are still held against their own price."""
        warehouse.cover(DAY)
        warehouse.add_spend("5", quantity=6, contracted_cost_usd="6", list_cost_usd="6")
        warehouse.add_spend("4", "usage-estimated", quantity=4, contracted_cost_usd="4", list_cost_usd="4")
        self.reconciled(warehouse, "10", "5", "contract discount")
        query = "select kind, usd, note from stax.invoice_differences where kind <> 'day missing' order by 1"
        assert [tuple(row.values()) for row in warehouse.rows(query)] == [
            ("price difference", -1, "standard, priced ÷ reported 1.200000, contract discount"),
            ("usage-estimated", 4, "4 tokens, the cost has not arrived"),
        ]

    def test_a_bill_under_another_model_id_explains_no_difference(self, warehouse: Warehouse) -> None:
        warehouse.cover(DAY)
        warehouse.add_spend("0", "unbilled", quantity=4, contracted_cost_usd="4", list_cost_usd="4")
        warehouse.add_spend("4", model="claude-opus-next")
        self.reconciled(warehouse, "4", "0", "another model id")
        self.reconciled(warehouse, "0", "4", "another model id", model="claude-opus-next")
        assert warehouse.rows("select * from stax.invoice_differences where kind <> 'day missing'") == []

    def reconciled(
        self, warehouse: Warehouse, priced: str, reported: str, cause: str, model: str = "claude-opus-4-8"
    ) -> None:
        warehouse.add("reconciliation", model=model, service_tier="standard", priced_usd=priced, priced_low_usd=priced,
                      priced_high_usd=priced, reported_usd=reported, cause=cause,
                      ratio=ratio(Decimal(priced), Decimal(reported)))  # fmt: skip

    def test_a_run_of_missing_days_is_one_row_and_comes_first(self, warehouse: Warehouse) -> None:
        for n in (*range(22, 25), *range(27, 31)):
            warehouse.cover(OCTOBER + timedelta(days=n))
        warehouse.add_spend("5000", "priority-reconstructed", usage_date=date(2026, 10, 30), quantity=1)
        query = "select * from stax.invoice_differences order by usd is null desc, abs(usd) desc, usage_date"
        found = [(r["usage_date"], r["kind"], r["days"], r["note"]) for r in warehouse.rows(query)]
        assert found == [
            (OCTOBER, "day missing", 22,
             "22 days without a complete cost report, 2026-10-01 to 2026-10-22: not read"),
            (date(2026, 10, 26), "day missing", 2,
             "2 days without a complete cost report, 2026-10-26 to 2026-10-27: not read"),
            (date(2026, 10, 30), "priority-reconstructed", 1, "1 tokens, not in the reported dollars"),
        ]  # fmt: skip

    def test_no_day_is_missing_before_it_is_over(self, warehouse: Warehouse) -> None:
        warehouse.add("invoices", month=date(2126, 10, 1), amount_usd="5")
        assert warehouse.rows("select * from stax.invoice_differences") == []
