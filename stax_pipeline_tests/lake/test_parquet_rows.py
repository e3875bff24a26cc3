"""Rows at hand and rows that are read become one file, sorted, and no more of it is in memory than is being read."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline.lake.parquet_rows import _together, arrow_schema
from stax_pipeline.warehouse.fresh_rows import Fresh
from stax_pipeline.warehouse.tables import usage_lines

SCHEMA = arrow_schema(usage_lines)
KEYS = [("tenant_id", "ascending"), ("line", "ascending")]


def rows_of(lines: list[tuple[int, int, str]]) -> pa.Table:
    """Rows with a tenant, a line and a model; every other column is empty or zero."""
    tenants, numbers, models = zip(*lines, strict=True) if lines else ((), (), ())
    given = {
        "tenant_id": [str(UUID(int=n)) for n in tenants], "line": list(numbers), "model": list(models),
    }  # fmt: skip
    columns = [
        pa.array(given.get(field.name, ["" if pa.types.is_string(field.type) else 0] * len(lines)), field.type)
        for field in SCHEMA
    ]
    return pa.table(columns, schema=SCHEMA)


def lines_of(tenant: int, count: int, model: str) -> list[tuple[int, int, str]]:
    return [(tenant, line, model) for line in range(count)]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["read", "held", "held twice"])), max_size=8),
    st.lists(st.integers(1, 5), min_size=1),
)
def test_the_pieces_are_the_whole_in_the_order_of_the_key(tenants: list[tuple[int, str]], cuts: list[int]) -> None:
    read, first, again, whole = [], [], [], []
    for tenant, (count, where) in enumerate(tenants):
        whole += lines_of(tenant, count, where)
        if where == "read":
            read += lines_of(tenant, count, where)
        elif where == "held":
            first += lines_of(tenant, count, where)
        else:
            first += lines_of(tenant, count + 1, "was before")
            again += lines_of(tenant, count, where)
    held = [
        Fresh(frozenset(UUID(int=n) for n in {tenant for tenant, _, _ in lines}), rows_of(lines))
        for lines in (first, again)
    ]
    table, pieces, done = rows_of(read), [], 0
    while done < table.num_rows:
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(table.slice(done, size))
        done += size
    found = list(_together(usage_lines, held, iter(pieces)))
    assert pa.concat_tables([*found, rows_of([])]).equals(rows_of(whole))
    assert all(piece.num_rows for piece in found)
    assert len(pieces) <= len(found) <= len(pieces) + 1


def test_a_piece_takes_along_what_is_at_hand_before_its_last_tenant_and_no_more() -> None:
    held = [Fresh(frozenset(UUID(int=n) for n in (0, 3)), rows_of([*lines_of(0, 2, "held"), *lines_of(3, 2, "held")]))]
    read = rows_of([*lines_of(1, 2, "read"), *lines_of(2, 3, "read")])
    found = list(_together(usage_lines, held, iter([read.slice(0, 3), read.slice(3)])))
    assert [piece.num_rows for piece in found] == [5, 2, 2]
    assert all(piece.equals(piece.sort_by(KEYS)) for piece in found)
    ends = [(piece["tenant_id"][0].as_py(), piece["tenant_id"][-1].as_py()) for piece in found]
    assert all(one[1] <= other[0] for one, other in pairwise(ends))
