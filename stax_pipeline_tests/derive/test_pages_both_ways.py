"""Columns or rows: whatever a page holds, the product reads from it what reading it row by row does, or its reason."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from stax_pipeline.anthropic.queries import BY_KEY_DIMENSIONS, USAGE_DIMENSIONS
from stax_pipeline.anthropic.strict_json import loads
from stax_pipeline.anthropic.typed_pages import NotPlain, PlainPage, plain_page
from stax_pipeline.domain.extraction import QueryName, RawPage, Window
from stax_pipeline.domain.money import cents_to_usd
from stax_pipeline_tests.derive.builders import DAY, OPUS, cost_row, raw_page, report_body, usage_row
from stax_pipeline_tests.oracle.readings import by_product, by_rows, walked_by_product, walked_by_rows

WINDOW = Window(DAY, date(2026, 11, 4))
NEXT = DAY + timedelta(days=1)
REPORTS = [QueryName.COST, QueryName.ALL, QueryName.FAST, QueryName.BY_KEY]
Json = Any

AMOUNTS = ["0", "1", "-0", "-1.5", "007.50", "12.3456789012345678", "1e2", "9" * 22, "9" * 22 + "." + "9" * 16]
ODD_AMOUNTS = ["0.12345678901234567", "1." + "0" * 17, "9" * 23, "0" * 30 + "1", "1" + "0" * 38, "", " 1", "1 ", "1\n",
               "+1", ".5", "1.", "1_0", "NaN", "Infinity", "1e99", "1E-3", "1e400", "0x1", "1,5", 1, 1.5, None, True,
               "\u0661", "9" * 101]  # fmt: skip
TEXTS = [None, "standard", "batch", "turbo", "wrkspc_1", OPUS, "0-200k", "global", "é", "\u2028", "a, b: c", "x" * 500,
         "é" * 500]  # fmt: skip
ODD_TEXTS = ["", "default", "x" * 501,
             "é" * 501, 'a"b', "a\\b", 'a":', "\u0000", "\ud800", "\udc00\ud800", "😀", "a\tb", 5, True,
             1.0, [], {}, ["standard"]]  # fmt: skip
COUNTS = [0, 1, 10**12, 2**62, 2**63 - 1]
ODD_COUNTS = [2**63, 2**64, -1, 3.0, "3", True, None, 1e30, 10**25, 10**26, float("nan"), float("inf"), [], {}]
TOKENS = ["uncached_input_tokens", "cache_read_input_tokens", "output_tokens"]


@st.composite
def rows(draw: st.DrawFn, query: QueryName) -> dict[str, Json]:
    """A row inside the contract."""
    if query is QueryName.COST:
        texts = ["cost_type", "description", "model", "token_type", "context_window", "service_tier", "inference_geo",
                 "workspace_id"]  # fmt: skip
        row = cost_row(amount=draw(st.sampled_from(AMOUNTS)))
    else:
        texts = [*(BY_KEY_DIMENSIONS if query is QueryName.BY_KEY else USAGE_DIMENSIONS), "service_account_id"]
        row = usage_row(
            five=draw(st.sampled_from(COUNTS)), searches=draw(st.sampled_from([0, 3])), service_account_id=None
        )
        row |= {name: draw(st.sampled_from(COUNTS)) for name in TOKENS}
    for name in draw(st.lists(st.sampled_from(texts), max_size=3)):
        row[name] = draw(st.sampled_from(TEXTS))
    return row


@st.composite
def bodies(draw: st.DrawFn, query: QueryName, changes: int) -> str:
    """The text of a page, its values, names and structure changed in up to `changes` places."""
    days = draw(st.lists(st.sampled_from([DAY, NEXT, DAY + timedelta(days=2)]), max_size=3, unique=draw(st.booleans())))
    page = json.loads(report_body(*((day, draw(st.lists(rows(query), max_size=4))) for day in days)))
    places = [page, *page["data"], *(row for bucket in page["data"] for row in bucket["results"])]
    places += [inner for row in places for inner in row.values() if isinstance(inner, dict)]
    for _ in range(draw(st.integers(0, changes))):
        _change(draw, draw(st.sampled_from([place for place in places if place] or [{"data": []}])))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (",", " :"), (" ,\n", "\t: ")]))
    text = json.dumps(page, separators=separators, ensure_ascii=draw(st.booleans()))
    if changes and draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from(['"amount"', '"model"', '"results"', '"next_page"', '"ephemeral_5m_input_tokens"']))
        text = text.replace(name, f"{name}{separators[1]}{draw(st.sampled_from(['null', '0', '[]']))},{name}", 1)
    return text


def _change(draw: st.DrawFn, place: dict[str, Json]) -> None:
    name = draw(st.sampled_from(sorted(place)))
    kind = draw(st.sampled_from(["odd", "odd", "odd", "gone", "new"]))
    if kind == "gone":
        del place[name]
    elif kind == "new":
        place[draw(st.sampled_from(["tomorrow", "type", "error", "speed", "", 'a"b', "account_id"]))] = draw(
            st.sampled_from([None, 1, "fast", {"a": 1}])
        )
    elif name == "amount":
        place[name] = draw(st.sampled_from(ODD_AMOUNTS))
    elif name.endswith(("tokens", "requests")):
        place[name] = draw(st.sampled_from(ODD_COUNTS))
    else:
        place[name] = draw(st.sampled_from([*ODD_TEXTS, *TEXTS]))


@st.composite
def extractions(draw: st.DrawFn, changes: int) -> list[RawPage]:
    queries = draw(st.lists(st.sampled_from(REPORTS), min_size=1, max_size=4))
    texts = [(query, draw(bodies(query, changes))) for query in queries]
    return [raw_page(query, text, number) for number, (query, text) in enumerate(texts, start=1) if _is_utf8(text)]


def _is_utf8(text: str) -> bool:
    """What is not has been refused before any parser."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def is_plain(page: RawPage) -> bool:
    try:
        plain_page(page.body, WINDOW, page.query)
    except NotPlain:
        return False
    return True


