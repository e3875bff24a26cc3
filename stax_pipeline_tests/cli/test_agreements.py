"""`prices import` and `check`, `rates`, `commitments` and `invoice` as a person uses them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.installation.settings import Settings
from stax_pipeline.pricing.prices import shipped_prices
from stax_pipeline.warehouse.tenants import add_tenant
from stax_pipeline_tests.cli.support import Stax
from stax_pipeline_tests.tenants.support import count
from stax_pipeline_tests.warehouse.spend_totals import add_up
from stax_pipeline_tests.warehouse.views.conftest import Warehouse

EXAMPLES = CHECKOUT / "docs" / "examples"
FIRST = date(2026, 10, 1)


@pytest.fixture(autouse=True)
def begun_long_ago(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the day of the test, the months in it do not begin before the installation."""
    monkeypatch.setenv("STAX_START_DATE", "2025-08-18")


@pytest.fixture
def acme(engine: sa.Engine) -> Tenant:
    tenant = Tenant(uuid4(), "acme", "Acme", "org-acme", "connected", datetime.now(UTC), None)
    with engine.begin() as connection:
        add_tenant(connection, tenant)
    return tenant


@pytest.mark.usefixtures("acme")
def test_what_was_imported_is_shown(stax: Stax, engine: sa.Engine) -> None:
    assert "No contract rates" in stax("rates").out
    assert "No commitments" in stax("commitments").out
    for name in ("prices", "rates", "commitments"):
        ended = stax(name, "import", str(EXAMPLES / f"{name}.csv"))
        assert (ended.code, "0 replaced" in ended.out, "`stax replay`" in ended.err) == (0, True, True)
        again = stax(name, "import", "-", typed=(EXAMPLES / f"{name}.csv").read_text())
        assert (again.code, "0 added" in again.out, "replay" in again.err) == (0, True, False)
    assert "claude-opus-6" in stax("prices", "--model", "opus-6").out
    assert "12.5 %" in stax("rates").out
    assert "acme-2026-h2" in stax("commitments").out
    assert count(engine, "list_prices", "imported") == 5


