"""The streams of a command: they repeat no key that an argument may hold, and nothing that a terminal would obey.

Text is for people and always shown plain. Bytes are data, such as CSV: to a file they go as they are. Stays out: what
may be a key (`domain.pasted_key`), what a terminal obeys (`domain.plain_text`).
"""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cached_property
from typing import Any, cast

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.pasted_key import Redaction, redactions_of
from stax_pipeline.domain.plain_text import plain

LINES = "\n\t"
_COLOUR = re.compile("\x1b\\[[0-9;]*m")  # Dagster's log at a terminal


@contextmanager
def guarded_streams(arguments: Sequence[str]) -> Iterator[None]:
    """While the block runs, both streams show text plain, without what of the arguments may be a key.

    An id that a query names may be data of its answer too: from that only what surely is a key is kept.
    """
    found = [redaction for argument in arguments for redaction in redactions_of(argument)]
    in_answers = [redaction for redaction in found if redaction.is_sure or arguments[0] != "sql"]
    out, error = GuardedText(sys.stdout, in_answers), GuardedText(sys.stderr, found)
    with redirect_stdout(cast(Any, out)), redirect_stderr(cast(Any, error)):
        yield


def refuse_keys(arguments: Sequence[str]) -> None:
    """Raise WrongUse where an argument surely holds a key: it could become the name of a file, or of a process."""
    if any(redaction.is_sure for argument in arguments for redaction in redactions_of(argument)):
        raise WrongUse(
            "An argument holds a key; nothing was done. `stax connect SLUG` and `stax rotate-key SLUG` ask for a key. "
            "Revoke this one: arguments stay in the shell's history."
        )


class _Guarded:
    """A stream that is given less than it is told; else the stream itself."""

    def __init__(self, stream: Any, redactions: Sequence[Redaction]) -> None:
        self._stream = stream
        self._redactions = redactions

    def _without_keys(self, text: str) -> str:
        for one in self._redactions:
            text = one.redact(text)
        return text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class GuardedText(_Guarded):
    """Text, shown plain; the bytes below it are guarded too."""

    def write(self, text: str) -> int:
        self._stream.write(plain(self._without_keys(_COLOUR.sub("", text)), keep=LINES))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    @cached_property
    def buffer(self) -> GuardedBytes:
        return GuardedBytes(self._stream.buffer, self._redactions)


class GuardedBytes(_Guarded):
    """Bytes, shown plain at a terminal alone."""

    def __init__(self, stream: Any, redactions: Sequence[Redaction]) -> None:
        super().__init__(stream, redactions)
        self._is_terminal = stream.isatty()
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def write(self, data: bytes) -> int:
        if self._is_terminal:
            cleaned = plain(self._without_keys(self._decoder.decode(bytes(data))), keep=LINES)
        elif self._redactions:
            cleaned = self._without_keys(bytes(data).decode("utf-8", "surrogateescape"))
        else:
            return int(self._stream.write(data))
        self._stream.write(cleaned.encode("utf-8", "surrogateescape"))
        return len(data)
