"""What the same work costs at the least: the same pages fetched and decoded, the rows that the product made of them
written as Parquet and copied into plain tables. No rule, no check, no key, no orchestration.

Usage: python -m benchmarks.floor < PAGES, where PAGES is JSON with the address and the requests. Prints the CPU seconds
by step as a line of JSON.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq
import sqlalchemy as sa

from benchmarks.cpu import Session, Spent, spending
from benchmarks.pages import Page
from benchmarks.run import FACTS
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.warehouse.roles import logins
from stax_pipeline.warehouse.tables import metadata

CONCURRENCY = 8
BATCH = 100_000  # rows of a COPY and of a row group
USD = pa.decimal128(38, 18)
_TEXTS = ("workspace_id", "model", "service_tier", "context_window", "inference_geo")


class CostRow(msgspec.Struct, gc=False):
    amount: str
    currency: str
    cost_type: str | None
    description: str | None
    model: str | None
    token_type: str | None
    context_window: str | None
    service_tier: str | None
    workspace_id: str | None
    inference_geo: str | None = None


class CacheCreation(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: int
    ephemeral_1h_input_tokens: int


class ServerTools(msgspec.Struct, gc=False):
    web_search_requests: int


class UsageRow(msgspec.Struct, gc=False):
    uncached_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    cache_creation: CacheCreation
    server_tool_use: ServerTools
    account_id: str | None
    api_key_id: str | None
    context_window: str | None
    inference_geo: str | None
    model: str | None
    service_tier: str | None
    workspace_id: str | None
    speed: str | None = None


class CostBucket(msgspec.Struct, gc=False):
    starting_at: str
    results: list[CostRow]


class UsageBucket(msgspec.Struct, gc=False):
    starting_at: str
    results: list[UsageRow]


class CostPage(msgspec.Struct, gc=False):
    data: list[CostBucket]


class UsagePage(msgspec.Struct, gc=False):
    data: list[UsageBucket]


COST = {name: name for name in ("amount", "currency", "cost_type", "description", "token_type", *_TEXTS)}
USAGE = {
    **{name: name for name in ("account_id", "api_key_id", "speed", *_TEXTS)},
    "uncached_input_tokens": "uncached_input_tokens",
    "cache_read_input_tokens": "cache_read_input_tokens",
    "cache_creation_5m_input_tokens": "cache_creation.ephemeral_5m_input_tokens",
    "cache_creation_1h_input_tokens": "cache_creation.ephemeral_1h_input_tokens",
    "output_tokens": "output_tokens",
    "web_search_requests": "server_tool_use.web_search_requests",
}
_COST_PAGE, _USAGE_PAGE = msgspec.json.Decoder(CostPage), msgspec.json.Decoder(UsagePage)


async def fetch(url: str, pages: Sequence[Page]) -> list[bytes]:
    """The bodies, a few requests at a time over one pool of connections."""
    waiting, bodies = iter(list(enumerate(pages))), [b""] * len(pages)

    async def work(client: httpx.AsyncClient) -> None:
        for number, page in waiting:
            answer = await client.get(page.path, params=page.params, headers=page.headers)
            bodies[number] = answer.raise_for_status().content

    async with httpx.AsyncClient(base_url=url, timeout=300) as client, asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(work(client))
    return bodies


def decode(page: Page, body: bytes) -> pa.Table | None:
    """A report page as typed columns; None of a list, which is decoded all the same."""
    if not (page.is_cost or page.is_usage):
        msgspec.json.decode(body)
        return None
    buckets = (_COST_PAGE if page.is_cost else _USAGE_PAGE).decode(body).data
    rows: list[Any] = [row for bucket in buckets for row in bucket.results]
    days = [bucket.starting_at[:10] for bucket in buckets for _ in bucket.results]
    wanted = COST if page.is_cost else USAGE
    columns: dict[str, Any] = {"usage_date": pa.array(days, pa.string()).cast(pa.date32())}
    for name, path in wanted.items():
        kind = pa.int64() if name.endswith(("tokens", "requests")) else pa.string()
        columns[name] = pa.array(list(map(attrgetter(path), rows)), kind)
    if page.is_cost:
        columns["amount"] = columns["amount"].cast(pa.decimal128(38, 16))
    return pa.table(columns)


def rows_of(connection: Any, name: str) -> pa.Table:
    """A fact table as the product wrote it."""
    table = metadata.tables[f"stax.{name}"]
    kinds = {column.name: _arrow_type(column.type) for column in table.columns}
    text = io.BytesIO()
    query = f"select {', '.join(kinds)} from stax.{name}"  # noqa: S608 names come from our own schema
    connection.cursor().copy_expert(f"copy ({query}) to stdout (format csv)", text)
    if not text.tell():
        return pa.table({name: pa.array([], kind) for name, kind in kinds.items()})
    text.seek(0)
    return csv.read_csv(
        text,
        read_options=csv.ReadOptions(column_names=list(kinds)),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=kinds, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


def _arrow_type(kind: Any) -> pa.DataType:
    if isinstance(kind, sa.Numeric):
        return USD
    if isinstance(kind, sa.BigInteger | sa.Integer):
        return pa.int64()
    return pa.date32() if isinstance(kind, sa.Date) else pa.string()


def write_parquet(tables: dict[str, pa.Table]) -> None:
    """A file per table and day, as people read them."""
    with tempfile.TemporaryDirectory(prefix="stax-bench-") as folder:
        for name, table in tables.items():
            days = table.column("usage_date")
            for day in pc.unique(days).to_pylist():
                of_day = table.filter(pc.equal(days, pa.scalar(day, pa.date32())))
                pq.write_table(
                    of_day, Path(folder) / f"{name}-{day}", row_group_size=BATCH, compression="zstd",
                    compression_level=3, write_page_checksum=True,
                )  # fmt: skip


def copy(connection: Any, tables: dict[str, pa.Table]) -> None:
    """CSV of the rows into tables of the same columns and nothing else, in one transaction."""
    cursor = connection.cursor()
    for name, table in tables.items():
        for start in range(0, table.num_rows, BATCH):
            text = io.BytesIO()
            csv.write_csv(
                table.slice(start, BATCH), text, csv.WriteOptions(include_header=False, quoting_style="needed")
            )
            text.seek(0)
            cursor.copy_expert(f"copy floor.{name} ({', '.join(table.column_names)}) from stdin (format csv)", text)
    connection.commit()


def plain_tables(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("drop schema if exists floor cascade; create schema floor")
    for name in FACTS:
        cursor.execute(f"create table floor.{name} as table stax.{name} with no data")
    connection.commit()


def measure(url: str, pages: Sequence[Page]) -> Iterator[tuple[str, Spent, int]]:
    """Each step of the floor, what it cost, and how many pages or rows it was about."""
    engine = sa.create_engine(logins(read_settings()).admin)
    connection = engine.raw_connection().driver_connection
    assert connection
    server = Session(connection)
    plain_tables(connection)
    tables = {name: rows_of(connection, name) for name in FACTS}
    with spending(server) as spent:
        bodies = asyncio.run(fetch(url, pages))
    yield "request", spent, len(pages)
    for number in {page.path: number for number, page in enumerate(pages)}.values():
        decode(pages[number], bodies[number])  # what libraries load at their first use is no work
    with spending(server) as spent:
        found = [table for page, body in zip(pages, bodies, strict=True) if (table := decode(page, body)) is not None]
    yield "decode into Arrow", spent, sum(table.num_rows for table in found)
    written = sum(table.num_rows for table in tables.values())
    with spending(server) as spent:
        write_parquet(tables)
    yield "Parquet", spent, written
    with spending(server) as spent:
        copy(connection, tables)
    yield "COPY", spent, written
    connection.cursor().execute("drop schema floor cascade")
    connection.commit()


def main() -> None:
    asked = json.load(sys.stdin)
    pages = [Page(path, tuple(map(tuple, params)), headers) for path, params, headers in asked["pages"]]
    steps = {
        step: {"client": spent.client, "server": spent.server, "wall": spent.wall, "number": number}
        for step, spent, number in measure(asked["url"], pages)
    }
    print(json.dumps(steps))


if __name__ == "__main__":
    main()