@pytest.mark.usefixtures("acme")
def test_a_replacement_is_told_old_and_new(stax: Stax, tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("model,effective_from,token_type,usd_per_unit\nclaude-opus-5,2026-07-24,output_tokens,24\n")
    ended = stax("prices", "import", str(file))
    assert "usd_per_unit 25 → 24" in ended.out
    assert "0 added, 1 replaced, 0 left" in ended.out


@pytest.mark.parametrize("command", ["prices", "rates", "commitments"])
@pytest.mark.usefixtures("acme")
def test_a_file_that_is_refused_is_one_line_and_exit_code_2(
    stax: Stax, engine: sa.Engine, tmp_path: Path, command: str
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("tenant,colour\nacme,red\n")
    for file in (str(bad), str(tmp_path), str(tmp_path / "none.csv"), "a\0b", ""):
        ended = stax(command, "import", file)
        assert (ended.code, ended.out) == (2, "")
        assert len(ended.err.strip().splitlines()) == 1
        assert ended.err.rstrip().endswith("Nothing was changed.")
        assert "Traceback" not in ended.err
    assert [count(engine, table) for table in ("list_prices", "contract_rates", "commitments")] == [0, 0, 0]


@pytest.mark.usefixtures("acme")
def test_a_wrong_row_is_withdrawn_and_what_follows_is_said(stax: Stax) -> None:
    for name in ("prices", "rates", "commitments"):
        assert stax(name, "import", str(EXAMPLES / f"{name}.csv")).code == 0
    for arguments in (
        ("rates", "withdraw", "acme", "claude-opus-*", "priority", "*", "2026-10-01"),
        ("commitments", "withdraw", "acme-2026-h2"),
        ("prices", "withdraw", "claude-opus-6", "2026-11-20", "--token-type", "output_tokens"),
    ):
        ended = stax(*arguments)
        assert (ended.code, ended.out.startswith("withdrawn ("), "`stax replay`" in ended.err) == (0, True, True)
        assert len(ended.out.splitlines()) == 1
        unknown = stax(*arguments)
        assert (unknown.code, unknown.out, len(unknown.err.strip().splitlines())) == (2, "", 1)
        assert "Nothing was changed" in unknown.err
    assert "claude-opus-*" not in stax("rates").out
    assert "No commitments" in stax("commitments").out
    assert stax("prices", "withdraw", "claude-opus-6", "2026-02-30").code == 2


def price_accuracy(engine: sa.Engine, tenant: Tenant, discount: str) -> None:
    with engine.begin() as connection:
        for day in range(6):
            connection.execute(
                sa.text(
                    "insert into stax.reconciliation (usage_date, tenant_id, model, service_tier, priced_usd, "
                    "priced_low_usd, priced_high_usd, list_priced_usd, reported_usd, ratio, cause) values "
                    "(:day, :tenant, 'claude-opus-5-5', 'standard', 100, 100, 100, 100, :reported, null, '')"
                ),
                {"day": FIRST + timedelta(days=day), "tenant": tenant.tenant_id,
                 "reported": 100 * (1 - Decimal(discount))},
            )  # fmt: skip


def test_what_is_suggested_can_be_imported_and_is_not_suggested_again(
    stax: Stax, engine: sa.Engine, acme: Tenant, tmp_path: Path
) -> None:
    assert "No steady discount" in stax("rates", "suggest").err
    price_accuracy(engine, acme, "0.1")
    ended = stax("rates", "suggest", "acme")
    assert ended.out.splitlines()[1:] == ["acme,claude-*,*,*,2026-10-01,,0.1,"]
    assert "1.1111" in ended.err
    assert (
        "acme: tier * covers Priority too, which no bill shows. The evidence is 6 days of standard tokens of 1 model; "
        "blocked tokens, the same share of every token type, would look the same." in ended.err
    )
    file = tmp_path / "suggested.csv"
    assert stax("rates", "suggest", "--out", str(file)).code == 0
    assert file.read_text() == ended.out
    refused = stax("rates", "suggest", "--out", str(file))
    assert (refused.code, "File exists" in refused.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["suggested.csv"]
    assert stax("rates", "import", str(file)).code == 0
    assert stax("rates", "suggest").out == ""
    assert stax("rates", "suggest", "nobody").code == 2
    missing = stax("rates", "suggest", "--out", str(tmp_path / "none" / "rates.csv"))
    assert (missing.code, "its folder does not exist" in missing.err) == (2, True)


def test_a_recorded_rate_that_the_bills_contradict_is_named_with_its_evidence(
    stax: Stax, engine: sa.Engine, acme: Tenant
) -> None:
    price_accuracy(engine, acme, "0")
    rates = "tenant,model_pattern,service_tier,token_type,effective_from,discount\n"
    rates += "acme,claude-opus-*,*,*,2026-10-01,0.125\n"
    assert stax("rates", "import", "-", typed=rates).code == 0
    ended = stax("rates", "suggest")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.strip() == (
        "acme: recorded claude-opus-* * from 2026-10-01 12.5 %, billed at list on 6 days (2026-10-01 to 2026-10-06; "
        "claude-opus-5-5; standard; list $ 600.00, reported $ 600.00): withdraw or correct it"
    )


@pytest.mark.usefixtures("settings")
def test_check_tells_where_another_book_differs_and_that_alone_is_no_failure(stax: Stax, tmp_path: Path) -> None:
    price = next(p for p in shipped_prices() if p.model == "claude-opus-5" and p.token_type == "output_tokens")
    file = tmp_path / "own.csv"
    file.write_text(
        f"model,effective_from,token_type,usd_per_unit\n{price.model},{price.effective_from},output_tokens,99\n"
    )
    assert stax("prices", "import", str(file)).code == 0
    ended = stax("prices", "check")
    assert ended.code == 0
    assert [line.split()[-2:] for line in ended.out.splitlines() if line.startswith("claude-opus-5 ")][0] == [
        "99",
        "25",
    ]


@pytest.mark.usefixtures("acme")
def test_an_invoice_is_recorded_once_corrected_and_compared(stax: Stax, engine: sa.Engine) -> None:
    ended = stax("invoice", "acme", "2026-10", "1042.10", "--note", "INV-7")
    assert (ended.code, "acme 2026-10: 1,042.10 USD recorded" in ended.out) == (0, True)
    assert re.search(r"^  invoice +1,042.10 USD$", ended.out, re.MULTILINE)
    assert "1,042.10 USD stands already" in stax("invoice", "acme", "2026-10", "1042.1").out
    assert (
        "1,042.10 → 51,354.03 USD" in stax("invoice", "acme", "2026-10", str(EXAMPLES / "invoice-acme-2026-10.csv")).out
    )
    assert "-12.50 USD recorded" in stax("invoice", "acme", "2026-09", "-12.5").out
    assert count(engine, "invoices") == 3


def test_an_invoice_that_matches_is_not_explained(stax: Stax, engine: sa.Engine, acme: Tenant) -> None:
    with engine.begin() as connection:
        held = Warehouse(connection, acme.tenant_id)
        held.cover(FIRST)
        held.add_spend("1000.001", usage_date=FIRST)
        held.add_spend("90", "priority-reconstructed", usage_date=FIRST, quantity=5)
        add_up(connection)
    shown = stax("invoice", "acme", "2026-10", "1000.00").out
    assert re.search(r"difference +under one cent", shown)
    assert "What could explain" not in shown
    assert "What could explain" in stax("invoice", "acme", "2026-10", "1090").out


def test_only_a_cause_whose_sign_fits_explains_an_invoice(stax: Stax, engine: sa.Engine, acme: Tenant) -> None:
    """Priority dollars, tokens without a bill and missing days raise an invoice. A bill that grew later lowers it."""
    with engine.begin() as connection:
        held = Warehouse(connection, acme.tenant_id)
        for number in range(31):
            held.cover(FIRST + timedelta(days=number))
        held.add_spend("37585.45", usage_date=FIRST)
        held.add_spend("90", "priority-reconstructed", usage_date=FIRST, quantity=2_555_356_398)
        held.add_spend("0", "unbilled", usage_date=FIRST, quantity=1, list_cost_usd="3")
        add_up(connection)
    above = stax("invoice", "acme", "2026-10", "37675.45").out
    assert "What could explain that the invoice is 90.00 USD more than expected, over the whole month" in above
    assert "2,555,356,398 tokens, not in the reported dollars" in above
    assert "1 token, list price of what was never billed" in above
    below = stax("invoice", "acme", "2026-10", "100").out
    assert "37,675.45 → 100.00 USD" in below
    assert "Nothing in the warehouse explains that the invoice is 37,485.45 USD less than expected." in below
    assert "priority-reconstructed" not in below
    assert "unbilled" not in below
    with engine.begin() as connection:
        held = Warehouse(connection, acme.tenant_id)
        held.add("restatements", kind="cost", usage_date=FIRST, old_usd="100", new_usd="37585.4512", model="b")
    grown = stax("invoice", "acme", "2026-10", "100").out
    assert "What could explain that the invoice is 37,485.45 USD less than expected, over the whole month" in grown
    assert re.search(r"restated +-37,485.45  1 change, the last published", grown)
    assert "priority-reconstructed" not in grown
    assert "restated" not in stax("invoice", "acme", "2026-10", "37675.45").out


@pytest.mark.parametrize(
    ("reported", "invoiced", "is_shown"),
    [("8", "10", True), ("8", "6", False), ("12", "10", True), ("12", "14", False)],
)
def test_a_price_difference_explains_an_invoice_at_the_books_price(
    stax: Stax, engine: sa.Engine, acme: Tenant, reported: str, invoiced: str, is_shown: bool
) -> None:
    with engine.begin() as connection:
        held = Warehouse(connection, acme.tenant_id)
        for number in range(31):
            held.cover(FIRST + timedelta(days=number))
        held.add_spend(reported, usage_date=FIRST)
        held.add(
            "reconciliation", usage_date=FIRST, model="off", service_tier="batch", priced_usd="10",
            priced_low_usd="10", priced_high_usd="10", reported_usd=reported, cause="contract discount",
        )  # fmt: skip
        add_up(connection)
    assert ("price difference" in stax("invoice", "acme", "2026-10", invoiced).out) == is_shown


def test_a_day_that_is_not_read_explains_no_invoice_that_is_too_low(
    stax: Stax, engine: sa.Engine, acme: Tenant
) -> None:
    with engine.begin() as connection:
        held = Warehouse(connection, acme.tenant_id)
        for number in range(30):
            held.cover(FIRST + timedelta(days=number))
        held.add_spend("1000", usage_date=FIRST)
        add_up(connection)
    assert "1 day without a complete cost report" in stax("invoice", "acme", "2026-10", "1001").out
    assert "without a complete cost report" not in stax("invoice", "acme", "2026-10", "999").out


def test_notes_speak_of_the_whole_month(stax: Stax, engine: sa.Engine, acme: Tenant) -> None:
    with engine.begin() as connection:
        held = Warehouse(connection, acme.tenant_id)
        for number, (tokens, usd) in enumerate(((3, "8"), (40, "2"))):
            day = FIRST + timedelta(days=number)
            held.cover(day)
            held.add_spend("0", "unbilled", usage_date=day, quantity=tokens, list_cost_usd=usd)
            held.add(
                "reconciliation", usage_date=day, model="off", service_tier="batch", priced_usd="10",
                priced_low_usd="10", priced_high_usd="10", reported_usd=usd, cause="contract discount",
            )  # fmt: skip
            held.add("restatements", kind="cost", usage_date=day, old_usd="4", new_usd="1", model="b")
        add_up(connection)
    shown = stax("invoice", "acme", "2026-10", "1").out
    assert "43 tokens, list price of what was never billed" in shown
    assert "batch, priced ÷ reported 2.000000, contract discount" in shown
    assert "2 changes, the last published 2026-11-22" in shown
    assert "29 days without a complete cost report, not read" in shown
    assert "the largest of" not in shown


def test_commitments_show_the_share_of_the_committed_units_by_direction(
    stax: Stax, engine: sa.Engine, acme: Tenant
) -> None:
    """Input: 100 units a minute, half of one day used and twice the other; output: a tenth of both days."""
    with engine.begin() as connection:
        held = Warehouse(connection, acme.tenant_id)
        held.add(
            "commitments", commitment_id="c", model="claude-opus-4-8", input_tokens_per_minute=100,
            output_tokens_per_minute=10, fee_usd="60", starts_on=FIRST, ends_on=FIRST + timedelta(days=1),
        )  # fmt: skip
        for number, burned in enumerate((72_000, 288_000)):
            day = FIRST + timedelta(days=number)
            held.cover(day)
            for token_type, used, committed in (
                ("uncached_input_tokens", burned, 144_000), ("output_tokens", 1_440, 14_400),
            ):  # fmt: skip
                held.add_spend("1", "priority-reconstructed", usage_date=day, token_type=token_type,
                               commitment_id="c", burndown_units=used, quantity=used)  # fmt: skip
                held.add_spend("0", "commitment-unused", usage_date=day, token_type=token_type, commitment_id="c",
                               burndown_units=max(0, committed - used))  # fmt: skip
        add_up(connection)
    headings, _, row = stax("commitments").out.splitlines()
    assert headings.endswith("input used  output used")
    assert row.split()[-4:] == ["75.0", "%", "10.0", "%"]


@pytest.mark.usefixtures("acme")
def test_an_invoice_of_a_wrong_month_is_withdrawn(stax: Stax, engine: sa.Engine) -> None:
    stax("invoice", "acme", "2026-10", "1042.10")
    ended = stax("invoice", "acme", "2026-10", "--withdraw", "--note", "was September")
    assert (ended.code, ended.out) == (0, "acme 2026-10: 1,042.10 USD withdrawn\n")
    shown = stax("sql", "select status, invoice_usd, note from stax.invoice_check", "--format", "json").out
    assert '"status": "no invoice", "invoice_usd": null, "note": "was September"' in shown
    again = stax("invoice", "acme", "2026-10", "--withdraw")
    assert (again.code, again.err) == (2, "stax: acme has no invoice of 2026-10 on record. Nothing was changed.\n")
    assert "1,042.10 USD recorded" in stax("invoice", "acme", "2026-10", "1042.10").out
    assert count(engine, "invoices") == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody", "2026-10", "1"), "There is no tenant nobody"),
        (("acme", "2026-13", "1"), "'2026-13' is not a month like 20"),
        (("acme", "10/2026", "1"), "'10/2026' is not a month like 20"),
        (("acme", "2026-10", "1.005"), "parts of a cent"),
        (("acme", "202610", "1"), "is not a month like 20"),
        (("acme", "0000-10", "1"), "is not a month like 20"),
        (("acme", "2999-01", "1"), "has not begun"),
        *((("acme", "2026-10", bad), "expected a plain decimal") for bad in
          ("$12", "1,234.56", "1.234,5", "12 USD", "1e3", "", "12.", ".5", "-", "€5", "(12)", "0.1234567890123456789")),
        (("acme", "2026-10", "NaN"), "NaN: cannot be read"),
        (("acme", "2026-10", "none.csv"), "none.csv: cannot be read"),
        (("acme", "2026-10", "abc"), "expected a CSV or YAML file, or an amount like 1234.56"),
        (("acme", "2026-10"), "Give the AMOUNT or FILE"),
        (("acme", "2026-10", "1", "--withdraw"), "Give the AMOUNT or FILE"),
        (("acme", "2026-10", "1", "--note", "a\nb"), "The note is too long or not printable"),
        (("acme", "2026-10", "1", "--note", "x" * 501), "The note is too long or not printable"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("acme")
def test_an_invoice_that_cannot_be_taken_is_one_line(
    stax: Stax, engine: sa.Engine, arguments: tuple[str, ...], words: str
) -> None:
    ended = stax("invoice", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert count(engine, "invoices") == 0


@pytest.mark.usefixtures("acme")
def test_a_file_of_an_invoice_needs_amounts_in_every_row(stax: Stax, engine: sa.Engine, tmp_path: Path) -> None:
    file = tmp_path / "invoice.csv"
    for text, words in (("what,usd\na,1\n", "column amount_usd: found no such column"),
                        ("what,amount_usd\na,1\nb,\n", "row 3, column amount_usd: found nothing"),
                        ("what,amount_usd\na,1\nTotal,$1\n", "row 3, column amount_usd: found '$1'"),
                        ("what,amount_usd\na,0.005\n", "a sum in whole cents"),
                        ("Amount_USD\n1\n", "write amount_usd"),
                        ("amount_usd\n" + f"{10**20 - 1}\n" * 2, "a sum below 10^20 USD")):  # fmt: skip
        file.write_text(text)
        ended = stax("invoice", "acme", "2026-10", str(file))
        assert (ended.code, words in ended.err) == (2, True)
    assert count(engine, "invoices") == 0
    file.write_text("what,amount_usd\na,1\nSubtotal,1\nb,2.004\nTotality,0.996\n")
    ended = stax("invoice", "acme", "2025-07", str(file))
    assert (ended.code, ended.out.splitlines()[0]) == (0, "acme 2025-07: 5.00 USD recorded")
    assert "row 3 is called a total and was added in" in ended.err
    assert "row 5" not in ended.err
    assert "2025-07 begins before the first day of this installation (2025-08-18)" in ended.err
    assert "begins before" not in stax("invoice", "acme", "2026-10", "1").err


@pytest.mark.parametrize("page", ["prices", "contract-rates", "invoices"])
@pytest.mark.usefixtures("acme")
def test_the_queries_of_the_documentation_run(stax: Stax, page: str) -> None:
    text = (CHECKOUT / "docs" / "operate" / f"{page}.md").read_text()
    queries = [block.partition("```")[0] for block in text.split("```sql\n")[1:]]
    assert queries
    for query in queries:
        ended = stax("sql", query)
        assert ended.code == 0, ended.err
