"""A secret that must show up nowhere, and the search for it in everything that was written.

Twelve characters in a row of the secret count as the secret, in clear or in any of `FORMS`. Files are read through
their compression (zstd, gzip, Parquet), database values through zlib; a plain SQL dump is what COPY writes of every
table. What stays out: provoking the leaks (`test_canary_story`), proving the search (`test_canary`).
"""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

import psutil
import psycopg2
import pyarrow.parquet as pq
import zstandard

RUN = 12  # so many characters in a row of the secret part are the secret
BLOCK = RUN // 2  # every such run holds a whole block that begins at a multiple of this
PREFIX = "sk-ant-admin01-"
CHUNK = 1 << 20
_EXPANSION = 6  # bytes a character takes in the longest form, \u0041
OVERLAP = RUN * _EXPANSION


def _each(write: str) -> Callable[[bytes], bytes]:
    return lambda piece: "".join(write.format(byte) for byte in piece).encode()


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "clear": bytes,
    "reversed": lambda piece: piece[::-1],
    "hex": _each("{:02x}"),
    "HEX": _each("{:02X}"),
    "percent": _each("%{:02x}"),
    "PERCENT": _each("%{:02X}"),
    "backslash x": _each("\\x{:02x}"),
    "backslash u": _each("\\u{:04x}"),
    "character references": _each("&#{};"),
    "UTF-16": lambda piece: piece.decode().encode("utf-16-le"),
}
ALPHABETS: dict[str, Callable[[bytes], bytes]] = {
    "base64": base64.b64encode,
    "base64 for URLs": base64.urlsafe_b64encode,
}


class Hit(NamedTuple):
    """Where the secret was found, and in which form."""

    place: str
    form: str


class _Form(NamedTuple):
    """How the secret looks in one form: few short blocks to look for first, and every run of twelve."""

    name: str
    blocks: tuple[bytes, ...]
    runs: tuple[bytes, ...]

    def is_in(self, data: bytes) -> bool:
        return any(block in data for block in self.blocks) and any(run in data for run in self.runs)


