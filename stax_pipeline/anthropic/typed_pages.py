"""A page of a report in one typed pass, from its text to Arrow columns; a page that is not plain is left to `envelope`.

The structs below are a contract narrower than the source's: every documented field once and of its one type, no other
field, no empty text, no escape in any text, no amount that could lose a digit. A page inside it means exactly what
`envelope` and the row parsers of `derive` read from it; what lies outside is theirs, with the reason or the extras.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from itertools import accumulate, chain, repeat
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET, Meta, UnsetType

from stax_pipeline.anthropic.envelope import Envelope, day_of, digest, next_page, parse_report_page
from stax_pipeline.anthropic.fields import DEFAULT_WORKSPACE, MAX_TEXT, Row
from stax_pipeline.anthropic.queries import BY_KEY_DIMENSIONS, USAGE_DIMENSIONS
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import QueryName, Window
from stax_pipeline.domain.money import MAX_COUNT

CENTS, USD = pa.decimal128(38, 16), pa.decimal128(38, 18)
_AMOUNT = r"^-?[0-9]{1,22}(\.[0-9]{1,16})?$"  # what CENTS holds: the cast of a longer text would wrap silently

Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)] | None


Columns = dict[str, Any]


class NotPlain(Exception):
    """The page is outside the narrow contract."""


class _Strict(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    pass


class _CostRow(_Strict):
    amount: str
    currency: Literal["USD"]
    cost_type: Text
    description: Text
    model: Text
    token_type: Text
    context_window: Text
    service_tier: Text
    workspace_id: Text
    inference_geo: Text | UnsetType = UNSET


class _CacheWrites(_Strict):
    ephemeral_5m_input_tokens: Count
    ephemeral_1h_input_tokens: Count


class _Tools(_Strict):
    web_search_requests: Count


class _UsageRow(_Strict):
    uncached_input_tokens: Count
    cache_read_input_tokens: Count
    cache_creation: _CacheWrites
    output_tokens: Count
    server_tool_use: _Tools
    workspace_id: Text
    model: Text
    service_tier: Text
    api_key_id: Text | UnsetType = UNSET
    account_id: Text | UnsetType = UNSET
    context_window: Text | UnsetType = UNSET
    inference_geo: Text | UnsetType = UNSET
    service_account_id: Text | UnsetType = UNSET
    speed: Text | UnsetType = UNSET


class _CostBucket(_Strict):
    starting_at: str
    ending_at: str
    results: list[_CostRow]


class _UsageBucket(_Strict):
    starting_at: str
    ending_at: str
    results: list[_UsageRow]


class _CostPage(_Strict):
    data: list[_CostBucket]
    has_more: bool
    next_page: str | None


class _UsagePage(_Strict):
    data: list[_UsageBucket]
    has_more: bool
    next_page: str | None


class _Shape(NamedTuple):
    """The rows of a query: texts and counts by their paths, the names on a row round them, what rows are grouped by."""

    decoder: msgspec.json.Decoder[Any]
    texts: tuple[str, ...]
    counts: tuple[str, ...]
    more_names: int
    dimensions: tuple[str, ...]


_COST_TEXTS = tuple(name for name in _CostRow.__struct_fields__ if name != "currency")
_COST = _Shape(msgspec.json.Decoder(_CostPage), _COST_TEXTS, (), 1, _COST_TEXTS[1:])
_USAGE = _Shape(
    msgspec.json.Decoder(_UsagePage),
    _UsageRow.__struct_fields__[5:],
    (
        "uncached_input_tokens",
        "cache_read_input_tokens",
        "cache_creation.ephemeral_5m_input_tokens",
        "cache_creation.ephemeral_1h_input_tokens",
        "output_tokens",
        "server_tool_use.web_search_requests",
    ),
    2,
    USAGE_DIMENSIONS,
)
_COUNTS = frozenset(_USAGE.counts)
_SHAPES = {
    QueryName.COST: _COST,
    QueryName.ALL: _USAGE,
    QueryName.FAST: _USAGE,
    QueryName.BY_KEY: _USAGE._replace(dimensions=BY_KEY_DIMENSIONS),
}


@dataclass(frozen=True, slots=True)
class PlainBucket:
    """One UTC day of a plain page: a slice of its columns."""

    day: date
    rows: pa.RecordBatch = field(repr=False)

    @property
    def size(self) -> int:
        return self.rows.num_rows

    @property
    def results(self) -> list[Row]:
        """The rows as received."""
        return [_as_received(row) for row in self.rows.to_pylist()]

    def later_digest(self) -> Callable[[], str]:
        """The digest of the rows, made when it is asked for."""
        return lambda: digest(self.results)


@dataclass(frozen=True, slots=True)
class PlainPage:
    """A page of a report inside the narrow contract.

    `rows` holds the rows of all buckets in their order: `usage_date`, then one column per field, named by its path
    (`cache_creation.ephemeral_5m_input_tokens`), text or int64; a field that was not sent is no column. Where null was
    sent a text is '', that of a workspace `DEFAULT_WORKSPACE`: neither is ever sent on such a page. `amount_usd`,
    decimal128(38, 18), stands beside the text `amount` on a page of cost. `repeats` says whether two rows of a day are
    equal in every dimension of their query.
    """

    buckets: list[PlainBucket]
    next_page: str | None
    rows: pa.RecordBatch = field(repr=False)
    repeats: bool


ReportPage = PlainPage | Envelope


def read_report_page(body: str, window: Window, query: QueryName) -> ReportPage:
    """The page in `body`, every bucket one whole UTC day inside `window`. Raises ContractBroken."""
    try:
        return plain_page(body, window, query)
    except NotPlain:
        return parse_report_page(body, window)


def plain_page(body: str, window: Window, query: QueryName) -> PlainPage:
    """The page in `body`. Raises NotPlain."""
    shape = _SHAPES[query]
    if "\\" in body:  # without escapes quotes can be counted, and no text holds NUL or half a surrogate pair
        raise NotPlain("an escape")
    try:
        page = shape.decoder.decode(body)
        days = [_day(bucket, window) for bucket in page.data]
        token = next_page({"has_more": page.has_more, "next_page": page.next_page})
    except (msgspec.MsgspecError, ContractBroken) as fault:
        raise NotPlain(str(fault)) from None
    sizes = [len(bucket.results) for bucket in page.data]
    values = _values([row for bucket in page.data for row in bucket.results], shape)
    dates = pa.array(list(chain.from_iterable(map(repeat, days, sizes))), pa.date32())
    texts, found = _texts(values, len(dates))
    columns: Columns = {"usage_date": dates, **texts, **_counts(values, shape, len(dates))}
    if shape is _COST:
        columns["amount_usd"] = _usd(texts["amount"])
    rows = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    _refuse_names_twice(body, page, len(values) * rows.num_rows, found + (shape is _COST) * rows.num_rows, shape)
    ends = accumulate(sizes)
    slices = [rows.slice(end - size, size) for end, size in zip(ends, sizes, strict=True)]
    return PlainPage(list(map(PlainBucket, days, slices)), token, rows, _repeats(page, shape))


def _day(bucket: _CostBucket | _UsageBucket, window: Window) -> date:
    return day_of({"starting_at": bucket.starting_at, "ending_at": bucket.ending_at}, window, "bucket")


def _values(rows: list[Any], shape: _Shape) -> dict[str, list[Any]]:
    """The rows' values by field, texts first, without fields that no row has."""
    values = {name: list(map(attrgetter(name), rows)) for name in (*shape.texts, *shape.counts)}
    values = {name: column for name, column in values.items() if not column or column[0] is not UNSET}
    if DEFAULT_WORKSPACE in values["workspace_id"]:
        raise NotPlain("a workspace of the default one's name")
    if shape is not _COST and not values.keys() >= set(shape.dimensions):  # rows of cost may have no geography
        raise NotPlain("a dimension is missing")
    return values


