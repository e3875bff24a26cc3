"""What operators hand in rightly: recorded once, corrections replace, the examples of the documentation are taken."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import sqlalchemy as sa

from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.pricing.imports.invoices import read_invoice
from stax_pipeline.pricing.prices import shipped_prices
from stax_pipeline.tenants.agreements import import_commitments, import_prices, import_rates
from stax_pipeline.warehouse.agreements import read_commitments, read_rates
from stax_pipeline.warehouse.prices import read_book, record_prices
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.tenants.agreements_support import (
    ACME,
    GLOBEX,
    IN,
    OUT,
    PRICE,
    PRICES,
    RATE,
    RATES,
    YAML,
    lines,
    made,
    standing,
)

__all__ = ["made", "standing"]
EXAMPLES = CHECKOUT / "docs" / "examples"


def test_prices_are_added_replaced_and_left_and_the_shipped_ones_do_not_come_back(made: Installation) -> None:
    text = lines("model,effective_from,token_type,context_window,usd_per_mtok,source", *(
        f"{model},{day},{token_type},all,{usd},me"
        for model, day, token_type, usd in (
            ("claude-opus-4-5", "2026-11-01", OUT, "24"), ("claude-opus-5", "2026-07-24", OUT, "24.5"),
            ("claude-opus-9", "2026-11-01", IN, "1"),
        )
    ))  # fmt: skip
    imported = import_prices(made.engine, "f.csv", ("\ufeff" + text.replace("\n", "\r\n")).encode())
    (recorded,) = imported.recorded.values()
    assert imported.notes == [
        "row 2: claude-opus-4-5 is recorded by its dated id claude-opus-4-5-20251101",
        "row 4: no model in the price book or in use matches claude-opus-9",
    ]
    assert [(p.model, p.us_multiplier, p.source) for p in recorded.added] == [
        ("claude-opus-4-5-20251101", 1, "me"), ("claude-opus-9", 1, "me")
    ]  # fmt: skip
    (change,) = recorded.replaced
    assert (change.old.usd_per_unit, change.new.usd_per_unit, change.new.us_multiplier) == (
        25,
        Decimal("24.5"),
        Decimal("1.1"),
    )
    with made.engine.begin() as connection:
        assert record_prices(connection, shipped_prices()).changed == 0
        assert change.new in read_book(connection).prices
    again = import_prices(made.engine, "f.csv", text.encode()).recorded[""]
    assert (again.changed, len(again.unchanged)) == (0, 3)


def test_a_shipped_price_that_an_imported_one_shadows_stays_out(made: Installation) -> None:
    with made.engine.begin() as connection:
        connection.execute(sa.text("delete from stax.list_prices where model = 'claude-opus-5'"))
        rows = [
            p for p in shipped_prices() if p.model == "claude-opus-5" and p.token_type == OUT and p.speed == "standard"
        ]
        own = [rows[0]._replace(context_window=window, source="me") for window in ("0-200k", "200k-1M")]
        record_prices(connection, own, imported=True)
        record_prices(connection, shipped_prices())
        held = [
            p for p in read_book(connection).prices if p[0] == "claude-opus-5" and p[3] == OUT and p[5] == "standard"
        ]
        assert sorted(held) == sorted(own)


def test_what_is_not_sold_by_token_has_its_own_unit(made: Installation) -> None:
    text = lines(f"{PRICES},cost_type", ",2026-11-01,,12,web_search", ",2026-11-01,,0.06,code_execution")
    recorded = import_prices(made.engine, "f.csv", text.encode()).recorded[""]
    assert [(p.pricing_unit, p.context_window) for p in recorded.added] == [("1k requests", "all"), ("hour", "all")]
    with made.engine.connect() as connection:
        price = read_book(connection).service_price("web_search", date(2026, 11, 2))
    assert price and price.low == 12


def test_prices_imported_first_of_all_do_not_hide_the_shipped_book(made: Installation) -> None:
    with made.engine.begin() as connection:
        connection.execute(sa.text("delete from stax.list_prices"))
    import_prices(made.engine, "f.csv", lines(PRICES, f"{PRICE},4").encode())
    with made.engine.connect() as connection:
        assert len(read_book(connection).prices) == len(shipped_prices()) + 1


def test_rates_of_several_tenants_are_recorded_or_none(made: Installation) -> None:
    text = lines(RATES, f"{RATE},,0,", "globex,claude-opus-5,*,*,2026-01-01,2026-06-30,0.1,",
                 f"globex,claude-opus-4-5,batch,{OUT},2026-07-01,,,3.5")  # fmt: skip
    imported = import_rates(made.engine, "f.csv", text.encode())
    assert {slug: (len(r.added), len(r.replaced)) for slug, r in imported.recorded.items()} == {
        "acme": (1, 0), "globex": (1, 1)
    }  # fmt: skip
    with made.engine.connect() as connection:
        assert [rate.discount for rate in read_rates(connection, ACME).rates] == [0]
        assert [rate.effective_to for rate in read_rates(connection, GLOBEX).rates] == [None, date(2026, 6, 30)]


def test_what_is_likely_a_mistake_is_said_and_recorded(made: Installation) -> None:
    typed = import_rates(made.engine, "f.csv", lines(RATES, "acme,claude-opsu-*,*,*,2026-01-01,,0.1,").encode())
    assert typed.notes == ["row 2: no model in the price book or in use matches claude-opsu-*"]
    slip = import_prices(made.engine, "f.csv", lines(PRICES, f"claude-opus-5,2026-11-04,{OUT},0.00003").encode())
    assert slip.notes == [f"row 2: claude-opus-5 {OUT} was 25 until 2026-11-04, factor 0.0000012"]
    assert slip.recorded[""].changed == 1
    again = import_prices(made.engine, "f.csv", lines(PRICES, f"claude-opus-5,2026-11-04,{OUT},0.00003").encode())
    assert again.notes == []


def test_a_price_for_all_windows_says_which_prices_it_ends(made: Installation) -> None:
    split = lines(f"{PRICES},context_window", f"claude-opus-5,2026-11-01,{OUT},25,0-200k",
                  f"claude-opus-5,2026-11-01,{OUT},37.5,200k-1M")  # fmt: skip
    assert import_prices(made.engine, "f.csv", split.encode()).notes == []
    later = lines(PRICES, f"claude-opus-5,2026-11-04,{OUT},25", f"claude-opus-5,2026-11-09,{OUT},24").encode()
    assert import_prices(made.engine, "f.csv", later).notes == [
        f"row 2: ends the {OUT} prices of claude-opus-5 by context window, 0-200k (since 2026-11-01) and 200k-1M "
        "(since 2026-11-01), on 2026-11-04"
    ]


def test_yaml_says_the_same_as_csv(made: Installation) -> None:
    import_rates(made.engine, "f.yaml", YAML.encode())
    with made.engine.connect() as connection:
        (rate,) = read_rates(connection, ACME).rates
    assert (rate.discount, rate.effective_to) == (Decimal("0.1"), None)


def test_the_examples_are_taken_as_they_are(made: Installation) -> None:
    for work, name in ((import_prices, "prices"), (import_rates, "rates"), (import_commitments, "commitments")):
        file = EXAMPLES / f"{name}.csv"
        (recorded,) = work(made.engine, str(file), file.read_bytes()).recorded.values()
        assert len(recorded.added) == len(file.read_text().splitlines()) - 1
    with made.engine.connect() as connection:
        assert [one.commitment_id for one in read_commitments(connection, ACME)] == ["acme-2026-h2"]
    summed = read_invoice("invoice.csv", (EXAMPLES / "invoice-acme-2026-10.csv").read_bytes())
    assert summed == (Decimal("51354.03"), 3, ("description",), ())
