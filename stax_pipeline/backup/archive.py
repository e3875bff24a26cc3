"""The file of a backup: a tar archive in one zstd frame, every member with its SHA-256, a list of all of them last.

`tar --zstd -tf FILE` reads it: `stax-backup.json` (what it is), `postgres/<table>.copy` (Postgres' own text form),
`raw/…` (objects of the lake as they were) and `manifest.jsonl`. After the frame stands the SHA-256 of all before it, in
a frame that zstd programs skip: a file that was cut or changed anywhere is known before anything of it is used.
Stays out: what goes in and where it goes back to.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import secrets
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import pyarrow as pa
import zstandard

from stax_pipeline.backup.streams import CHUNK, LARGEST_HEADER, SEAL, Hashed, Rationed, Sealing, Unfolds
from stax_pipeline.domain.errors import CannotStart, WrongUse

FORMAT = 1
HEAD, MANIFEST = "stax-backup.json", "manifest.jsonl"
_NAME = re.compile(r"(?:postgres/[a-z_][a-z0-9_]*\.copy|raw/[A-Za-z0-9_=/.-]+)")
_HASH = "comment"  # the header of a member that tar programs keep and pass over
_LARGEST_HEAD, _LONGEST_LINE = 1 << 20, 1 << 16  # bytes; ours have far fewer
_MOST_UNFOLDED = 100  # times the archive's size, all of it together: rows unfold ten- to thirtyfold
_ALWAYS_UNFOLDED = 1 << 24  # bytes
_BYTES_A_FILE, _ALWAYS_FILES = 32, 1_000  # a file that is listed has a hash, which does not fold
_TOO_MANY = "it lists more files than a backup of its size does"
_DAMAGED = (
    tarfile.TarError, pa.ArrowException, EOFError, ValueError, TypeError, KeyError, OSError, RecursionError
)  # fmt: skip


class BackupRefused(WrongUse):
    """The file is no backup, was cut or changed, or cannot be used here; nothing was changed."""


class Member(NamedTuple):
    """One file of the archive; `content` is to be read before the next one is asked for, and has `sha256` or is bad."""

    name: str
    sha256: str
    content: IO[bytes]


class Entry(NamedTuple):
    """A line of the manifest. `absent` says why the archive holds no such file; '' when it does. `rows` of a table."""

    name: str
    sha256: str
    size: int
    absent: str = ""
    rows: int | None = None


def is_usable_name(name: str) -> bool:
    """Whether a member may be called so: nothing else is ever taken out of an archive, wherever it points."""
    return bool(_NAME.fullmatch(name)) and not {"", ".", ".."} & set(name.split("/"))


class ArchiveWriter:
    """Adds members to an archive; `close` writes manifest and seal, without which it counts for nothing."""

    def __init__(self, out: IO[bytes], scratch: Path) -> None:
        self._out = Sealing(out)
        compressor = zstandard.ZstdCompressor(level=6, write_checksum=True)
        self._frame = compressor.stream_writer(cast(IO[bytes], self._out), closefd=False)
        self._tar = tarfile.open(fileobj=self._frame, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._manifest = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115

    def head(self, words: dict[str, Any]) -> None:
        """Write what the archive is; to be called first."""
        self.add(HEAD, io.BytesIO(_json({"format": FORMAT, **words})))

    def add(self, name: str, content: IO[bytes], rows: int | None = None) -> Entry:
        """Add a whole seekable file from its beginning; read twice, for its hash and for itself."""
        content.seek(0)
        digest = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
        entry = Entry(name, digest, content.seek(0, os.SEEK_END), rows=rows)
        content.seek(0)
        self._write(entry, content)
        self._note(entry)
        return entry

    def note_absent(self, entry: Entry) -> None:
        """List a file that belongs to the backup and is not in it."""
        self._note(entry)

    def close(self) -> None:
        """Write the manifest, end the frame and seal the file."""
        size = self._manifest.tell()
        self._manifest.seek(0)
        digest = hashlib.file_digest(self._manifest, "sha256").hexdigest()
        self._manifest.seek(0)
        self._write(Entry(MANIFEST, digest, size), self._manifest)
        self._tar.close()
        self._frame.close()  # type: ignore[no-untyped-call]
        self._out.seal()

    def _write(self, entry: Entry, content: IO[bytes]) -> None:
        made = tarfile.TarInfo(entry.name)
        made.size, made.mode = entry.size, 0o600
        made.pax_headers = {_HASH: entry.sha256}
        self._tar.addfile(made, content)

    def _note(self, entry: Entry) -> None:
        self._manifest.write(_json(entry._asdict()))


@contextmanager
def written_whole(path: Path) -> Iterator[ArchiveWriter]:
    """An archive that appears under `path`, mode 0600, when the block ended well, and not at all otherwise.

    Raises WrongUse when something lies there already, CannotStart when it cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise WrongUse(f"{path} exists already, and a backup never replaces anything: name another file.")
    if not path.parent.is_dir():
        raise WrongUse(f"{path} cannot be written: there is no folder {path.parent}.")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            writer = ArchiveWriter(out, path.parent)
            yield writer
            writer.close()
            out.flush()
            os.fsync(out.fileno())
        _appear(temporary, path)
        _sync_folder(path.parent)
    except FileExistsError:
        raise WrongUse(
            f"{path} appeared while the backup was written, and nothing was replaced: name another file."
        ) from None
    except OSError as fault:
        raise CannotStart(f"The backup {path} cannot be written: {fault.strerror or fault}.") from None
    finally:
        temporary.unlink(missing_ok=True)


