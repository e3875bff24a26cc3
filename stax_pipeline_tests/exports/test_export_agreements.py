"""Exports under rates and a commitment as the product itself builds them, and spend as of a past instant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stax_pipeline.checks.conservation import FOCUS_TIES_TO_SPEND
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.extraction import Window
from stax_pipeline.exports.contents import Dataset, Wanted, columns_of, rows_as_of
from stax_pipeline.exports.files import Format, write_file
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.contract_rates import ContractRate
from stax_pipeline.warehouse.agreements import record_commitments, record_rates
from stax_pipeline.warehouse.tenants import get_tenant
from stax_pipeline_tests.conftest import NOON, Installation
from stax_pipeline_tests.exports.focus_support import export, linted, rows
from stax_pipeline_tests.pipeline.support import DAYS, FIRST, execute, query, sync, two_tenants

MONTH = Window(date(2026, 11, 1), date(2026, 12, 1))
FEE = Commitment("acme-1", "claude-opus-4-8", 100_000, 20_000, Decimal("3000"), FIRST, FIRST + timedelta(29))
RATES = [
    ContractRate("claude-opus-5", "*", "output_tokens", FIRST, None, None, Decimal("17.5")),
    ContractRate("claude-opus-5", "*", "uncached_input_tokens", FIRST, None, Decimal("0.125"), None),
    ContractRate("claude-opus-5-5", "*", "*", FIRST, None, Decimal("0.1"), None),
]


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        with installation.engine.begin() as connection:
            tenant = get_tenant(connection, "acme").tenant_id
            record_rates(connection, tenant, RATES)
            record_commitments(connection, tenant, [FEE])
        sync(installation)
        execute(
            installation,
            "update stax.spend set list_cost_usd = null, list_unit_price_usd = null where ctid in (select ctid "
            "from stax.spend where speed = 'standard' and contracted_unit_price_usd is not null limit 5)",
        )
        yield installation


@pytest.mark.parametrize("form", Format)
def test_the_linter_passes(made: Installation, tmp_path: Path, form: Format) -> None:
    target = tmp_path / f"focus.{form}"
    export(made, Wanted(Dataset.FOCUS, None, MONTH), target, form)
    ended = linted(target)
    assert ended.returncode == 0, ended.stdout


def test_everything_ties(made: Installation) -> None:
    with made.engine.connect() as connection:
        assert run_rule(connection, FOCUS_TIES_TO_SPEND, DAYS, NOON, made.settings).rows == []
    found = rows(made, Wanted(Dataset.FOCUS, None, MONTH))
    of_fee = [row for row in found if row["CommitmentDiscountId"] == FEE.commitment_id]
    assert sum(row["BilledCost"] for row in of_fee) == sum(row["EffectiveCost"] for row in of_fee) > 0
    assert {row["CommitmentDiscountStatus"] for row in of_fee} == {"Used", "Unused", None}
    fast = [row for row in found if row["x_Model"] == "claude-opus-5" and (row["SkuPriceDetails"] or {}).get("x_Speed")
            == "fast" and row["x_Tenant"] == "acme"]  # fmt: skip
    assert {row["ContractedUnitPrice"] for row in fast if row["x_TokenType"] == "output_tokens"} == {Decimal("17.5")}
    assert all(row["ContractedCost"] < row["ListCost"] for row in fast if row["x_TokenType"] == "uncached_input_tokens")
    unlisted = {(row.tenant_id, row.usage_date, row.line) for row in query(
        made, "select tenant_id, usage_date, line from stax.spend "
        "where list_cost_usd is null and contracted_cost_usd is not null")}  # fmt: skip
    assert len(unlisted) == 5
    for row in found:
        if (row["x_TenantId"], row["x_UsageDate"], row["x_SpendLine"]) in unlisted:
            assert row["ListCost"] == row["ContractedCost"]
        for cost, price in (("ListCost", "ListUnitPrice"), ("ContractedCost", "ContractedUnitPrice")):
            if row[price] is None:
                assert row["PricingQuantity"] is None
                continue
            assert abs(row[cost] - row[price] * row["PricingQuantity"]) < Decimal("1e-18")


class TestAsOf:
    def as_of(self, made: Installation, instant: datetime, window: Window | None = MONTH) -> list[dict[str, Any]]:
        wanted = Wanted(Dataset.SPEND, None, window)
        with made.engine.connect() as connection:
            names = [column.name for column in columns_of(connection, wanted)]
            found = rows_as_of(connection, made.lake, wanted, instant, made.settings)
            return [dict(zip(names, row, strict=True)) for row in found]

    def test_now_it_is_what_spend_holds(self, made: Installation) -> None:
        [[now]] = query(made, "select clock_timestamp()")
        stored = rows(made, Wanted(Dataset.SPEND, None, MONTH))
        unknown = ("cost_extraction_id", "usage_extraction_id", "loaded_at")
        altered = ("list_cost_usd", "list_unit_price_usd")
        shown = self.as_of(made, now, None)
        assert shown == self.as_of(made, now)
        assert {row[name] for row in shown for name in unknown} == {None}

        def plain(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
            kept = [{name: row[name] for name in row if name not in (*unknown, *altered)} for row in found]
            return sorted(kept, key=lambda row: (row["tenant"], row["usage_date"], row["line"]))

        assert plain(shown) == plain(stored)

    @pytest.mark.parametrize("form", Format)
    def test_it_can_be_written(self, made: Installation, tmp_path: Path, form: Format) -> None:
        [[now]] = query(made, "select clock_timestamp()")
        wanted = Wanted(Dataset.SPEND, None, MONTH)
        with made.engine.connect() as connection:
            found = rows_as_of(connection, made.lake, wanted, now, made.settings)
            count = write_file(tmp_path / "f", form, columns_of(connection, wanted), found)
        assert query(made, "select count(*) as n from stax.spend")[0].n == count
        assert b"commitment-unused" in (tmp_path / "f").read_bytes()

    def test_before_anything_was_fetched_there_was_nothing(self, made: Installation) -> None:
        with pytest.raises(WrongUse, match="Nothing was shown by 2020-01-01 00:00 UTC: the first figures are of "):
            self.as_of(made, datetime.fromisoformat("2020-01-01T00:00Z"))
