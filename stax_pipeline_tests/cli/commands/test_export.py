"""`stax export` as a person uses it: files, standard output, and one clear line for every mistake."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from click import BadParameter

from stax_pipeline.cli.commands.export import as_of_instant, month_window
from stax_pipeline_tests.cli.support import Stax

TENANT = "8f2d3a52-1c6b-4a53-9f0e-0c7a53b6b001"
DATA = f"""
insert into stax.tenants (tenant_id, slug, name, organization_id, status, created_at)
values ('{TENANT}', 'acme', 'Acme', 'org-1', 'connected', now());
insert into stax.extractions (extraction_id, tenant_id, report, window_start, window_end, extracted_at, pages, rows,
    sha256, run_id)
values ('{TENANT}', '{TENANT}', 'usage_report', '2026-10-31', '2026-11-01', now(), 1, 1, '', '');
insert into stax.coverage (tenant_id, report, usage_date, extraction_id, extracted_at, data_through,
    old_enough_to_settle, state, rows)
values ('{TENANT}', 'usage_report', '2026-10-31', '{TENANT}', now(), now(), true, 'complete', 1);
insert into stax.spend (usage_date, tenant_id, line, workspace_id, model, cost_type, token_type, service_tier,
    context_window, inference_geo, speed, description, quantity, unit, cost_source, cost_usd, effective_cost_usd,
    list_cost_usd, contracted_cost_usd, list_unit_price_usd, contracted_unit_price_usd, pricing_quantity, pricing_unit,
    price_source, price_book_version, commitment_id, cost_line_count)
values ('2026-10-31', '{TENANT}', 1, 'default', 'claude-opus-5-5', 'tokens', 'output_tokens', 'standard', '0-200k',
    'global', 'standard', '', 4000000, 'tokens', 'reported', 100, 100, 100, 100, 25, 25, 4, '1M tokens', '', '', '', 1);