def _appear(temporary: Path, path: Path) -> None:
    """Give the file its name without replacing what may have appeared there. Raises FileExistsError."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links (FAT, some of the network's): the empty file that is replaced is ours
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        temporary.rename(path)


class ArchiveReader:
    """An archive of ours, read from its beginning as often as needed. Every fault in it raises BackupRefused.

    `words` are those of its head, `rows` by member and `absent` those of its manifest, once it was read to its end.
    """

    def __init__(self, file: io.BufferedReader, name: str) -> None:
        self._file, self._name = file, name
        self.words: dict[str, Any] = {}
        self.absent: list[Entry] = []
        self.rows: dict[str, int] = {}

    def members(self) -> Iterator[Member]:
        """The members between head and manifest, each one's hash proven after it was read, the whole at the end."""
        again = os.fdopen(os.dup(self._file.fileno()), "rb")
        again.seek(0)
        try:
            with pa.PythonFile(again, mode="r") as file, pa.CompressedInputStream(file, "zstd") as frame:
                yield from self._read(frame)
        except Unfolds:
            raise self._refused("it unfolds to much more than a backup does") from None
        except _DAMAGED as fault:
            raise self._refused(f"it is cut or damaged ({type(fault).__name__})") from None

    def prove(self) -> None:
        """Read it to its end, to be sure of all of it."""
        self._prove_seal()
        for _ in self.members():
            pass

    def _prove_seal(self) -> None:
        left = max(self._file.seek(0, os.SEEK_END) - len(SEAL) - 32, 0)
        digest = hashlib.sha256()
        self._file.seek(0)
        while left and (piece := self._file.read(min(left, CHUNK))):
            digest.update(piece)
            left -= len(piece)
        if self._file.read() != SEAL + digest.digest():
            raise self._refused("it is cut, damaged or something else")

    def _read(self, frame: pa.NativeFile) -> Iterator[Member]:
        seen, held = hashlib.sha256(), ""
        size = os.fstat(self._file.fileno()).st_size
        most, most_files = _ALWAYS_UNFOLDED + _MOST_UNFOLDED * size, _ALWAYS_FILES + size // _BYTES_A_FILE
        listed: str | None = None
        source = Rationed(frame, most)
        with tarfile.open(fileobj=cast(IO[bytes], source), mode="r|") as tar:
            for number, info in enumerate(tar):
                tar.members = []  # type: ignore[attr-defined] # it would keep them all
                source.left = math.inf
                if listed is not None or not info.isfile() or (number == 0) is not (info.name == HEAD):
                    raise self._refused("it holds something else than a backup does")
                if info.size > source.rest:
                    raise Unfolds
                if number >= most_files:
                    raise self._refused(_TOO_MANY)
                hashed = Hashed(tar, info)
                content = io.BufferedReader(hashed)
                if info.name == HEAD:
                    self.words = self._head(content.read(_LARGEST_HEAD + 1))
                elif info.name == MANIFEST:
                    listed = self._manifest(content, most_files)
                else:
                    if not is_usable_name(info.name):
                        raise self._refused("it holds a file whose name no backup has")
                    yield Member(info.name, info.pax_headers[_HASH], content)
                if hashed.finish() != info.pax_headers[_HASH]:
                    raise self._refused(f"{info.name} does not have its recorded hash")
                seen.update(_tie(Entry(info.name, info.pax_headers[_HASH], info.size)))
                if listed is None:
                    held = seen.hexdigest()
                source.left = LARGEST_HEADER
        source.left = math.inf
        while source.read(CHUNK):
            pass
        if listed is None or listed != held:
            raise self._refused("it is cut, or does not hold what its manifest lists")

    def _head(self, text: bytes) -> dict[str, Any]:
        if len(text) > _LARGEST_HEAD:
            raise self._refused("its head is too large")
        words = dict(json.loads(text))
        if words["format"] != FORMAT:
            raise self._refused(f"its format is {words['format']}, and this version reads {FORMAT}")
        return words

    def _manifest(self, content: IO[bytes], most_files: int) -> str:
        """The digest over what the manifest says the archive holds; what it says to be absent is kept."""
        digest = hashlib.sha256()
        absent: dict[str, Entry] = {}
        for number, line in enumerate(iter(lambda: content.readline(_LONGEST_LINE), b"")):
            if number >= most_files:
                raise self._refused(_TOO_MANY)
            entry = _entry(line)
            if entry.rows is not None:
                self.rows[entry.name] = entry.rows
            if not entry.absent:
                digest.update(_tie(entry))
            elif entry.name in absent:
                raise self._refused("its manifest lists a file twice")
            else:
                absent[entry.name] = entry
        self.absent = list(absent.values())
        return digest.hexdigest()

    def _refused(self, why: str) -> BackupRefused:
        return BackupRefused(f"{self._name} is not a usable backup: {why}. Nothing was changed.")


def _entry(line: bytes) -> Entry:
    """A line of the manifest. Raises TypeError, ValueError."""
    entry = Entry(**json.loads(line))
    of_text = (entry.name, entry.sha256, entry.absent)
    if not all(isinstance(one, str) for one in of_text) or not isinstance(entry.rows, int | None):
        raise TypeError
    if entry.absent and not (is_usable_name(entry.name) and entry.absent.isprintable()):
        raise ValueError
    return entry


def _tie(entry: Entry) -> bytes:
    return f"{entry.name}\0{entry.sha256}\0{entry.size}\n".encode()


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n").encode()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
