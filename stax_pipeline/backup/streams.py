"""What a backup's bytes pass through: sealed while they are written, rationed and hashed while they are read.

Stays out: what they mean (`backup.archive`).
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import IO, Any

import pyarrow as pa

CHUNK = 1 << 20
LARGEST_HEADER = 1 << 18  # bytes; ours have a few hundred
SEAL = (0x184D2A50).to_bytes(4, "little") + (32).to_bytes(
    4, "little"
)  # a skippable frame of 32 bytes (RFC 8878, 3.1.2)


class Unfolds(Exception):
    """A frame holds more than it may."""


class Rationed:
    """A frame of which `rest` bytes may be read at all, and `left` before the next member: tarfile keeps in memory what
    comes before one.
    """

    def __init__(self, frame: pa.NativeFile, rest: int) -> None:
        self._frame, self.rest = frame, rest
        self.left: float = LARGEST_HEADER

    def read(self, size: int) -> bytes:
        piece: bytes = self._frame.read(size)
        self.left -= len(piece)
        self.rest -= len(piece)
        if self.left < 0:
            raise tarfile.ReadError("a header is too large")
        if self.rest < 0:
            raise Unfolds
        return piece


class Sealing:
    """Passes bytes on to a file and ends them with their hash."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self._digest = out, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._out.write(data)

    def seal(self) -> None:
        self._out.write(SEAL + self._digest.digest())


class Hashed(io.RawIOBase):
    """A member's content, hashed while it is read."""

    def __init__(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        found = tar.extractfile(info)
        assert found is not None
        self._found, self._digest = found, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._found.read(len(buffer))
        buffer[: len(piece)] = piece
        self._digest.update(piece)
        return len(piece)

    def finish(self) -> str:
        """The hash of all of it, what was not asked for included."""
        while piece := self._found.read(CHUNK):
            self._digest.update(piece)
        return self._digest.hexdigest()
