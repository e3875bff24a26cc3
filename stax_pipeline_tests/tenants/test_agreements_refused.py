"""What operators hand in wrongly: every mistake is one line with its place, and changes no row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.pricing.imports.table import MAX_BYTES, BadInput
from stax_pipeline.tenants.agreements import import_commitments, import_prices, import_rates
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.tenants.agreements_support import (
    COMMITMENT,
    COMMITMENTS,
    OUT,
    PRICE,
    PRICES,
    RATE,
    RATES,
    YAML,
    lines,
    made,
    on_record,
    standing,
)

__all__ = ["made", "standing"]
TERM = "2026-10-01,2026-10-31"

MISTAKES: list[tuple[Callable[..., Any], str, int | None, str | None, str]] = [
    # the file
    (import_prices, "", None, None, "the file is empty: expected at least one row with model"),
    (import_prices, "\n\n", None, None, "at least one row"),
    (import_prices, PRICES, None, None, "the file has a header and no rows"),
    (import_prices, lines(PRICES.replace("model", "Model"), f"{PRICE},4"), 1, None, "write model"),
    (import_prices, lines(PRICES.replace("usd_per_unit", "USD_per_MTok"), f"{PRICE},4"), 1, None, "write usd_per_mtok"),
    (import_prices, lines(PRICES, f"claude-opus-5,2026-02-30,{OUT},4"), 2, "effective_from", "no such day"),
    (import_prices, lines(PRICES, f"{PRICE},1000000.01"), 2, "usd_per_unit", "at most 1000000."),
    (import_prices, lines(f"{PRICES},us_multiplier", f"{PRICE},4,101"), 2, "us_multiplier", "at most 100."),
    (import_prices, "model,effective_from,usd_per_unit", 1, "token_type", "no such column"),
    (import_prices, lines(PRICES, ",,,", " , , , "), None, None, "at least one row"),
    (import_prices, lines(PRICES.replace(",", ";"), "a;b;c;d"), 1, None, "commas between the columns"),
    (import_prices, lines(PRICES, f'{PRICE},"4'), 2, None, "closed quotes"),
    (import_prices, lines(PRICES, f"{PRICE},4,5"), 2, None, "found 5, expected 4 cells as in the header"),
    (import_prices, lines(PRICES, f"{PRICE}"), 2, None, "found 3, expected 4 cells"),
    (import_prices, lines("model,effective_from,usd_per_unit", "a,b,c"), 1, "token_type", "no such column"),
    (import_prices, lines(f"{PRICES},colour", f"{PRICE},4,red"), 1, "'colour'", "found another, expected only"),
    (import_prices, lines(f"{PRICES},usd_per_mtok", f"{PRICE},4,4"), 1, "'usd_per_unit'", "each column once"),
    (import_prices, lines(f"{PRICES},", f"{PRICE},4,"), 1, None, "a name for every column"),
    (import_prices, lines(PRICES, f"{PRICE},{'4' * 600}"), 2, "usd_per_unit", "at most 500 printable"),
    (import_prices, lines(PRICES, f"claude\0,2026-11-01,{OUT},4"), 2, "model", "printable"),
    (import_prices, lines(f"{PRICES},source", f'{PRICE},4,"a\nb"'), 2, "source", "printable characters"),
    (import_prices, lines(f"{PRICES},source", f"{PRICE},4,\x1b[31mred"), 2, "source", "printable characters"),
    # its values
    *(
        (import_prices, lines(PRICES, f'{PRICE},"{bad}"'), 2, "usd_per_unit", "a plain decimal such as 1234.56")
        for bad in ("", "NaN", "Infinity", "-1", "1e3", "1E-7", "1,5", "$4", "4 USD", "+4", ".5", "5.", "٤", "1_0",
                    "0.1234567890123456789", "123456789012345678901")
    ),
    *(
        (import_prices, lines(PRICES, f"claude-opus-5,{bad},{OUT},4"), 2, "effective_from", "a date YYYY-MM-DD")
        for bad in ("", "2026-13-01", "2026-02-30", "20261101", "2026-W44-1", "01.11.2026", "2026-11-01T00:00", "today")
    ),
    (import_prices, lines(PRICES, "claude-opus-5,2026-11-01,input,4"), 2, "token_type", "found 'input'"),
    (import_prices, lines(PRICES, f"claude opus,2026-11-01,{OUT},4"), 2, "model", "a model id"),
    (import_prices, lines(PRICES, f"claude-*,2026-11-01,{OUT},4"), 2, "model", "a model id"),
    (import_prices, lines(f"{PRICES},speed", f"{PRICE},4,slow"), 2, "speed", "one of fast, standard"),
    (import_prices, lines(f"{PRICES},context_window", f"{PRICE},4,1M"), 2, "context_window", "one of 0-100k, 0-200k"),
    (import_prices, lines(f"{PRICES},pricing_unit", f"{PRICE},4,1k tokens"), 2, "pricing_unit", "one of 1M tokens"),
    (import_prices, lines(f"{PRICES},us_multiplier", f"{PRICE},4,0.0"), 2, "us_multiplier", "a factor above 0"),
    (import_prices, lines(f"{PRICES},cost_type", f"{PRICE},4,web_search"), 2, "model", "an empty cell"),
    (import_prices, lines(f"{PRICES},cost_type", f"{PRICE},4,magic"), 2, "cost_type", "one of code_execution"),
    (import_prices, lines(PRICES, f"{PRICE},4", "", f"{PRICE},5"), 4, None, "the same as in row 2"),
    (import_prices, lines(PRICES, f"claude-opus-4-5,2026-11-01,{OUT},4",
                          f"claude-opus-4-5-20251101,2026-11-01,{OUT},4"), 3, None, "the same as in row 2"),
    (import_prices, lines(f"{PRICES},context_window", f"{PRICE},4,all", f"{PRICE},5,0-200k"), 3, None, "row 2, (mo"),
    (import_prices, lines(f"{PRICES},context_window", f"{PRICE},4,0-100k", f"{PRICE},5,0-200k"), 3, None, "same day"),
    (import_prices, lines(f"{PRICES},context_window", f"claude-opus-5,2026-07-24,{OUT},5,0-200k"), 2, None,
     "overlaps what is on record, (model claude-opus-5, effective_from 2026-07-24"),
    # rates
    (import_rates, lines(RATES, "nobody,claude-*,*,*,2026-01-01,,0.1,"), 2, "tenant", "`stax tenants` lists"),
    (import_rates, lines(RATES, ",claude-*,*,*,2026-01-01,,0.1,"), 2, "tenant", "found nothing"),
    (import_rates, lines(RATES, "acme,cl*ude,*,*,2026-01-01,,0.1,"), 2, "model_pattern", "* at the end"),
    (import_rates, lines(RATES, "acme,,*,*,2026-01-01,,0.1,"), 2, "model_pattern", "* at the end"),
    (import_rates, lines(RATES, "acme,claude-*,gold,*,2026-01-01,,0.1,"), 2, "service_tier", "one of *, batch"),
    (import_rates, lines(RATES, "acme,claude-*,,*,2026-01-01,,0.1,"), 2, "service_tier", "one of *, batch"),
    (import_rates, lines(RATES, "acme,claude-*,*,tokens,2026-01-01,,0.1,"), 2, "token_type", "one of *, cache"),
    (import_rates, lines(RATES, f"{RATE},2025-12-31,0.1,"), 2, "effective_to", "not before effective_from"),
    (import_rates, lines(RATES, f"{RATE},,,"), 2, None, "found neither, expected either"),
    (import_rates, lines(RATES, f"{RATE},,0.1,4"), 2, None, "found both, expected either"),
    (import_rates, lines(RATES, f"{RATE},,1,"), 2, "discount", "0.15 for 15 %"),
    (import_rates, lines(RATES, f"{RATE},,15,"), 2, "discount", "0.15 for 15 %"),
    (import_rates, lines(RATES, f"{RATE},,-0.1,"), 2, "discount", "not below 0"),
    (import_rates, lines(RATES, f"{RATE},,15%,"), 2, "discount", "0.15 for 15 %"),
    (import_rates, lines(RATES, f'{RATE},,"0,15",'), 2, "discount", "0.15 for 15 %"),
    (import_rates, lines(RATES, f"acme,claude-opus-5,batch,{OUT},2026-01-01,,,1000001"), 2, "usd_per_unit",
     "at most 1000000."),
    (import_rates, lines(RATES, "acme,claude-sonnet-4-0*,*,*,2026-01-01,,0.1,"), 2, "model_pattern",
     "the dated id claude-sonnet-4-20250514"),
    (import_rates, lines(RATES, f"{RATE},,,4"), 2, "service_tier", "one name"),
    (import_rates, lines(RATES, "acme,claude-*,batch,*,2026-01-01,,,4"), 2, "token_type", "one name"),
    (import_rates, lines(RATES, f"{RATE},,0.1,", f"{RATE},,0.2,"), 3, None, "the same as in row 2"),
    (import_rates, lines(RATES, f"{RATE},,0.1,", f"acme,claude-opus-5,batch,{OUT},2030-01-01,,,4"), 3, None,
     "overlaps row 2, (model_pattern claude-*, service_tier *, token_type *, effective_from 2026-01-01, discount 0.1)"),
    (import_rates, lines(RATES, f"{RATE},,0.1,", "globex,claude-opus-*,*,*,2026-03-01,,0.3,"), 3, None,
     "overlaps what is on record, (model_pattern claude-opus-5"),
    # commitments
    (import_commitments, lines(COMMITMENTS, f"{COMMITMENT},7,2026-10-31,2026-10-01"), 2, "ends_on", "not before"),
    (import_commitments, lines(COMMITMENTS, f"{COMMITMENT},-7,{TERM}"), 2, "fee_usd", "not below 0"),
    (import_commitments, lines(COMMITMENTS, f"{COMMITMENT},{10**12}.01,{TERM}"), 2, "fee_usd",
     "at most 1000000000000."),
    (import_commitments, lines(COMMITMENTS, f",acme,claude-opus-5-5,1,1,7,{TERM}"), 2, "commitment_id", "a name"),
    (import_commitments, lines(COMMITMENTS, f"c,acme,claude-opus-5-5,1.5,1,7,{TERM}"), 2,
     "input_tokens_per_minute", "a whole number"),
    (import_commitments, lines(COMMITMENTS, f"c,acme,claude-opus-5-5,{10**12 + 1},1,7,{TERM}"), 2,
     "input_tokens_per_minute", "a whole number"),
    (import_commitments, lines(COMMITMENTS, f"c,acme,claude-opus-5-5,0,0,7,{TERM}"), 2,
     "output_tokens_per_minute", "0 for both"),
    (import_commitments, lines(COMMITMENTS, "c,acme,claude-opus-5-5,1,1,7,2026-01-01,2026-10-31"), 2, "model",
     "a model with a list price of uncached_input_tokens on 2026-01-01: `stax prices import` first"),
    (import_commitments, lines(COMMITMENTS, f"c,who,claude-opus-5-5,1,1,7,{TERM}"), 2, "tenant", "lists"),
    (import_commitments, lines(COMMITMENTS, f"g-1,acme,claude-opus-5-5,1,1,7,{TERM}"), 2, "commitment_id",
     "an id that no other tenant has"),
    (import_commitments, lines(COMMITMENTS, f"{COMMITMENT},7,{TERM}",
                               f"c-1,globex,claude-opus-5-5,1,1,7,{TERM}"), 3, None, "the same as in row 2"),
    (import_commitments, lines(COMMITMENTS, f"{COMMITMENT},7,{TERM}",
                               "c-2,acme,claude-opus-5-5,1,1,7,2026-10-31,2026-11-30"), 3, None,
     "overlaps row 2, (commitment_id c-1, model claude-opus-5-5"),
    (import_commitments, lines(COMMITMENTS, "g-2,globex,claude-opus-5,1,1,7,2026-08-31,2026-11-30"), 2, None,
     "overlaps what is on record, (commitment_id g-1"),
]  # fmt: skip


@pytest.mark.parametrize(("work", "text", "row", "column", "words"), MISTAKES)
def test_a_mistake_is_one_line_with_its_place_and_changes_nothing(
    made: Installation, work: Callable[..., Any], text: str, row: int | None, column: str | None, words: str
) -> None:
    before = on_record(made)
    with pytest.raises(BadInput) as refused:
        work(made.engine, "in/file.csv", text.encode())
    said = str(refused.value)
    assert (refused.value.row, refused.value.column) == (row, column)
    assert said.startswith("in/file.csv" + (f", row {row}" if row else "") + (f", column {column}" if column else ""))
    assert words in said
    assert said.endswith("Nothing was changed.")
    assert "\n" not in said
    assert len(said) < 700
    assert on_record(made) == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfem\0o\0", "UTF-8 text"),
        (lines(PRICES, f"claude-\xe9,2026-11-01,{OUT},4").encode("latin-1"), "row 2: this is not UTF-8 text"),
        (b"x" * (MAX_BYTES + 1), "at most 10 MB"),
    ],
)
def test_a_file_that_is_no_text_or_too_large_is_refused(made: Installation, content: bytes, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        import_prices(made.engine, "f.csv", content)


def test_no_content_is_quoted_at_length(made: Installation) -> None:
    secret = "hunter2" * 60
    with pytest.raises(BadInput) as refused:
        import_prices(made.engine, "f.csv", lines(PRICES, f"{secret},2026-11-01,{OUT},4").encode())
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("[]", "the file is empty"),
        ("tenant: acme", "a list of rows"),
        ("- acme", "row 1: found something else"),
        ("- tenant: [a]", "row 1: found a nested value or an alias"),
        (f"{YAML}- *a", "row 2: found something else"),
        (YAML.replace("- ", "- &a ", 1) + "- *a", "row 2: found something else"),
        ("- &a {tenant: acme}\n- *a", "row 1, column model_pattern: found no such column"),
        ("- tenant: *", "quote '*'"),
        ("- tenant: acme\n  tenant: globex", "column 'tenant': found it twice"),
        ("- <<: {a: b}", "nested value"),
        ("- ? [a]\n  : b", "nested value"),
        (f"{YAML}---{YAML}", "in one document"),
        ("[" * 20_000, "row 1: found something else"),
        ("- tenant: '\x07'", "characters that YAML does not allow"),
        ("- tenant: acme\n  bad: x: y", "in line 2"),
    ],
)
def test_yaml_mistakes_are_one_line(made: Installation, text: str, words: str) -> None:
    before = on_record(made)
    with pytest.raises(BadInput) as refused:
        import_rates(made.engine, "f.yml", text.encode())
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert on_record(made) == before


def test_a_refusal_is_wrong_use() -> None:
    assert issubclass(BadInput, WrongUse) and BadInput.exit_code == 2