@settings(max_examples=400, deadline=None)
@given(extractions(changes=0))
def test_pages_inside_the_contract(pages: list[RawPage]) -> None:
    event(f"plain: {sum(map(is_plain, pages))} of {len(pages)}")
    assert by_product(pages, WINDOW) == by_rows(pages, WINDOW)


@settings(max_examples=1000, deadline=None)
@given(extractions(changes=2))
def test_pages_near_the_contract(pages: list[RawPage]) -> None:
    event(f"plain: {sum(map(is_plain, pages))} of {len(pages)}")
    assert by_product(pages, WINDOW) == by_rows(pages, WINDOW)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(REPORTS))
def test_a_day_that_came_twice_is_told_the_same_way(data: st.DataObject, query: QueryName) -> None:
    found = [text for text in data.draw(st.lists(bodies(query, 1), min_size=1, max_size=2)) if _is_utf8(text)]
    walk = data.draw(st.permutations([*found, *found]))
    assert walked_by_product(walk, WINDOW, query) == walked_by_rows(walk, WINDOW)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_speed_is_told_the_same_way_by_whichever_pages_bring_it(data: st.DataObject) -> None:
    counts = st.integers(0, 3)
    found = data.draw(st.lists(st.tuples(st.sampled_from("abc"), counts, counts, st.booleans()), max_size=4))
    every = [usage_row(whole, searches=whole, model=model) for model, whole, _, _ in found]
    fast = [usage_row(min(part, whole), model=model) for model, whole, part, is_fast in found if is_fast]
    if data.draw(st.booleans()):
        every += [usage_row(1, model="d", tomorrow={"b": 1, "a": 2})]
    pages = [
        raw_page(QueryName.ALL, report_body((DAY, every), (NEXT, every))),
        raw_page(QueryName.FAST, report_body((DAY, fast))),
        raw_page(QueryName.BY_KEY, report_body((DAY, every), (NEXT, every[:1]))),
    ]
    pages = data.draw(st.permutations(pages))[: data.draw(st.integers(1, 3))]
    assert by_product(pages, WINDOW) == by_rows(pages, WINDOW)


FULL_COST = report_body((DAY, [cost_row(), cost_row(model=None, inference_geo=None)]), (NEXT, []))
FULL_USAGE = report_body((DAY, [usage_row(3, searches=1), usage_row(workspace_id=None, account_id="user_1")]))


