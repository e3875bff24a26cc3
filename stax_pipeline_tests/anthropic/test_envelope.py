"""Missing is never zero: every field of the envelope, and every day of the window."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import date, timedelta
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.anthropic.envelope import (
    Bucket,
    Envelope,
    RestatedWhileReading,
    WalkCheck,
    parse_list_page,
    parse_report_page,
)
from stax_pipeline.anthropic.typed_pages import read_report_page
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import QueryName, Window

START = date(2026, 11, 1)
WINDOW = Window(START, date(2026, 11, 8))
TODAY = date(2026, 11, 22)


@pytest.fixture(autouse=True, params=[parse_report_page, partial(read_report_page, query=QueryName.COST)])
def each_reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds of the row reader's envelope holds of the typed reader's."""
    monkeypatch.setitem(globals(), "parse_report_page", request.param)


def check_walk(window: Window, envelopes: Iterable[Envelope], today: date) -> list[date]:
    """Checks a whole walk at once and returns the days that came twice, word for word (they count once)."""
    check = WalkCheck(window)
    repeated = [day for envelope in envelopes for day in check.add(envelope).repeated]
    check.finish(today)
    return repeated


def distinct_buckets(envelopes: Iterable[Envelope]) -> list[Bucket]:
    """The buckets of a checked walk in the order of their days, a repeated one once."""
    by_day: dict[date, Bucket] = {}
    for envelope in envelopes:
        for bucket in envelope.buckets:
            by_day.setdefault(bucket.day, bucket)
    return [by_day[day] for day in sorted(by_day)]


def bucket(day: date, *rows: dict[str, object], **changes: object) -> dict[str, object]:
    ends = day + timedelta(days=1)
    return {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{ends}T00:00:00Z", "results": list(rows)} | changes


def page(*buckets: object, **changes: object) -> str:
    return json.dumps({"data": list(buckets), "has_more": False, "next_page": None} | changes)


def parse(*buckets: object, **changes: object) -> Envelope:
    return parse_report_page(page(*buckets, **changes), WINDOW)


def test_a_page_is_read_with_its_rows_and_unknown_fields_are_allowed() -> None:
    envelope = parse(bucket(START, {"amount": "1"}, new_field=1), has_more=True, next_page="page_2", more=[])
    assert envelope.buckets[0].day == START
    assert envelope.buckets[0].results == [{"amount": "1"}]
    assert (envelope.has_more, envelope.next_page) == (True, "page_2")


@pytest.mark.parametrize("stamp", ["2026-11-01T00:00:00Z", "2026-11-01T00:00:00+00:00", "2026-11-01t00:00:00.000z"])
def test_every_spelling_of_a_utc_midnight_is_read(stamp: str) -> None:
    assert parse(bucket(START, starting_at=stamp)).buckets[0].day == START


@pytest.mark.parametrize("field", ["data", "has_more", "next_page"])
def test_a_missing_envelope_field_breaks_the_contract(field: str) -> None:
    document = json.loads(page())
    del document[field]
    with pytest.raises(ContractBroken, match=f"{field} is missing"):
        parse_report_page(json.dumps(document), WINDOW)


@pytest.mark.parametrize("field", ["starting_at", "ending_at", "results"])
def test_a_missing_bucket_field_breaks_the_contract(field: str) -> None:
    entry = bucket(START)
    del entry[field]
    with pytest.raises(ContractBroken, match=f"{field} is missing"):
        parse(entry)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": None}, "data is null, not a list"),
        ({"data": {}}, "data is an object, not a list"),
        ({"data": [1]}, "data holds a number where an object belongs"),
        ({"data": [bucket(START, results="")]}, "results is text, not a list"),
        ({"data": [bucket(START, results=[None])]}, "results holds null"),
        ({"data": [bucket(START, starting_at=None)]}, "starting_at is not a UTC midnight"),
        ({"data": [bucket(START, starting_at="2026-11-01T01:00:00Z")]}, "starting_at is not a UTC midnight"),
        ({"data": [bucket(START, starting_at="2026-11-01T00:00:00+02:00")]}, "starting_at is not a UTC midnight"),
        ({"data": [bucket(START, starting_at="2026-11-31T00:00:00Z")]}, "starting_at is not a UTC midnight"),
        ({"data": [bucket(START, starting_at="\uff12026-11-01T00:00:00Z")]}, "starting_at is not a UTC midnight"),
        ({"data": [bucket(START, starting_at="2026-11-01T00:00:00Z\n")]}, "starting_at is not a UTC midnight"),
        ({"data": [bucket(START, ending_at="2026-11-03T00:00:00Z")]}, "not one day wide"),
        ({"data": [bucket(START, ending_at="2026-11-01T00:00:00Z")]}, "not one day wide"),
        ({"data": [bucket(START - timedelta(days=1))]}, "outside the window"),
        ({"data": [bucket(WINDOW.end)]}, "outside the window"),
        ({"has_more": 1}, "has_more is a number"),
        ({"has_more": "false"}, "has_more is text"),
        ({"has_more": True}, "inconsistent paging"),
        ({"has_more": True, "next_page": ""}, "inconsistent paging"),
        ({"next_page": "page_2"}, "inconsistent paging"),
        ({"next_page": 2}, "next_page is a number"),
        ({"type": "error"}, "error envelope"),
        ({"error": {"type": "overloaded_error"}}, "error envelope in a successful answer: 'overloaded_error'"),
    ],
)
def test_a_wrong_field_breaks_the_contract(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ContractBroken, match=reason):
        parse(**changes)


