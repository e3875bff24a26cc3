"""The searcher finds what is planted, in every form and place, and nothing where nothing is."""

from __future__ import annotations

import base64
import gzip
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import psutil
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline.installation.settings import read_settings
from stax_pipeline.simulator.organization import admin_key
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.canary import FORMS, PREFIX, RUN, Canary, Shown, shown

CANARY = Canary(admin_key("canary", "of the searcher's tests"))
PART = CANARY.secret.removeprefix(PREFIX).encode()
places = st.integers(0, len(PART) - RUN)
around = st.binary(max_size=40)


@settings(deadline=None, max_examples=60)
@given(around, places, around, st.sampled_from(sorted(FORMS)))
def test_twelve_characters_in_a_row_are_found_in_every_form(before: bytes, at: int, after: bytes, form: str) -> None:
    planted = before + FORMS[form](PART[at : at + RUN]) + after
    assert form in CANARY.forms_in(planted)


@settings(deadline=None, max_examples=60)
@given(around, places, around, st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]))
def test_base64_is_found_wherever_in_the_encoded_text_the_run_begins(
    before: bytes, at: int, after: bytes, encode: object
) -> None:
    encoded = encode(before + PART[at : at + RUN] + after)  # type: ignore[operator]
    assert {"base64", "base64 for URLs"} & set(CANARY.forms_in(encoded))


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300))
def test_nothing_is_found_where_nothing_is(data: bytes) -> None:
    assert CANARY.forms_in(data) == []
    assert CANARY.forms_in(PREFIX.encode() + data.hex().encode() + base64.b64encode(data)) == []


def test_eleven_characters_and_another_key_are_no_hit() -> None:
    assert CANARY.forms_in(b"".join(PART[at : at + RUN - 1] + b"." for at in range(len(PART)))) == []
    assert CANARY.forms_in(admin_key("another").encode()) == []


@pytest.mark.parametrize("chunk", [1, 5, 12, 13, 64, 1000])
def test_the_border_of_two_chunks_hides_nothing(tmp_path: Path, chunk: int) -> None:
    for name, write in FORMS.items():
        path = tmp_path / "planted"
        path.write_bytes(b"x" * 61 + write(PART[5 : 5 + RUN]) + b"y" * 61)
        assert name in {hit.form for hit in CANARY.in_file(path, chunk)}


def test_files_are_read_through_their_compression(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(zstandard.compress(b"header\n") + zstandard.compress(b"z" * 5000 + PART))
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"g" * 5000 + PART))
    pq.write_table(pa.table({"note": ["", "p" * 5000 + PART.decode()]}), tmp_path / "c.parquet", compression="zstd")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "plain").write_bytes(PART.hex().encode())
    (tmp_path / "clean").write_bytes(b"nothing here")
    (tmp_path / PART[:RUN].decode()).touch()
    places = {hit.place.removeprefix(f"{tmp_path}/").split(",")[0] for hit in CANARY.in_tree(tmp_path)}
    named = f"name of {tmp_path}/{PART[:RUN].decode()}"
    assert places == {"a.zst", "b.gz", "c.parquet", "deep/plain", named}
    assert CANARY.in_tree(tmp_path / "deep", tmp_path / "deep" / "plain") == []


def test_a_database_is_read_through_its_columns(stax_home: Path) -> None:
    url = logins(read_settings({"STAX_HOME": str(stax_home)})).admin
    connection = psycopg2.connect(url.replace("postgresql+psycopg2", "postgresql"))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("create schema planted; create table planted.t (words text, packed bytea, odd jsonb)")
            assert CANARY.in_database(url) == []
            for row in (
                (f"x {PART.decode()}", None, None),
                (None, base64.b64encode(PART), None),
                (None, zlib.compress(PART * 3), None),
                (None, None, f'{{"deep": ["{PART.decode()}"]}}'),
            ):
                cursor.execute("truncate planted.t")
                cursor.execute("insert into planted.t values (%s, %s, %s)", row)
                assert any(hit.place.startswith("planted.t") for hit in CANARY.in_database(url)), row
    finally:
        connection.cursor().execute("drop schema if exists planted cascade")
        connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_process_is_read_by_its_command_line_and_environment() -> None:
    for arguments, environment in (([PART.decode()], {}), ([], {"KEY": PART.decode()})):
        command = [sys.executable, "-c", "input(1)", *arguments]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **environment}
        ) as child:
            assert child.stdout and child.stdout.read(1) == b"1"  # before, the kernel may show nothing of it yet
            found = shown([psutil.Process(child.pid)])
            assert [hit.form for hit in CANARY.in_shown(found)] == ["clear"]
            assert (found.read, found.closed, found.of("input(1)")) == ({child.pid}, set(), {child.pid})
            child.communicate(b"\n")
    assert CANARY.in_shown(shown([psutil.Process()])) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_process_that_ended_or_is_closed_counts_as_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        ended = psutil.Process(child.pid)
        while ended.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert shown([ended]) == Shown({}, frozenset(), frozenset())
    assert shown([ended]) == Shown({}, frozenset(), frozenset())

    def refuse(path: Path) -> bytes:
        if path.name == "environ":
            raise PermissionError
        return b"python"

    monkeypatch.setattr(Path, "read_bytes", refuse)
    found = shown([psutil.Process()])
    assert (found.read, found.closed, found.of("python")) == (set(), {os.getpid()}, {os.getpid()})