@pytest.mark.parametrize(
    ("query", "body"),
    [(QueryName.COST, FULL_COST), *((query, FULL_USAGE) for query in REPORTS[1:]),
     *((query, report_body()) for query in REPORTS)],
)  # fmt: skip
def test_documented_pages_are_plain_and_give_their_rows_back(query: QueryName, body: str) -> None:
    page = plain_page(body, WINDOW, query)
    document: Json = loads(body)
    assert [bucket.results for bucket in page.buckets] == [bucket["results"] for bucket in document["data"]]


@pytest.mark.parametrize("amount", AMOUNTS[:6] + AMOUNTS[7:])
def test_amounts_that_fit_are_exact_without_arithmetic(amount: str) -> None:
    usd = _plain(QueryName.COST, amount=amount).rows.column("amount_usd").to_pylist()
    assert usd == [cents_to_usd(amount)]


def _plain(query: QueryName, **changes: Json) -> PlainPage:
    row = cost_row if query is QueryName.COST else usage_row
    return plain_page(report_body((DAY, [row(**changes)])), WINDOW, query)


@pytest.mark.parametrize("amount", ["1e2", *ODD_AMOUNTS])
def test_any_other_amount_is_left_to_the_row_reader(amount: Json) -> None:
    with pytest.raises(NotPlain):
        _plain(QueryName.COST, amount=amount)


@pytest.mark.parametrize("count", [count for count in ODD_COUNTS if count == count])
@pytest.mark.parametrize("name", [*TOKENS, "cache_creation", "server_tool_use"])
def test_any_other_count_is_left_to_the_row_reader(name: str, count: Json) -> None:
    nested = {"cache_creation": {"ephemeral_5m_input_tokens": count, "ephemeral_1h_input_tokens": 0},
              "server_tool_use": {"web_search_requests": count}}  # fmt: skip
    with pytest.raises(NotPlain):
        _plain(QueryName.ALL, **{name: nested.get(name, count)})


@pytest.mark.parametrize("odd", [text for text in ODD_TEXTS if text != "😀"])
@pytest.mark.parametrize(("query", "name"), [(QueryName.COST, "workspace_id"), (QueryName.BY_KEY, "workspace_id")])
def test_any_other_text_is_left_to_the_row_reader(query: QueryName, name: str, odd: Json) -> None:
    with pytest.raises(NotPlain):
        _plain(query, **{name: odd})


@pytest.mark.parametrize("gap", [":", " :", "\n:", "\t :"])
@pytest.mark.parametrize("name", ["amount", "description", "inference_geo", "starting_at", "data", "has_more"])
def test_a_name_that_occurs_twice_is_seen_whatever_stands_round_it(name: str, gap: str) -> None:
    document = json.loads(FULL_COST)
    value = {**document, **document["data"][0], **document["data"][0]["results"][0]}[name]
    body = FULL_COST.replace(f'"{name}"', f'"{name}"{gap}{json.dumps(value)},"{name}"', 1)
    with pytest.raises(NotPlain, match="twice|malformed|missing|Expected"):
        plain_page(body, WINDOW, QueryName.COST)
    reason = by_product([raw_page(QueryName.COST, body)], WINDOW)
    assert reason == by_rows([raw_page(QueryName.COST, body)], WINDOW)
    assert "occurs twice" in reason[1]  # type: ignore[operator]


def test_sums_that_no_count_can_hold_are_refused_and_never_wrap() -> None:
    body = report_body((DAY, [usage_row(2**63 - 1), usage_row(1)]))
    found = by_product([raw_page(QueryName.ALL, body)], WINDOW)
    assert found == by_rows([raw_page(QueryName.ALL, body)], WINDOW)
    assert "the sum of uncached_input_tokens" in found[1]  # type: ignore[operator]


def test_figures_that_wrap_to_the_same_are_not_taken_for_equal() -> None:
    """Four times 2^62 is 2^64, which 64 bits hold as nothing."""
    every = report_body((DAY, [usage_row(2**62, context_window=window) for window in ("a", "b", "c", "d")]))
    by_key = report_body((DAY, [usage_row(0)]))
    pages = [raw_page(QueryName.ALL, every), raw_page(QueryName.BY_KEY, by_key)]
    found = by_product(pages, WINDOW)
    assert found == by_rows(pages, WINDOW)
    assert found[5] == {DAY}  # type: ignore[misc]