def _texts(values: dict[str, list[Any]], size: int) -> tuple[Columns, int]:
    """The columns of text, and how many texts were sent. All are made in one piece: a call costs more than a row."""
    names = [name for name in values if name not in _COUNTS]
    try:
        sent = pa.array(list(chain.from_iterable(values[name] for name in names)), pa.string())
    except pa.ArrowException:
        raise NotPlain("a field that only some rows have") from None
    told = sent.fill_null("")
    columns = {name: told.slice(place * size, size) for place, name in enumerate(names)}
    workspaces = sent.slice(names.index("workspace_id") * size, size)
    columns["workspace_id"] = workspaces.fill_null(DEFAULT_WORKSPACE)
    return columns, len(sent) - sent.null_count


def _counts(values: dict[str, list[Any]], shape: _Shape, size: int) -> Columns:
    whole = pa.array(list(chain.from_iterable(values[name] for name in shape.counts)), pa.int64())
    return {name: whole.slice(place * size, size) for place, name in enumerate(shape.counts)}


def _usd(amounts: pa.Array[Any]) -> pa.Array[Any]:
    """Dollars of cents without arithmetic: the same digits, the point two places further."""
    if pc.all(pc.match_substring_regex(amounts, _AMOUNT)).as_py() is False:
        raise NotPlain("an amount that is no short decimal")
    cents = pc.cast(amounts, CENTS)
    return pa.Array.from_buffers(USD, len(cents), cents.buffers(), offset=cents.offset)


def _refuse_names_twice(body: str, page: _CostPage | _UsagePage, fields: int, texts: int, shape: _Shape) -> None:
    """Without escapes each quote begins or ends a name or a text: those that were read must be all there are.

    `fields` and `texts` are those of all rows, but for the names round them that `shape` counts.
    """
    rows = sum(len(bucket.results) for bucket in page.data)
    names = 3 + 3 * len(page.data) + fields + shape.more_names * rows
    texts += 2 * len(page.data) + (page.next_page is not None)
    if body.count('"') != 2 * (names + texts):
        raise NotPlain("a name occurs twice")


def _repeats(page: _CostPage | _UsagePage, shape: _Shape) -> bool:
    values = attrgetter(*shape.dimensions)
    return any(len(set(map(values, bucket.results))) < len(bucket.results) for bucket in page.data)


def _as_received(row: Row) -> Row:
    """The fields of one row of columns, those of nested objects in their objects."""
    received: Row = {} if "amount" not in row else {"currency": "USD"}
    for name, value in row.items():
        outer, _, inner = name.partition(".")
        if inner:
            received.setdefault(outer, {})[inner] = value
        elif name not in ("usage_date", "amount_usd"):
            received[name] = None if value == (DEFAULT_WORKSPACE if name == "workspace_id" else "") else value
    return received
