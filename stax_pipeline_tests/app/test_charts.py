"""Bars: every dollar is drawn once, to scale, and whatever a model is called stays text."""

from __future__ import annotations

from decimal import Decimal
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.app.charts import BOTTOM, HEIGHT, KINDS, TOP, Column, Mark, stacked_bars

USD = st.decimals(-50_000, 50_000, places=6, allow_nan=False)
NAMES = ["claude-opus-4-8", "Other models", "No model"]
MARKS = st.lists(st.builds(Mark, st.integers(0, 2), st.sampled_from(KINDS), USD.filter(bool)), max_size=6)
COLUMNS = st.lists(
    st.builds(Column, st.just("27 Nov"), MARKS, st.sampled_from(["", "not read"])), min_size=1, max_size=12
)
SVG = "{http://www.w3.org/2000/svg}"


def parsed(columns: list[Column], names: list[str] = NAMES) -> ElementTree.Element:
    drawn = str(stacked_bars("spend", "Dollars", columns, names))
    svg = drawn.partition('<ul class="legend">')[0]
    return ElementTree.fromstring(svg)


def marks(of: ElementTree.Element) -> list[ElementTree.Element]:
    return [one for one in of.iter() if one.get("data-usd")]


@given(COLUMNS)
def test_every_dollar_is_drawn_once(columns: list[Column]) -> None:
    drawn = [Decimal(str(one.get("data-usd"))) for one in marks(parsed(columns))]
    assert sorted(drawn) == sorted(mark.usd for column in columns for mark in column.marks)


@given(COLUMNS)
def test_bars_are_as_high_as_their_dollars_and_inside_the_picture(columns: list[Column]) -> None:
    svg = parsed(columns)
    sizes = [
        (abs(Decimal(str(m.get("data-usd")))), Decimal(str(m.get("height"))), Decimal(str(m.get("y"))))
        for m in marks(svg)
    ]
    for _, height, y in sizes:
        assert height >= 0
        assert TOP - Decimal("0.01") <= y
        assert y + height <= HEIGHT - BOTTOM + Decimal("0.02")
    if sizes:
        largest, tallest, _ = max(sizes)
        for usd, height, _ in sizes:
            assert abs(height * largest - tallest * usd) <= Decimal("0.02") * largest


@given(COLUMNS)
def test_each_day_is_one_stop_of_the_keyboard_and_each_mark_says_what_it_is(columns: list[Column]) -> None:
    svg = parsed(columns)
    days = [one for one in svg.iter() if one.get("class") == "day"]
    assert len(days) == len(columns)
    assert all(day.get("tabindex") == "0" and "27 Nov: " in str(day.get("aria-label")) for day in days)
    for mark in marks(svg):
        title = mark.find("title") if mark.find("title") is not None else mark.find(f"{SVG}title")
        assert title is not None
        assert str(title.text).startswith("27 Nov · ")


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc", "Cn", "Co"]), min_size=1))
def test_whatever_a_model_is_called_stays_text(name: str) -> None:
    svg = parsed([Column("27 Nov", [Mark(0, "billed", Decimal(1))])], [name])
    assert {one.tag for one in svg.iter()} <= {"svg", "title", "defs", "pattern", "rect", "circle", "line", "text", "g"}
    assert all(
        not attribute.startswith("on") and attribute != "style" for one in svg.iter() for attribute in one.attrib
    )
    [mark] = marks(svg)
    told = mark.find("title")
    assert told is not None
    assert told.text == f"27 Nov · {name} · billed · $1.00"


def test_kinds_differ_without_colour() -> None:
    column = Column("27 Nov", [Mark(0, kind, Decimal(5)) for kind in KINDS])
    fills = [(one.get("class"), one.get("fill")) for one in marks(parsed([column]))]
    assert fills == [("mark s0", None), ("mark", "url(#spend-r0)"), ("mark", "url(#spend-e0)")]
    assert {one.get("id") for one in parsed([column]).iter("pattern")} >= {"spend-r0", "spend-e0"}


def test_a_day_that_is_not_complete_is_shaded_and_said() -> None:
    svg = parsed([Column("27 Nov", []), Column("28 Nov", [], "not complete yet")])
    back = [one.get("class") for one in svg.iter("rect") if one.get("class") in ("back", "unfinished")]
    assert back == ["back", "unfinished"]
    assert [one.get("aria-label") for one in svg.iter("g")] == ["27 Nov: $0.00", "28 Nov: $0.00, not complete yet"]
