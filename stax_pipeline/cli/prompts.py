"""Asking at the terminal: for a secret, one line without echo, and whether one is sure.

For the secret not `getpass`: that one throws the rest of a paste away unseen, and half a paste would pass for a key.
"""

from __future__ import annotations

import os
import select
import sys
import termios
from typing import Any

import click

from stax_pipeline.domain.admin_key import LONGEST_KEY
from stax_pipeline.domain.errors import KeyRefused, WrongUse

_SECONDS_FOR_THE_REST = 0.1
_LOCAL_MODES, _CONTROLS = 3, 6  # where termios keeps them


def confirm(question: str, yes: bool) -> None:
    """Go on after a yes, said beforehand or at the terminal; end with exit code 1 after a no.

    Raises WrongUse where there is no terminal: what is piped in was not meant as an answer.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUse(f"{question} This needs --yes without a terminal. Nothing was changed.")
    if not click.confirm(question, err=True):
        click.echo("Nothing was changed.", err=True)
        raise click.exceptions.Exit(1)


def ask_hidden(question: str, missing: str = "No key was given; paste it, or Ctrl-C to stop.") -> str:
    """What was typed or pasted, asked for again while it is empty. Raises KeyRefused for a paste of several lines."""
    while True:
        click.echo(f"{question}: ", nl=False, err=True)
        line = _hidden_line(sys.stdin.fileno())
        if not line:
            raise click.Abort
        if line.strip():
            return line
        click.echo(missing, err=True)


def _hidden_line(terminal: int) -> str:
    """Whatever is unread afterwards is dropped, so that no shell runs the rest of a key as a command."""
    before = termios.tcgetattr(terminal)
    silent = termios.tcgetattr(terminal)
    silent[_LOCAL_MODES] &= ~termios.ECHO
    try:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        line = os.read(terminal, LONGEST_KEY + 1000)
        more = _more_is_waiting(terminal, silent)
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        click.echo(err=True)
    if line and more:
        raise KeyRefused("The paste held a line break: copy the key alone, or put it into a file and use --key-file.")
    return line.decode(errors="replace")


def _more_is_waiting(terminal: int, silent: list[Any]) -> bool:
    """Looked at without line editing, by which a last line without its end would stay unseen."""
    silent[_LOCAL_MODES] &= ~termios.ICANON
    silent[_CONTROLS][termios.VMIN] = 1
    termios.tcsetattr(terminal, termios.TCSANOW, silent)
    return bool(select.select([terminal], [], [], _SECONDS_FOR_THE_REST)[0])
