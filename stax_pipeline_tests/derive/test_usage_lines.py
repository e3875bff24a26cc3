"""Usage rows to usage lines: no token lost, none twice; speed told by the difference of two queries."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.anthropic.queries import BY_KEY_DIMENSIONS, USAGE_DIMENSIONS
from stax_pipeline.derive.usage_lines import (
    NOTHING,
    Counted,
    Counts,
    KeyUsageLine,
    NegativeSpeedDifference,
    UsageLine,
    count_rows,
    counts,
    disagreements,
)
from stax_pipeline.derive.usage_lines import key_usage_lines as key_lines_of
from stax_pipeline.derive.usage_lines import usage_lines as lines_of
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline_tests.derive.builders import DAY, OPUS, key_usage, usage, usage_row

NEXT_DAY = DAY + timedelta(days=1)
Buckets = Iterable[tuple[date, list[Any]]]


def counted(buckets: Buckets, dimensions: tuple[str, ...], unknown: Counter[str], name: str) -> Counted:
    found: Counted = {}
    count_rows(found, buckets, dimensions, unknown, name)
    return found


def usage_lines(every: Buckets, fast: Buckets | None, unknown: Counter[str] | None = None) -> list[UsageLine]:
    known = Counter[str]() if unknown is None else unknown
    quick = None if fast is None else counted(fast, USAGE_DIMENSIONS, Counter(), "fast")
    return lines_of(counted(every, USAGE_DIMENSIONS, known, "all"), quick)


def key_usage_lines(buckets: Buckets) -> list[KeyUsageLine]:
    return key_lines_of(counted(buckets, BY_KEY_DIMENSIONS, Counter(), "by_key"))


@pytest.mark.parametrize("read", [lambda b: usage_lines(b, None), key_usage_lines], ids=["all", "by_key"])
def test_equal_rows_that_add_up_to_more_than_can_be_stored_break_the_contract_at_their_row(read: Any) -> None:
    """Found by fuzzing: each row fits a bigint, their sum did not, and Postgres refused it without naming the row."""
    rows = [usage_row(count) | {"api_key_id": None, "account_id": None} for count in (2**63 - 1, 1)]
    reason = f"bucket {DAY}, row 2: the sum of uncached_input_tokens 9223372036854775808 is not a whole number"
    with pytest.raises(ContractBroken, match=reason):
        read([(DAY, rows)])


def test_every_count_has_its_place_and_cache_writes_are_nested() -> None:
    row = usage_row(1, five=2, hour=3, cache_read_input_tokens=4, output_tokens=5, searches=6)
    assert counts(row) == Counts(
        uncached_input_tokens=1,
        cache_creation_5m_input_tokens=2,
        cache_creation_1h_input_tokens=3,
        cache_read_input_tokens=4,
        output_tokens=5,
        web_search_requests=6,
    )


@pytest.mark.parametrize(
    "field",
    ["uncached_input_tokens", "cache_creation", "cache_read_input_tokens", "output_tokens", "server_tool_use"],
)
def test_a_missing_count_is_never_zero(field: str) -> None:
    row = usage_row(1)
    del row[field]
    with pytest.raises(ContractBroken, match=field):
        counts(row)


@pytest.mark.parametrize("writes", [{}, {"ephemeral_5m_input_tokens": 1}, {"ephemeral_1h_input_tokens": 1}, None, 7])
def test_missing_nested_cache_writes_are_never_zero(writes: object) -> None:
    with pytest.raises(ContractBroken, match="cache_creation"):
        counts(usage_row(1, cache_creation=writes))


def test_flat_cache_writes_do_not_stand_in_for_nested_ones() -> None:
    row = usage_row(1, cache_creation_input_tokens=9)
    del row["cache_creation"]
    with pytest.raises(ContractBroken, match="cache_creation"):
        counts(row)


@pytest.mark.parametrize("bad", [-1, 1.5, "1", True, None, 2**63])
def test_a_count_is_a_whole_number(bad: object) -> None:
    with pytest.raises(ContractBroken, match="output_tokens"):
        counts(usage_row(1, output_tokens=bad))


@pytest.mark.parametrize("tools", [{}, None, {"web_search_requests": None}])
def test_missing_web_searches_are_never_zero(tools: object) -> None:
    with pytest.raises(ContractBroken, match="server_tool_use"):
        counts(usage_row(1, server_tool_use=tools))


def test_dimensions_are_kept_and_the_null_workspace_is_the_default_one() -> None:
    row = usage_row(1, workspace_id=None, service_tier="batch", context_window="200k-1M", inference_geo="us")
    (line,) = usage_lines([(DAY, [row])], [])
    assert line[:7] == (DAY, "default", OPUS, "batch", "200k-1M", "us", "standard")


@pytest.mark.parametrize("field", ["workspace_id", "model", "service_tier", "context_window", "inference_geo"])
def test_a_missing_dimension_names_query_bucket_and_row(field: str) -> None:
    row = usage_row(1)
    del row[field]
    with pytest.raises(ContractBroken, match=rf"usage report \(all\), bucket 2026-11-01, row 2: field {field}"):
        usage_lines([(DAY, [usage_row(), row])], [])


def test_standard_speed_is_the_difference() -> None:
    every, fast = usage_row(10, five=4, output_tokens=7), usage_row(3, five=4, output_tokens=0)
    quick, slow = usage_lines([(DAY, [every])], [(DAY, [fast])])
    assert (quick.speed, quick.counts) == ("fast", Counts(3, 0, 4, 0, 0, 0))
    assert (slow.speed, slow.counts) == ("standard", Counts(7, 0, 0, 0, 7, 0))


def test_usage_that_was_fast_throughout_has_no_empty_standard_line() -> None:
    (line,) = usage_lines([(DAY, [usage_row(10)])], [(DAY, [usage_row(10)])])
    assert (line.speed, line.uncached_input_tokens) == ("fast", 10)


def test_no_fast_usage_leaves_everything_standard() -> None:
    (line,) = usage_lines([(DAY, [usage_row(10)])], [(DAY, [])])
    assert (line.speed, line.uncached_input_tokens) == ("standard", 10)


def test_where_fast_was_refused_the_speed_is_not_known() -> None:
    (line,) = usage_lines([(DAY, [usage_row(10)])], None)
    assert (line.speed, line.uncached_input_tokens) == ("", 10)


@pytest.mark.parametrize(
    "fast",
    [usage_row(11), usage_row(1, five=1), usage_row(1, service_tier="batch"), usage_row(1, workspace_id=None)],
)
def test_more_fast_than_all_is_a_contradiction(fast: dict[str, Any]) -> None:
    with pytest.raises(NegativeSpeedDifference, match="2026-11-01"):
        usage_lines([(DAY, [usage_row(10)])], [(DAY, [fast])])


def test_fast_of_another_day_is_a_contradiction_too() -> None:
    with pytest.raises(NegativeSpeedDifference, match="2026-11-02"):
        usage_lines([(DAY, [usage_row(10)])], [(NEXT_DAY, [usage_row(1)])])


def test_unknown_fields_land_in_extras_nested_ones_with_their_path() -> None:
    row = usage_row(1, requests=5)
    row["cache_creation"]["ephemeral_1d_input_tokens"] = 7
    row["server_tool_use"]["web_fetch_requests"] = 8
    unknown: Counter[str] = Counter()
    (line,) = usage_lines([(DAY, [row])], None, unknown)
    new = {"requests": 5, "cache_creation.ephemeral_1d_input_tokens": 7, "server_tool_use.web_fetch_requests": 8}
    assert json.loads(line.extras) == new
    assert unknown == {f"field {name}": 1 for name in new}


def test_unknown_fields_survive_where_all_usage_was_fast() -> None:
    (line,) = usage_lines([(DAY, [usage_row(1, requests=5)])], [(DAY, [usage_row(1, requests=5)])])
    assert line.speed == "fast"
    assert json.loads(line.extras) == {"requests": 5}


def test_unknown_values_are_counted_once_not_per_query() -> None:
    unknown: Counter[str] = Counter()
    row = usage_row(1, service_tier="turbo")
    usage_lines([(DAY, [row])], [(DAY, [row])], unknown)
    assert unknown == {"value service_tier=turbo": 1}


def test_usage_by_key_knows_who() -> None:
    rows = [usage_row(1), usage_row(2, api_key_id=None, account_id="user_1", workspace_id=None), usage_row(3)]
    console, with_key = key_usage_lines([(DAY, rows)])
    assert console[:6] == (DAY, "default", "", "user_1", OPUS, "standard")
    assert with_key[:6] == (DAY, "wrkspc_1", "apikey_1", "", OPUS, "standard")
    assert (console.uncached_input_tokens, with_key.uncached_input_tokens) == (2, 4)


def test_a_fault_by_key_names_its_query() -> None:
    row = usage_row(1)
    del row["account_id"]
    with pytest.raises(ContractBroken, match=r"usage report \(by_key\), bucket 2026-11-01, row 1: field account_id"):
        key_usage_lines([(DAY, [row])])


def test_queries_that_agree_have_no_disagreements() -> None:
    lines = [usage(6, speed="fast"), usage(4), usage(0, model="unused")]
    assert disagreements(lines, [key_usage("a", 7), key_usage("b", 3)]) == {}


def test_a_disagreement_shows_both_sides() -> None:
    found = disagreements([usage(6)], [key_usage("a", 5), key_usage("a", 1, service_tier="batch")])
    assert found == {
        (DAY, ("default", OPUS, "standard")): (Counts(6, 0, 0, 0, 0, 0), Counts(5, 0, 0, 0, 0, 0)),
        (DAY, ("default", OPUS, "batch")): (NOTHING, Counts(1, 0, 0, 0, 0, 0)),
    }


PARTS = st.lists(
    st.tuples(
        st.sampled_from([DAY, NEXT_DAY]),
        st.sampled_from(["standard", "batch", None]),
        st.sampled_from(["wrkspc_1", None]),
        st.booleans(),
        st.integers(0, 10**15),
        st.integers(0, 10**15),
    ),
    max_size=12,
)


@given(PARTS, st.randoms(use_true_random=False))
def test_lines_sum_to_the_query_and_row_order_does_not_matter(parts: list[Any], random: Any) -> None:
    rows = [(day, usage_row(a, hour=b, service_tier=t, workspace_id=w), fast) for day, t, w, fast, a, b in parts]
    every = [(day, [row]) for day, row, _ in rows]
    quick = [(day, [row]) for day, row, fast in rows if fast]
    lines = usage_lines(every, quick)
    total = NOTHING
    for line in lines:
        total = total.plus(line.counts)
    assert total == Counts(sum(p[4] for p in parts), 0, 0, sum(p[5] for p in parts), 0, 0)
    assert sum(line.uncached_input_tokens for line in lines if line.speed == "fast") == sum(p[4] for p in parts if p[3])
    assert len({line[:7] for line in lines}) == len(lines)
    random.shuffle(every)
    random.shuffle(quick)
    assert usage_lines(every, quick) == lines
