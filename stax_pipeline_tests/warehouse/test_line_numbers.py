"""Line numbers: 1, 2, … in each tenant's day, the same whatever order rows come in, and no row twice."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline.warehouse.arrow_copy import arrow_type
from stax_pipeline.warehouse.engine import WarehouseFault
from stax_pipeline.warehouse.line_numbers import numbered
from stax_pipeline.warehouse.tables import DAILY, cost_lines, spend, usage_by_key

KEY = ("usage_date", "tenant_id", *usage_by_key.info["apart"])
SCHEMA = pa.schema([(name, arrow_type(usage_by_key.c[name])) for name in (*KEY, "output_tokens")])
DAY = date(2026, 11, 20)
KEYS = st.tuples(
    st.sampled_from([DAY + timedelta(days=n) for n in range(3)]), st.sampled_from(["t1", "t2"]),
    *[st.sampled_from(["", "a", "ab", "b", "\u00e9"])] * 5,
)  # fmt: skip


def rows(keys: list[tuple[Any, ...]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, (*key, n), strict=True)) for n, key in enumerate(keys)], SCHEMA)


@settings(deadline=None)
@given(st.lists(KEYS, unique=True, max_size=30), st.randoms())
def test_each_tenants_day_counts_from_one_in_the_order_of_the_dimensions(keys: list[Any], random: Any) -> None:
    found = numbered(usage_by_key, rows(keys))
    slots: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for key in sorted(keys, key=lambda key: [str(part).encode() for part in key]):
        slots.setdefault(key[:2], []).append(key)
    expected = {key: line for of_slot in slots.values() for line, key in enumerate(of_slot, start=1)}
    assert {tuple(row[name] for name in KEY): row["line"] for row in found.to_pylist()} == expected
    assert {row["output_tokens"]: tuple(row[name] for name in KEY) for row in found.to_pylist()} == dict(
        enumerate(keys)
    )
    shuffled = random.sample(keys, len(keys))
    assert numbered(usage_by_key, rows(shuffled)).drop_columns(["output_tokens"]) == found.drop_columns(
        ["output_tokens"]
    )


@settings(deadline=None)
@given(st.lists(KEYS, min_size=1, max_size=30), st.data())
def test_a_row_that_is_there_twice_is_refused_without_being_shown(keys: list[Any], data: Any) -> None:
    again = data.draw(st.sampled_from(keys))
    with pytest.raises(WarehouseFault, match="usage_by_key: two rows of a tenant's day are equal in every dimension"):
        numbered(usage_by_key, rows([*keys, again]))


def test_rows_in_several_chunks_are_numbered_together() -> None:
    keys = [(DAY, "t", "w", f"k{n}", "", "", "") for n in range(4)]
    chunked = pa.concat_tables([rows(keys[:1]), rows(keys[1:])])
    assert numbered(usage_by_key, chunked)["line"].to_pylist() == [1, 2, 3, 4]


def test_rows_that_have_their_number_are_left_alone() -> None:
    given_ = pa.table({"line": [3, 1]})
    assert numbered(spend, given_) is given_


def test_what_tells_rows_apart_is_never_null_and_the_key_is_narrow() -> None:
    for table in DAILY:
        if apart := table.info["apart"]:
            assert not any(table.c[name].nullable for name in apart)
            assert [c.name for c in table.primary_key] == ["usage_date", "tenant_id", "line"]
    assert [c.name for c in spend.primary_key] == ["usage_date", "tenant_id", "line"]
    assert len(cost_lines.info["apart"]) == 10
