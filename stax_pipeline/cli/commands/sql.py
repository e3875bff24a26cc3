"""`stax sql`: one query as the analyst. The role can read only, and the session says so too."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from stax_pipeline.domain.plurals import count_of
from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

SECONDS = 60
ROWS_AT_A_TIME = 5000
# Opening a cursor runs nothing; it takes one statement alone, and only one that returns rows.
ONE_QUERY = "do $$ declare q refcursor; begin open q for execute current_setting('stax.query'); close q; end $$"
# As a statement: options of the connection's start do not survive a pooler.
SESSION = f"set default_transaction_read_only = on; set statement_timeout = '{SECONDS}s'"


@click.command()
@click.argument("query")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
def sql(query: str, form: str) -> None:
    """Run QUERY, one statement that reads, as the analyst.

    JSON keeps numeric values as text, so that no digit is lost.
    """
    from stax_pipeline.cli.database import reading

    settings = read_settings()
    with reading(settings):
        _run(settings, query, form)


def _run(settings: Settings, query: str, form: str) -> None:
    import psycopg2

    from stax_pipeline.cli.database_urls import analyst_url
    from stax_pipeline.domain.errors import CannotStart, StaxError, WrongUse
    from stax_pipeline.warehouse.engine import SEARCH_PATH, search_in

    ended: StaxError
    try:
        connection = psycopg2.connect(analyst_url(settings), connect_timeout=10)
        try:
            search_in(SEARCH_PATH, connection)
            with connection, connection.cursor() as cursor:
                cursor.execute(SESSION)
            with connection.cursor() as cursor:
                cursor.execute("select set_config('stax.query', %s, false)", (query,))
                cursor.execute(ONE_QUERY)
                cursor.execute(query)
                _print(cursor, form)
            return
        finally:
            connection.close()
    except psycopg2.errors.InvalidCursorDefinition:
        ended = WrongUse("Give one statement that reads, such as a select: found several, or one that returns no rows.")
    except psycopg2.Error as fault:
        of_server = isinstance(fault, psycopg2.OperationalError) and not isinstance(
            fault, psycopg2.errors.QueryCanceled
        )
        ended = (CannotStart if of_server else WrongUse)(f"the database refused the query: {_one_line(fault)}")
    raise ended


def _one_line(fault: Any) -> str:
    """What Postgres said; a value that it quotes may hold line breaks."""
    from stax_pipeline.domain.plain_text import plain

    said = fault.diag.message_primary or " ".join(str(fault).split())
    hint = f" (hint: {fault.diag.message_hint})" if fault.diag.message_hint else ""
    return plain(f"{said}{hint}")


def _print(cursor: Cursor, form: str) -> None:
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    if form == "csv":
        _print_csv(names, _rows(cursor))
    elif form == "json":
        _print_json(names, _rows(cursor))
    else:
        _print_table(names, list(_rows(cursor)))


def _rows(cursor: Cursor) -> Iterator[Sequence[Any]]:
    while rows := cursor.fetchmany(ROWS_AT_A_TIME):
        yield from rows


def _print_csv(names: list[str], rows: Iterator[Sequence[Any]]) -> None:
    from stax_pipeline.domain.csv_text import csv_line

    out = sys.stdout.buffer
    for row in chain([names], rows):
        out.write(csv_line(map(_cell, row)).encode("utf-8", "surrogateescape"))
    out.flush()


def _print_json(names: list[str], rows: Iterator[Sequence[Any]]) -> None:
    separator = "["
    for row in rows:
        click.echo(f"{separator}{json.dumps(dict(zip(names, map(_plain, row), strict=True)), ensure_ascii=False)}")
        separator = ","
    click.echo("]" if separator == "," else "[]")


def _print_table(names: list[str], rows: list[Sequence[Any]]) -> None:
    from stax_pipeline.cli.render import table

    numeric = [
        name
        for index, name in enumerate(names)
        if rows and all(isinstance(row[index], int | Decimal | None) for row in rows)
    ]
    click.echo(table(names, [[_text(value) for value in row] for row in rows], right=numeric))
    click.echo(f"({count_of(len(rows), 'row')})", err=True)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else _text(value)


def _cell(value: Any) -> str:
    """As CSV holds it: numbers as they are, everything else never as a formula."""
    from stax_pipeline.domain.csv_text import defused

    return _text(value) if isinstance(value, int | float | Decimal) else defused(_text(value))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
