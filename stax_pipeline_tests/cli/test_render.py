"""Tables and sentences at a terminal: no wider than it is, with every figure in full; anywhere else a line per row."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TextIO
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.cli.render import fitted, table
from stax_pipeline.cli.summary import Dollars, Sum, summary_table
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.warehouse.tenants import add_tenant
from stax_pipeline_tests.cli.support import Stax
from stax_pipeline_tests.warehouse.views.conftest import Warehouse

HEADINGS = ("tenant", "tokens")
END = "<the end>"
MUCH = Decimal("1234567890.12")
SUM = Sum("acme", 30, 12345, Decimal(98765432109), datetime(2026, 11, 22, tzinfo=UTC), Dollars(*[MUCH] * 5))


@contextmanager
def terminal(columns: int) -> Iterator[tuple[TextIO, int]]:
    """What a command writes to and the end that shows it, of a terminal that is `columns` wide."""
    shown, written = os.openpty()
    fcntl.ioctl(written, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        with os.fdopen(written, "w") as stream:
            yield stream, shown
    finally:
        os.close(shown)


def _read_to(end: str, shown: int) -> str:
    """All that the terminal shows before `end`: while nobody reads, a writer waits."""
    text = b""
    while end.encode() not in text:
        text += os.read(shown, 65536)
    return text.decode().partition(end)[0]


def _at_eighty_columns(stax: Stax, monkeypatch: pytest.MonkeyPatch, command: str) -> list[str]:
    with terminal(80) as (stream, shown), ThreadPoolExecutor(1) as pool, monkeypatch.context() as patched:
        read = pool.submit(_read_to, END, shown)
        patched.setattr(sys, "stdout", stream)
        stax(*command.split())
        print(END, file=stream, flush=True)
        return read.result().splitlines()


def test_a_table_that_fits_the_terminal_stays_a_table() -> None:
    fits = "tenant  tokens\n------  ------\nacme         7"
    with terminal(14) as (stream, _):
        assert table(HEADINGS, [("acme", "7")], right=("tokens",), out=stream) == fits
    with terminal(13) as (stream, _):
        assert table(HEADINGS, [("acme", "7")], right=("tokens",), out=stream) == "tenant: acme\ntokens: 7"


def test_rows_of_a_wider_table_stand_apart() -> None:
    with terminal(12) as (stream, _):
        shown = table(HEADINGS, [("acme", "7"), ("globex", "")], out=stream)
    assert shown == "tenant: acme\ntokens: 7\n\ntenant: globex\ntokens:"


def test_a_terminal_that_does_not_tell_its_width_gets_the_table() -> None:
    with terminal(0) as (stream, _):
        assert table(HEADINGS, [("acme", "7")], out=stream).startswith("tenant  tokens\n")


def test_a_long_sentence_is_broken_between_words_and_a_long_word_is_kept() -> None:
    note = "the cost of this day has not arrived"
    with terminal(24) as (stream, _):
        shown = table(("day", "note"), [("2026-11-20", note), ("1" * 30, "")], out=stream)
    assert shown.splitlines()[1:4] == ["note: the cost of this", "      day has not", "      arrived"]
    assert "1" * 30 in shown


def test_sentences_are_broken_between_words_below_their_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "acme: late since yesterday\n  What to do: wait a day\n  | one two three four five"
    assert fitted(told) == told
    with terminal(20) as (stream, _), monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        shown = fitted(told).splitlines()
    assert shown == [
        "acme: late since",
        "yesterday",
        "  What to do: wait a",
        "  day",
        "  | one two three",
        "  | four five",
    ]


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_no_figure_is_cut_at_any_width(figures: list[Decimal]) -> None:
    cells = [f"{figure:,}" for figure in figures]
    with terminal(10) as (stream, _):
        shown = table([f"c{n}" for n in range(len(cells))], [cells], out=stream)
    assert [word for word in shown.split() if word in cells] == cells


def test_a_summary_fits_eighty_columns_of_a_terminal_and_is_a_table_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "piped").open("w") as piped:
        monkeypatch.setattr(sys, "stdout", piped)
        assert len(summary_table([SUM]).splitlines()[0]) > 80
    with terminal(80) as (stream, _):
        monkeypatch.setattr(sys, "stdout", stream)
        shown = summary_table([SUM]).splitlines()
        monkeypatch.undo()
    assert max(map(len, shown)) <= 80
    assert "billed $:                 1,234,567,890.12" in shown
    assert "tokens:                   98,765,432,109" in shown


@pytest.mark.parametrize("command", ["commitments", "status", "prices", "prices check"])
def test_commands_fit_eighty_columns(
    stax: Stax, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    first = date(2026, 10, 1)
    tenant = Tenant(uuid4(), "a-tenant-with-a-long-name", "A", "org-a", "connected", datetime.now(UTC), None)
    with engine.begin() as connection:
        add_tenant(connection, tenant)
        Warehouse(connection, tenant.tenant_id).add(
            "commitments", commitment_id="a-commitment-with-a-long-name", model="claude-opus-4-8", fee_usd="1234567.89",
            input_tokens_per_minute=100_000, output_tokens_per_minute=10_000, starts_on=first,
            ends_on=first + timedelta(days=90),
        )  # fmt: skip
    piped = stax(*command.split()).out
    lines = _at_eighty_columns(stax, monkeypatch, command)
    assert max(map(len, lines)) <= 80
    assert max(map(len, piped.splitlines())) > 80
    if command == "commitments":
        assert "fee $:       1,234,567.89" in lines


def test_an_open_alert_fits_eighty_columns(stax: Stax, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine.begin() as connection:
        add_tenant(connection, Tenant(uuid4(), "acme", "Acme", "org", "key_rejected", datetime.now(UTC), None))
    lines = _at_eighty_columns(stax, monkeypatch, "alerts check")
    assert lines[0].startswith("acme: key_rejected, open since")
    assert max(map(len, lines)) <= 80
    assert max(map(len, stax("alerts", "check").out.splitlines())) > 80