"""


@pytest.fixture
def held(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(DATA)


@pytest.mark.usefixtures("held")
class TestFiles:
    def test_a_file_is_written_in_the_format_of_its_name(self, stax: Stax, tmp_path: Path) -> None:
        for name in ("focus.parquet", "focus.csv"):
            ended = stax("export", "focus", "--tenant", "acme", "--month", "2026-10", "--out", str(tmp_path / name))
            assert (ended.code, ended.out) == (0, "")
            warning, written = ended.err.splitlines()
            assert "1 day of acme not built from what is in force now" in warning  # it was put there by hand
            assert warning.endswith("stax replay --from 2026-10-31 --to 2026-10-31")
            assert written == f"1 row of focus written to {tmp_path / name}."
        [row] = pq.read_table(tmp_path / "focus.parquet").to_pylist()
        assert (row["ListCost"], row["PricingQuantity"], row["ListUnitPrice"]) == (100, 4, 25)
        with (tmp_path / "focus.csv").open(newline="") as file:
            [text] = csv.DictReader(file)
        assert (text["ListCost"], text["PricingQuantity"], text["SkuMeter"]) == ("100.0", "4.0", "Output Tokens")

    @pytest.mark.parametrize("options", [(), ("--out", "-"), ("--format", "csv")])
    def test_without_a_file_csv_goes_to_standard_output(self, stax: Stax, options: tuple[str, ...]) -> None:
        ended = stax("export", "spend", *options)
        assert ended.code == 0
        [row] = csv.DictReader(io.StringIO(ended.out))
        assert (row["tenant"], row["cost_usd"], row["quantity"]) == ("acme", "100.0", "4000000")

    def test_an_existing_file_is_replaced(self, stax: Stax, tmp_path: Path) -> None:
        target = tmp_path / "spend.csv"
        target.write_text("old")
        assert stax("export", "spend", "--out", str(target)).code == 0
        assert target.read_text().startswith("usage_date,tenant,")


HOSTILE = "a;=cmd()\n\uff1d1\r@x\t+1\x1b[2J"
SAFE = "a;'=cmd()\n'\uff1d1\r'@x\t'+1\x1b[2J"


class TestNamesFromOutside:
    @pytest.fixture(autouse=True)
    def hostile(self, engine: sa.Engine, held: None) -> None:
        with engine.begin() as connection:
            for query in (
                "insert into stax.workspaces (tenant_id, workspace_id, anthropic_id, name, is_default, last_seen_at) "
                "values (:tenant, 'wrkspc_1', 'wrkspc_1', :name, false, now())",
                "update stax.spend set workspace_id = 'wrkspc_1', description = :name",
                "insert into stax.usage_lines (usage_date, tenant_id, line, workspace_id, model, service_tier, "
                "context_window, inference_geo, speed, uncached_input_tokens, cache_read_input_tokens, "
                "cache_creation_5m_input_tokens, cache_creation_1h_input_tokens, output_tokens, web_search_requests, "
                "extraction_id) values ('2026-10-31', :tenant, 1, 'wrkspc_1', :name, 'standard', '0-200k', 'global', "
                "'standard', 0, 0, 0, 0, 1, 0, :tenant)",
            ):
                names = {"tenant": TENANT, "name": HOSTILE}
                connection.execute(sa.text(query), {name: names[name] for name in names if f":{name}" in query})

    @pytest.mark.parametrize(
        ("dataset", "column"), [("spend", "workspace_name"), ("focus", "SubAccountName"), ("usage", "model")]
    )
    def test_none_is_a_formula_in_an_export_whichever_separator_is_taken(
        self, stax: Stax, dataset: str, column: str, tmp_path: Path
    ) -> None:
        assert stax("export", dataset, "--out", str(tmp_path / "f.csv")).code == 0
        with (tmp_path / "f.csv").open(newline="") as file:
            assert {row[column] for row in csv.DictReader(file, strict=True)} == {SAFE}
        printed = list(csv.DictReader(io.StringIO(stax("export", dataset).out, newline=""), strict=True))
        assert {row[column] for row in printed} == {SAFE}

    def test_nor_in_what_a_query_gives(self, stax: Stax) -> None:
        ended = stax("sql", 'select name as ";=1" from stax.workspaces', "--format", "csv")
        assert list(csv.reader(io.StringIO(ended.out, newline=""), strict=True)) == [[";'=1"], [SAFE]]


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bills",), "'bills' is not one of 'focus', 'spend', 'usage'"),
        (("spend", "--tenant", "globex"), "There is no tenant globex."),
        (("spend", "--as-of", "2999-01-01"), "2999-01-01 is not over yet"),
        (("spend", "--month", "2026-13"), "'2026-13' is not a month like 2026-10."),
        (("spend", "--month", "october"), "'october' is not a month like 2026-10."),
        (("spend", "--month", "2026-09"), "There is no spend in 2026-09. Days held: 2026-10-31 to 2026-10-31 (UTC)."),
        (("focus", "--month", "2026-09", "--tenant", "acme"), "There is no focus of tenant acme in 2026-09."),
        (("usage",), "There is no usage."),
        (("spend", "--out", "/nowhere/f.csv"), "there is no folder /nowhere."),
        (("spend", "--out", "/tmp", "--format", "csv"), "--out /tmp is a folder"),
        (("spend", "--out", "spend.xlsx"), "end the name in .parquet or .csv, or give --format."),
        (("spend", "--format", "parquet"), "Parquet needs --out FILE"),
        (("focus", "--as-of", "2026-11-01"), "--as-of is for spend"),
        (("spend", "--as-of", "yesterday"), "'yesterday' is neither a day like 2026-11-20"),
        (("spend", "--as-of", "2026-11-20T12:00"), "nor an instant like 2026-11-20T12:00Z"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_writes_nothing(stax: Stax, arguments: tuple[str, ...], words: str) -> None:
    ended = stax("export", *arguments)
    assert ended.code == 2
    assert words in ended.err.strip().splitlines()[-1]
    assert ended.out == ""
    assert "Traceback" not in ended.err


@pytest.mark.usefixtures("settings")
def test_an_empty_warehouse_says_what_to_do(stax: Stax) -> None:
    ended = stax("export", "focus")
    assert (ended.code, ended.out) == (2, "")
    assert "No day is held; `stax sync` fetches some." in ended.err


def test_months_and_instants() -> None:
    assert (month_window("2026-12").start, month_window("2026-12").end) == (date(2026, 12, 1), date(2027, 1, 1))
    assert as_of_instant("2026-11-20") == datetime(2026, 11, 21, tzinfo=UTC)
    assert as_of_instant("2026-11-20T12:00+02:00") == datetime(2026, 11, 20, 10, tzinfo=UTC)
    for text in ("2026-1", "2026-00", "0000-01", "٢٠٢٦-10", "2026-10-01"):
        with pytest.raises(BadParameter):
            month_window(text)
