"""Invoices and commitments beside what was found, against rows made by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
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
            "reported_usd": 1000, "estimated_usd": 7, "reconstructed_usd": 90, "commitment_fee_usd": 100,
            "expected_usd": 1100, "difference_usd": Decimal("0.05"), "days_in_month": 31, "days_complete": 31,
            "days_settled": 31, "price_accuracy": Decimal("0.99"), "status": "within 0.1 %", "credits_usd": 0,
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
        assert (found["days_in_month"], found["days_complete"], found["reported_usd"]) == (28, 0, 0)
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


class TestCommitmentUtilisation:
    QUERY = "select * from stax.commitment_utilisation where period = :period order by direction, period_start"

    @pytest.fixture
    def committed(self, warehouse: Warehouse) -> Warehouse:
        warehouse.add(
            "commitments", commitment_id="c", model="claude-opus-4-8", input_tokens_per_minute=10,
            output_tokens_per_minute=2, fee_usd="60", starts_on=DAY, ends_on=DAY + timedelta(days=1),
        )  # fmt: skip
        return warehouse

    def used(self, warehouse: Warehouse, units: str, usd: str, fee: str, day: date = DAY, **values: object) -> None:
        warehouse.add_spend(usd, "priority-reconstructed", usage_date=day, effective_cost_usd=fee, commitment_id="c",
                            burndown_units=units, quantity=values.pop("quantity", 100), **values)  # fmt: skip

    def unused(self, warehouse: Warehouse, units: str, fee: str, token_type: str, day: date = DAY) -> None:
        warehouse.add_spend("0", "commitment-unused", usage_date=day, effective_cost_usd=fee, commitment_id="c",
                            burndown_units=units, workspace_id="", token_type=token_type)  # fmt: skip

    def test_a_day_with_a_part_unused(self, committed: Warehouse) -> None:
        self.used(committed, "4000", "9", "5", token_type="uncached_input_tokens", quantity=4000)
        self.used(committed, "3200.5", "3", "4", token_type="cache_read_input_tokens", quantity=32005)
        self.unused(committed, "7199.5", "9", "uncached_input_tokens")
        found = committed.row(self.QUERY, period="day")
        found.pop("tenant_id")
        assert found == {
            "tenant": "acme", "commitment_id": "c", "model": "claude-opus-4-8", "period": "day", "period_start": DAY,
            "direction": "input", "committed_units": 14400, "used_units": Decimal("7200.5"),
            "unused_units": Decimal("7199.5"), "utilisation_ratio": Decimal("0.500035"), "fee_usd": 18,
            "used_fee_usd": 9, "unused_fee_usd": 9, "tokens": 36005,
            "effective_usd_per_million_tokens": Decimal("499.930565199278"), "reconstructed_usd": 12,
        }  # fmt: skip

    def test_more_burned_than_committed(self, committed: Warehouse) -> None:
        self.used(committed, "4320", "9", "12")
        self.unused(committed, "0", "0", "output_tokens")
        found = committed.row(self.QUERY, period="day")
        assert (found["direction"], found["committed_units"], found["used_units"]) == ("output", 2880, 4320)
        assert (found["unused_units"], found["utilisation_ratio"]) == (0, Decimal("1.5"))

    def test_the_open_day_counts_its_whole_minutes(self, committed: Warehouse) -> None:
        committed.cover(DAY, "open", data_through=datetime(2026, 11, 10, 11, 55, 59, tzinfo=UTC))
        self.used(committed, "2000", "9", "12")
        assert committed.row(self.QUERY, period="day")["committed_units"] == 2 * 715

    def test_a_day_read_before_five_past_midnight_has_no_minutes(self, committed: Warehouse) -> None:
        committed.cover(DAY, "open", data_through=datetime(2026, 11, 9, 23, 58, tzinfo=UTC))
        self.used(committed, "48286", "9", "12")
        found = committed.row(self.QUERY, period="day")
        assert (found["committed_units"], found["used_units"], found["utilisation_ratio"]) == (0, 48286, None)

    def test_a_provisional_day_counts_the_minutes_of_its_fee(self, committed: Warehouse) -> None:
        committed.cover(DAY, "provisional", data_through=datetime(2026, 11, 10, 23, 58, tzinfo=UTC))
        self.used(committed, "4314", "9", "12")
        found = committed.row(self.QUERY, period="day")
        assert (found["committed_units"], found["utilisation_ratio"]) == (2 * 1438, Decimal("1.5"))
        month = committed.row(self.QUERY, period="month")
        assert (month["committed_units"], month["utilisation_ratio"]) == (2 * 1438, Decimal("1.5"))

    def test_nobody_used_it(self, committed: Warehouse) -> None:
        self.unused(committed, "2880", "6", "output_tokens")
        found = committed.row(self.QUERY, period="day")
        assert (found["utilisation_ratio"], found["tokens"], found["fee_usd"]) == (0, 0, 6)
        assert found["effective_usd_per_million_tokens"] is None

    def test_a_month_is_its_days(self, committed: Warehouse) -> None:
        self.used(committed, "2160", "9", "4.5", quantity=2000)
        self.unused(committed, "720", "1.5", "output_tokens")
        later = DAY + timedelta(days=1)
        self.used(committed, "3600", "9", "6", later, quantity=3000)
        found = committed.row(self.QUERY, period="month")
        assert (found["period_start"], found["committed_units"], found["used_units"]) == (date(2026, 11, 1), 5760, 5760)
        assert (found["fee_usd"], found["unused_fee_usd"], found["tokens"]) == (12, Decimal("1.5"), 5000)
        assert found["effective_usd_per_million_tokens"] == 2400

    def test_a_corrected_commitment_counts_once(self, committed: Warehouse) -> None:
        committed.connection.exec_driver_sql("update stax.commitments set superseded_at = now(), recorded_at = now() - "
                                             "interval '1 day'")  # fmt: skip
        committed.add("commitments", commitment_id="c", model="claude-opus-4-8", output_tokens_per_minute=3)
        self.used(committed, "9999", "9", "12")
        found = committed.row(self.QUERY, period="day")
        assert (found["committed_units"], found["fee_usd"]) == (4320, 12)