class Canary:
    """One secret and where it was found. Only the part behind `sk-ant-admin01-` counts: the rest is no secret.

    `only` leaves out all forms but one, for places too large to be searched for all of them.
    """

    def __init__(self, secret: str, only: str = "") -> None:
        self.secret = secret
        self._only = only
        self._part = secret.removeprefix(PREFIX).encode()
        assert len(self._part) >= 3 * RUN, "too short to tell from chance"

    @cached_property
    def _forms(self) -> list[_Form]:
        part = self._part
        runs = [part[at : at + RUN] for at in range(len(part) - RUN + 1)]
        blocks = [part[at : at + BLOCK] for at in range(0, len(part) - BLOCK + 1, BLOCK)]
        found = [_Form(name, tuple(map(write, blocks)), tuple(map(write, runs))) for name, write in FORMS.items()]
        # base64 shifts with the place: of a run, three whole triples stand in it unchanged, whatever their shift
        pairs = [part[at : at + BLOCK] for at in range(len(part) - BLOCK + 1) if at % BLOCK < BLOCK // 2]
        triples = [run[shift : shift + 9] for run in runs for shift in range(3)]
        for name, encode in ALPHABETS.items():
            found.append(_Form(name, tuple(map(encode, pairs)), tuple(map(encode, triples))))
        return [form for form in found if self._only in ("", form.name)]

    def forms_in(self, data: bytes) -> list[str]:
        return [form.name for form in self._forms if form.is_in(data)]

    def in_bytes(self, place: str, data: bytes) -> list[Hit]:
        return [Hit(place, form) for form in self.forms_in(data)]

    def in_text(self, place: str, text: object) -> list[Hit]:
        return self.in_bytes(place, str(text).encode("utf-8", "surrogatepass"))

    def in_stream(self, place: str, chunks: Iterable[bytes]) -> list[Hit]:
        """Each form once, also where it lies across the border of two chunks."""
        found: dict[Hit, None] = {}
        before = b""
        for chunk in chunks:
            found |= dict.fromkeys(self.in_bytes(place, before + chunk))
            before = (before + chunk)[-OVERLAP:]
        return list(found)

    def in_file(self, path: Path, chunk: int = CHUNK) -> list[Hit]:
        """The file as it is, and what is packed in it."""
        found = self.in_text(f"name of {path}", path)
        with path.open("rb") as file:
            found += self.in_stream(str(path), _chunks(file, chunk))
        with path.open("rb") as file:
            found += self.in_stream(f"{path}, unpacked", _unpacked_file(path, file, chunk))
        return found

    def in_tree(self, root: Path, *but: Path) -> list[Hit]:
        """Every file below `root` except those in `but`; files that vanish meanwhile are the database's own."""
        found: list[Hit] = []
        for path in sorted(root.rglob("*")):
            if path.is_symlink() or not path.is_file() or any(path.is_relative_to(other) for other in but):
                continue
            try:
                found += self.in_file(path)
            except FileNotFoundError:
                continue
        return found

    def in_database(self, url: str) -> list[Hit]:
        """A plain SQL dump of every table, each binary value unpacked, and the statements the server remembers."""
        found: list[Hit] = []
        connection = psycopg2.connect(url.replace("postgresql+psycopg2", "postgresql"))
        try:
            with connection.cursor() as cursor:
                for table, binary in _tables(cursor):
                    dump = BytesIO()
                    cursor.copy_expert(f"copy {table} to stdout", dump)
                    found += self.in_bytes(table, dump.getvalue())
                    for column in binary:
                        cursor.execute(f"select {column} from {table} where {column} is not null")
                        values = [bytes(value) for (value,) in cursor]
                        found += self.in_stream(f"{table}.{column}", (b"".join(_unpacked(value)) for value in values))
                cursor.execute("select query from pg_stat_activity")
                found += self.in_text("pg_stat_activity", cursor.fetchall())
        finally:
            connection.close()
        return found

    def in_shown(self, shown: Shown) -> list[Hit]:
        return [hit for place, data in shown.content.items() for hit in self.in_bytes(place, data)]


class Shown(NamedTuple):
    """Command lines and environments of processes, and which of these were `read`; `closed` are those that the kernel
    shows to nobody but root, since they keep their memory private or are another account's.
    """

    content: dict[str, bytes]
    read: frozenset[int]
    closed: frozenset[int]

    def of(self, words: str) -> frozenset[int]:
        """Those whose command line holds the words, and whose environment was read or is closed."""
        lines = {pid: self.content.get(f"cmdline of process {pid}", b"") for pid in self.read | self.closed}
        return frozenset(pid for pid, line in lines.items() if words.encode() in line)


def shown(processes: Iterable[psutil.Process]) -> Shown:
    """What the kernel shows of them now; those that ended are passed over."""
    content: dict[str, bytes] = {}
    read, closed = set(), set()
    for process in processes:
        try:
            line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            environ = Path(f"/proc/{process.pid}/environ").read_bytes()
        except PermissionError:
            content[f"cmdline of process {process.pid}"] = line
            closed.add(process.pid)
            continue
        except (FileNotFoundError, ProcessLookupError):
            continue
        if environ:  # a process that ended and was not waited for has none
            content |= {f"cmdline of process {process.pid}": line, f"environ of process {process.pid}": environ}
            read.add(process.pid)
    return Shown(content, frozenset(read), frozenset(closed))


def _chunks(file: IO[bytes], size: int) -> Iterator[bytes]:
    return iter(lambda: file.read(size), b"")


def _unpacked_file(path: Path, file: IO[bytes], size: int) -> Iterator[bytes]:
    magic = file.read(4)
    file.seek(0)
    if magic == b"\x28\xb5\x2f\xfd":
        yield from _chunks(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True), size)
    elif magic[:2] == b"\x1f\x8b":
        with gzip.open(file) as unpacked:
            yield from _chunks(unpacked, size)  # type: ignore[arg-type]
    elif magic == b"PAR1":
        table = pq.read_table(path, partitioning=None)
        yield str(table.schema).encode()
        for column in table.columns:
            yield "\n".join(map(str, column.to_pylist())).encode()


def _unpacked(value: bytes) -> Iterator[bytes]:
    """A database value and what is packed in it: Dagster keeps snapshots under zlib."""
    yield value
    try:
        yield zlib.decompress(value)
    except zlib.error:
        return


def _tables(cursor: psycopg2.extensions.cursor) -> list[tuple[str, list[str]]]:
    """Every table that is not Postgres's own, quoted, with its binary columns."""
    cursor.execute(
        "select format('%I.%I', table_schema, table_name), "
        "coalesce(array_agg(format('%I', column_name)::text) filter (where data_type = 'bytea'), '{}') "
        "from information_schema.columns join information_schema.tables using (table_schema, table_name) "
        "where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema') group by 1"
    )
    return list(cursor.fetchall())
