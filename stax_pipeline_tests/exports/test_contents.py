"""Exports of demo data: FOCUS passes the linter in both formats, breaking a rule fails it, and every sum ties."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stax_pipeline.checks.conservation import FOCUS_TIES_TO_SPEND
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.extraction import Window
from stax_pipeline.exports.contents import Dataset, Wanted, columns_of
from stax_pipeline.exports.files import Format, write_file
from stax_pipeline.exports.mixed_speed import FocusRow, sku_price_details, sku_price_id
from stax_pipeline.warehouse.tenants import get_tenant
from stax_pipeline_tests.conftest import NOON, Installation
from stax_pipeline_tests.exports.focus_support import (
    COMMITMENT,
    FOCUS_COLUMNS,
    MONTH,
    OWN_COLUMNS,
    UNITED,
    every_kind_of_line,
    export,
    linted,
    rows,
)
from stax_pipeline_tests.pipeline.support import DAYS, FIRST, LAST, query

MONEY = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "PricingCurrencyEffectiveCost")


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with every_kind_of_line(stax_home) as installation:
        yield installation


@pytest.fixture(scope="module")
def focus(made: Installation) -> list[FocusRow]:
    return rows(made, Wanted(Dataset.FOCUS, None, MONTH))


@pytest.fixture(scope="module")
def view(made: Installation) -> list[FocusRow]:
    return [dict(row._mapping) for row in query(made, "select * from stax.focus_cost_and_usage")]


@pytest.fixture(scope="module")
def files(made: Installation, tmp_path_factory: pytest.TempPathFactory) -> dict[Format, Path]:
    folder = tmp_path_factory.mktemp("focus")
    found = {form: folder / f"focus.{form}" for form in Format}
    for form, target in found.items():
        export(made, Wanted(Dataset.FOCUS, None, MONTH), target, form)
    return found


class TestLinter:
    @pytest.mark.parametrize("form", Format)
    def test_both_formats_pass(self, files: dict[Format, Path], form: Format) -> None:
        ended = linted(files[form])
        assert ended.returncode == 0, ended.stdout
        assert "SEMANTIC_VALID" in ended.stdout

    def test_rows_that_have_a_price_pass_the_rules_for_unit_pricing(
        self, files: dict[Format, Path], tmp_path: Path
    ) -> None:
        content = priced(files[Format.CSV])
        assert len(content) > 1000
        ended = linted(write(content, tmp_path), *UNITED)
        assert ended.returncode == 0, ended.stdout

    def test_so_does_the_view_but_for_the_price_of_mixed_lines(
        self, made: Installation, view: list[FocusRow], tmp_path: Path
    ) -> None:
        with made.engine.connect() as connection:
            columns = columns_of(connection, Wanted(Dataset.FOCUS))
        write_file(tmp_path / "view.csv", Format.CSV, columns, [list(row.values()) for row in view])
        assert linted(tmp_path / "view.csv").returncode == 0

    @pytest.mark.parametrize(
        ("rule", "column", "broken"),
        [
            ("bad_currency", "BillingCurrency", lambda _: "USX"),
            ("cost_not_unit_price_times_quantity", "ListCost", lambda cost: str(Decimal(cost) + 1)),
            ("not_in_allowed_values", "ChargeCategory", lambda _: "Use"),
            ("null_not_allowed", "BilledCost", lambda _: ""),
            ("required_for_usage_or_purchase", "SkuPriceId", lambda _: ""),
            ("bad_datetime", "ChargePeriodStart", lambda moment: moment.replace("Z", "+00:00")),
        ],
    )
    def test_a_broken_row_fails(
        self, files: dict[Format, Path], tmp_path: Path, rule: str, column: str, broken: Callable[[str], str]
    ) -> None:
        content = priced(files[Format.CSV])
        row = next(row for row in content if row["PricingUnit"] == "1000000 Tokens")
        row[column] = broken(row[column])
        ended = linted(write(content, tmp_path), *UNITED)
        assert ended.returncode == 1
        assert f":{rule}] {column}" in ended.stdout


def priced(file: Path) -> list[dict[str, str]]:
    """The rows that tell a unit price."""
    with file.open(newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["SkuPriceId"]]


def write(content: list[dict[str, str]], folder: Path) -> Path:
    target = folder / "rows.csv"
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, content[0])
        writer.writeheader()
        writer.writerows(content)
    return target


def test_the_data_has_every_kind_of_line(focus: list[FocusRow]) -> None:
    assert {row["x_CostSource"] for row in focus} == {
        "reported", "priority-reconstructed", "unbilled", "usage-estimated", "unpriced", "commitment-unused",
        "commitment-fee",
    }  # fmt: skip
    assert {row["ChargeCategory"] for row in focus} == {"Usage", "Purchase", "Credit"}
    assert {row["SkuId"] for row in focus} >= {"web-search", "code-execution", "session-usage", "priority-tier"}
    assert {(row["SkuPriceDetails"] or {}).get("x_Speed") for row in focus} >= {"fast", "standard"}


def test_columns_are_in_the_order_of_the_specification_and_own_ones_last(made: Installation) -> None:
    with made.engine.connect() as connection:
        names = [column.name for column in columns_of(connection, Wanted(Dataset.FOCUS))]
    assert names == [*FOCUS_COLUMNS, *OWN_COLUMNS]
    assert sorted(FOCUS_COLUMNS) == FOCUS_COLUMNS


class TestSums:
    @pytest.mark.parametrize("slug", ["acme", "globex"])
    def test_they_are_those_of_spend(self, made: Installation, focus: list[FocusRow], slug: str) -> None:
        [(billed, effective)] = query(
            made,
            "select sum(cost_usd) filter (where cost_source = 'reported'), sum(effective_cost_usd) from stax.spend "
            "join stax.tenants using (tenant_id) where slug = :slug",
            slug=slug,
        )
        used = [row for row in focus if row["x_Tenant"] == slug and row["ChargeCategory"] != "Purchase"]
        assert sum(row["BilledCost"] for row in used) == billed
        assert sum(row["EffectiveCost"] for row in used) == effective

    def test_both_bases_agree_on_a_commitment(self, focus: list[FocusRow]) -> None:
        lines = [row for row in focus if row["CommitmentDiscountId"] == COMMITMENT.commitment_id]
        [fee] = [row for row in lines if row["ChargeCategory"] == "Purchase"]
        days = [COMMITMENT.fee_of(day, 715 if day == NOON.date() else 1440) for day in DAYS.days if day in COMMITMENT]
        assert fee["BilledCost"] == fee["ListCost"] == fee["ContractedCost"] == sum(days)
        assert fee["EffectiveCost"] == 0
        assert sum(row["BilledCost"] for row in lines) == sum(row["EffectiveCost"] for row in lines)
        used = [row for row in lines if row is not fee]
        assert sum(row["CommitmentDiscountQuantity"] for row in used) == fee["CommitmentDiscountQuantity"]
        assert {row["CommitmentDiscountStatus"] for row in used} == {"Used", "Unused"}
        assert (fee["ChargePeriodStart"].day, fee["ChargePeriodEnd"].month, fee["ChargeFrequency"]) == (
            20, 12, "Recurring",
        )  # fmt: skip

    def test_costs_are_price_times_quantity(self, focus: list[FocusRow]) -> None:
        known = [row for row in focus if row["PricingQuantity"] is not None]
        assert len(known) > len(focus) / 2
        for row in known:
            for cost, price in (("ListCost", "ListUnitPrice"), ("ContractedCost", "ContractedUnitPrice")):
                assert abs(row[cost] - row[price] * row["PricingQuantity"]) < Decimal("1e-18")

    def test_the_rule_agrees(self, made: Installation) -> None:
        with made.engine.connect() as connection:
            assert run_rule(connection, FOCUS_TIES_TO_SPEND, DAYS, NOON, made.settings).rows == []


def test_the_export_is_the_view_but_for_lines_split_by_speed(focus: list[FocusRow], view: list[FocusRow]) -> None:
    def key(row: FocusRow) -> tuple[Any, ...]:
        return row["x_TenantId"], row["x_UsageDate"], row["x_SpendLine"], row["CommitmentDiscountId"]

    exported: dict[tuple[Any, ...], list[FocusRow]] = {}
    for row in focus:
        exported.setdefault(key(row), []).append(row)
    assert exported.keys() == {key(row) for row in view}
    divided = 0
    for row in view:
        parts = exported[key(row)]
        if row["PricingQuantity"] is not None and row["SkuPriceId"] is None:
            divided += 1
            assert len(parts) == 2
            assert {part["SkuPriceDetails"]["x_Speed"] for part in parts} == {"standard", "fast"}
            for name in (*MONEY, "ConsumedQuantity", "PricingQuantity"):
                assert sum(part[name] for part in parts) == row[name]
        else:
            assert parts == [row]
    assert divided > 0


def test_price_ids_are_put_together_alike_in_the_view_and_in_a_split(made: Installation) -> None:
    found = query(
        made,
        'select f."SkuId", f."SkuPriceId", f."SkuPriceDetails", s.* from stax.focus_cost_and_usage f '
        'join stax.spend s on s.tenant_id = f."x_TenantId" and s.usage_date = f."x_UsageDate" '
        'and s.line = f."x_SpendLine" where f."PricingUnit" = \'1000000 Tokens\' and f."SkuPriceId" is not null',
    )
    assert found
    for row in found:
        line = UsageLine(
            row.usage_date, row.workspace_id, row.model, row.service_tier, row.context_window, row.inference_geo,
            row.speed, 0, 0, 0, 0, 0, 0, "{}",
        )  # fmt: skip
        assert row.SkuPriceId == sku_price_id(row.SkuId, line, row.token_type)
        assert row.SkuPriceDetails == sku_price_details(line, row.token_type)


class TestMapping:
    def test_where_no_quantity_or_price_is_known_none_is_made_up(self, focus: list[FocusRow]) -> None:
        unknown = ("SkuPriceId", "PricingQuantity", "PricingUnit", "ListUnitPrice", "ContractedUnitPrice")
        hours = [row for row in focus if row["SkuId"] == "code-execution"]
        assert hours
        for row in hours:
            assert row["ListCost"] == row["ContractedCost"] == row["BilledCost"] > 0
            assert {row[name] for name in (*unknown, "ConsumedQuantity")} == {None}
        unpriced = [row for row in focus if row["x_CostSource"] == "unpriced"]
        assert len(unpriced) == 3
        for row in unpriced:
            assert row["ConsumedQuantity"] > 0
            assert {row[name] for name in unknown} == {None}
            assert (row["BilledCost"], row["EffectiveCost"], row["ListCost"], row["x_IsEstimated"]) == (0, 0, 0, True)

    def test_a_credit_has_no_price(self, focus: list[FocusRow]) -> None:
        [credit] = [row for row in focus if row["ChargeCategory"] == "Credit"]
        assert {credit[name] for name in MONEY} == {Decimal("-12.34")}
        empty = ("SkuPriceId", "PricingQuantity", "PricingUnit", "ListUnitPrice", "ConsumedQuantity", "PricingCategory")
        assert {credit[name] for name in empty} == {None}

    def test_priority_is_committed_with_or_without_a_recorded_commitment(self, focus: list[FocusRow]) -> None:
        priority = [row for row in focus if row["x_ServiceTier"] == "priority" and row["ChargeCategory"] == "Usage"]
        assert {row["PricingCategory"] for row in priority} == {"Committed"}
        assert {row["CommitmentDiscountId"] for row in priority} == {None, COMMITMENT.commitment_id}
        discount = [name for name in FOCUS_COLUMNS if name.startswith("CommitmentDiscount")]
        for row in priority:
            assert len({row[name] is None for name in discount}) == 1
        assert all(row["BilledCost"] == 0 and row["x_IsEstimated"] for row in priority
                   if row["x_CostSource"] == "priority-reconstructed")  # fmt: skip

    def test_the_default_workspace_has_its_real_id(self, made: Installation, focus: list[FocusRow]) -> None:
        real = {row.anthropic_id for row in query(made, "select anthropic_id from stax.workspaces where is_default")}
        assert real <= {row["SubAccountId"] for row in focus}
        assert "default" not in {row["SubAccountId"] for row in focus}


class TestFiles:
    def test_both_formats_hold_the_same(self, files: dict[Format, Path], focus: list[FocusRow]) -> None:
        table = pq.read_table(files[Format.PARQUET]).to_pylist()
        with files[Format.CSV].open(newline="") as file:
            content = list(csv.DictReader(file))
        assert len(table) == len(content) == len(focus)
        for exact, text, row in zip(table, content, focus, strict=True):
            for name in MONEY:
                assert exact[name] == Decimal(text[name]) == row[name]
                assert "." in text[name]
            assert exact["ChargePeriodStart"] == row["ChargePeriodStart"]
            assert text["ChargePeriodStart"] == f"{row['ChargePeriodStart']:%Y-%m-%dT%H:%M:%SZ}"

    def test_no_cell_is_a_formula(self, files: dict[Format, Path]) -> None:
        with files[Format.CSV].open(newline="") as file:
            content = list(csv.DictReader(file))
        assert "'=1+1" in {row["SubAccountName"] for row in content}
        assert "'=Goodwill credit" in {row["ChargeDescription"] for row in content}
        assert "=1+1" in pq.read_table(files[Format.PARQUET])["SubAccountName"].to_pylist()

    @pytest.mark.parametrize("dataset", [Dataset.SPEND, Dataset.USAGE])
    @pytest.mark.parametrize("form", Format)
    def test_spend_and_usage_are_whole(
        self, made: Installation, tmp_path: Path, dataset: Dataset, form: Format
    ) -> None:
        source = "spend" if dataset is Dataset.SPEND else "usage_tokens"
        columns = set(query(made, f"select * from stax.{source} limit 1")[0]._fields)
        [[stored]] = query(made, f"select count(*) from stax.{source}")
        target = tmp_path / f"{dataset}.{form}"
        assert export(made, Wanted(dataset), target, form) == stored
        if form is Format.CSV:
            with target.open(newline="") as file:
                names = next(csv.reader(file))
        else:
            names = pq.read_schema(target).names
        assert set(names) == columns | {"tenant"} | ({"workspace_name"} if dataset is Dataset.SPEND else set())

    def test_one_tenant_and_one_month(self, made: Installation) -> None:
        with made.engine.connect() as connection:
            globex = get_tenant(connection, "globex")
        for dataset, name in ((Dataset.FOCUS, "x_Tenant"), (Dataset.SPEND, "tenant"), (Dataset.USAGE, "tenant")):
            assert {row[name] for row in rows(made, Wanted(dataset, globex, MONTH))} == {"globex"}
            with pytest.raises(WrongUse, match=rf"no {dataset} of tenant globex in 2026-10\. Days held: {FIRST} to"):
                rows(made, Wanted(dataset, globex, Window(date(2026, 10, 1), date(2026, 11, 1))))

    def test_days_before_the_commitment_have_no_fee(self, made: Installation) -> None:
        """The term runs on into months that hold no lines: no fee row there either."""
        for month in (Window(date(2026, 12, 1), date(2027, 1, 1)), Window(date(2027, 1, 1), date(2027, 2, 1))):
            with pytest.raises(WrongUse, match="There is no focus"):
                rows(made, Wanted(Dataset.FOCUS, None, month))
        assert LAST in MONTH
