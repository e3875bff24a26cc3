"""The command line as a person uses it, in this process: arguments in, what was printed and the exit code out."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import NamedTuple

import pytest

from stax_pipeline.cli.main import main


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


class Stax:
    """Calls `stax` with its real entry point, so that exit codes and messages are the real ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    def __call__(self, *arguments: str, typed: str = "", at_terminal: bool = False) -> Ended:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        umask = os.umask(0o022)
        os.umask(umask)
        self._capfd.readouterr()
        stdin = io.TextIOWrapper(io.BytesIO(typed.encode()))
        with self._monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["stax", *arguments])
            patched.setattr(stdin, "isatty", lambda: at_terminal)
            patched.setattr(sys, "stdin", stdin)
            patched.setattr(sys, "unraisablehook", sys.unraisablehook)  # `main` sets its own
            with pytest.raises(SystemExit) as ended:
                main()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.umask(umask)
        out, err = self._capfd.readouterr()
        return Ended(int(ended.value.code or 0), out, err)
