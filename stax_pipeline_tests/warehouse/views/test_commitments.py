"""What was used of recorded commitments, against rows made by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from stax_pipeline_tests.warehouse.views.conftest import DAY, Warehouse

OCTOBER = date(2026, 10, 1)


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
            "effective_usd_per_million_tokens": Decimal("499.930565199278"), "priority_reconstructed_usd": 12,
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