@pytest.mark.parametrize("body", ["[]", "null", "1", '"text"'])
def test_an_answer_that_is_no_object_breaks_the_contract(body: str) -> None:
    with pytest.raises(ContractBroken, match="not an object"):
        parse_report_page(body, WINDOW)


@given(st.integers(0, 7), st.randoms(use_true_random=False), st.sets(st.integers(1, 6)))
def test_any_order_and_any_split_into_pages_gives_the_same_buckets(
    repeated: int, order: random.Random, cuts: set[int]
) -> None:
    buckets = [bucket(day, {"n": number}, {"n": -number}) for number, day in enumerate(WINDOW.days)]
    whole = distinct_buckets([parse(*buckets)])
    shuffled = buckets + buckets[:repeated]
    order.shuffle(shuffled)
    edges = [0, *sorted(cuts), len(shuffled)]
    pages = [parse(*shuffled[first:last]) for first, last in pairwise(edges)]
    assert sorted(check_walk(WINDOW, pages, TODAY)) == WINDOW.days[:repeated]
    assert distinct_buckets(pages) == whole


@given(st.sets(st.sampled_from(WINDOW.days), max_size=6))
def test_a_walk_lacks_no_past_day(kept: set[date]) -> None:
    with pytest.raises(ContractBroken, match="no bucket for"):
        check_walk(WINDOW, [parse(*(bucket(day) for day in kept))], TODAY)


def test_the_open_day_and_the_future_may_be_missing() -> None:
    today = START + timedelta(days=2)
    first_days = [bucket(day) for day in WINDOW.days if day < today]
    assert check_walk(WINDOW, [parse(*first_days)], today) == []


@pytest.mark.parametrize(("missing", "days_later", "allowed"), [(1, 0, True), (3, 0, True), (4, 0, False),
                                                               (1, 2, True), (1, 3, False)])  # fmt: skip
def test_the_last_days_may_not_be_there_yet_for_three_days(missing: int, days_later: int, allowed: bool) -> None:
    early = [parse(*(bucket(day) for day in WINDOW.days[:-missing]))]
    today = WINDOW.end + timedelta(days=days_later)
    if allowed:
        assert check_walk(WINDOW, early, today) == []
    else:
        with pytest.raises(ContractBroken, match="no bucket for"):
            check_walk(WINDOW, early, today)


def test_a_hole_before_the_end_is_no_day_that_is_late() -> None:
    with pytest.raises(ContractBroken, match="no bucket for 2026-11-06; "):
        check_walk(WINDOW, [parse(*(bucket(day) for day in WINDOW.days if day != date(2026, 11, 6)))], WINDOW.end)


def test_missing_days_are_named_but_not_all_of_them() -> None:
    with pytest.raises(ContractBroken, match="2026-11-01, 2026-11-02, 2026-11-03 and 4 more"):
        check_walk(WINDOW, [parse()], TODAY)


def test_the_same_day_with_other_rows_is_a_restatement() -> None:
    pages = [parse(bucket(START, {"amount": "1"})), parse(bucket(START, {"amount": "2"}))]
    with pytest.raises(RestatedWhileReading, match="2026-11-01"):
        check_walk(WINDOW, pages, TODAY)


def test_the_same_day_with_a_row_more_is_a_restatement() -> None:
    row: dict[str, object] = {"amount": "1"}
    with pytest.raises(RestatedWhileReading):
        check_walk(WINDOW, [parse(bucket(START, row), bucket(START, row, row))], TODAY)


def test_text_and_number_are_not_the_same_row() -> None:
    body = page(bucket(START, {"n": "1.5"}), bucket(START, {"n": 1.5}))
    with pytest.raises(RestatedWhileReading):
        check_walk(WINDOW, [parse_report_page(body, WINDOW)], TODAY)


def test_a_list_page_is_read() -> None:
    listed = parse_list_page(json.dumps({"data": [{"id": "a"}], "has_more": True, "first_id": "a", "last_id": "a"}))
    assert (listed.items, listed.has_more, listed.last_id) == ([{"id": "a"}], True, "a")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"data": [], "has_more": True, "last_id": None}, "inconsistent paging"),
        ({"data": [{"id": None}], "has_more": False, "last_id": "a"}, "no id"),
        ({"data": [{}], "has_more": False, "last_id": "a"}, "no id"),
        ({"data": [], "has_more": False}, "last_id is missing"),
        ({"has_more": False, "last_id": None}, "data is missing"),
        ({"data": [], "last_id": None}, "has_more is missing"),
    ],
)
def test_a_wrong_list_page_breaks_the_contract(document: dict[str, object], reason: str) -> None:
    with pytest.raises(ContractBroken, match=reason):
        parse_list_page(json.dumps(document))
