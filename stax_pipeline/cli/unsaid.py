"""The streams of a command whose arguments may hold a key: nothing they are given repeats it, message or data.

Stays out: what may be a key (`domain.pasted_key`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from typing import Any, cast

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.pasted_key import Unsaid, unsaid_of


@contextmanager
def keys_unsaid(arguments: Sequence[str]) -> Iterator[None]:
    """While the block runs, neither stream repeats what of the arguments may be a key.

    An id that a query names may be data of its answer too: from that only what surely is a key is kept.
    """
    found = [unsaid for argument in arguments for unsaid in unsaid_of(argument)]
    if not found:
        yield
        return
    in_answers = [unsaid for unsaid in found if unsaid.is_sure or arguments[0] != "sql"]
    out = Guarded(sys.stdout, partial(_without, in_answers))
    error = Guarded(sys.stderr, partial(_without, found))
    with redirect_stdout(cast(Any, out)), redirect_stderr(cast(Any, error)):
        yield


def refuse_keys(arguments: Sequence[str]) -> None:
    """Raise WrongUse where an argument surely holds a key: it could become the name of a file, or of a process."""
    if any(unsaid.is_sure for argument in arguments for unsaid in unsaid_of(argument)):
        raise WrongUse(
            "An argument holds a key; nothing was done. `stax connect SLUG` and `stax rotate-key SLUG` ask for a key. "
            "Revoke this one: arguments stay in the shell's history."
        )


def _without(unsaid: Sequence[Unsaid], text: str) -> str:
    for one in unsaid:
        text = one.cut_from(text)
    return text


class Guarded:
    """A stream, and the bytes below it, that is given text only after `clean`; else the stream itself."""

    def __init__(self, stream: Any, clean: Callable[[str], str]) -> None:
        self._stream = stream
        self._clean = clean

    def write(self, text: str | bytes) -> int:
        if isinstance(text, str):
            self._stream.write(self._clean(text))
        else:
            told = self._clean(bytes(text).decode("utf-8", "surrogateescape"))
            self._stream.write(told.encode("utf-8", "surrogateescape"))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> Guarded:
        return Guarded(self._stream.buffer, self._clean)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
