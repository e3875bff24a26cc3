"""Keys where none belongs: pasted as an argument, then repeated by whatever explains the mistake.

Belongs here: what may be a key, and text without it. A copied key may have lost its beginning, or hold a character that
no key has. Stays out: keys that were asked for (`admin_key`), the streams of a command (`cli.unsaid`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

RUN = 12  # so many of a key's characters in a row count as the key
A_KEY = "[a key, not shown; revoke it: arguments stay in the shell's history]"
PERHAPS_A_KEY = "[not shown: it may be a key, and arguments stay in the shell's history]"
_LONGEST_NAME = 63  # a tenant's slug, a role
_SHORTEST_SECRET = 16
_LONGEST_LOOKED_AT = 1000
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_BEGINNING = re.compile(r"(?<![a-z0-9])" + r"\W*".join("sk-ant-"), re.IGNORECASE)
_PUBLIC = re.compile(r"sk-ant-(?:[a-z]{1,8}[0-9]{0,3}-)?", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]?[a-z]{0,15}[0-9]{0,8}|[A-Z]{1,8}[0-9]{0,8}")
_QUOTED = re.compile(r"sk-ant-(?:[a-z]+[0-9]+-|[a-z0-9_-]{16,})[^'\"`\n]*", re.IGNORECASE)


class Unsaid(NamedTuple):
    """Part of an argument that may be a key, and what matches it whole or from any `RUN` characters of it on."""

    is_sure: bool
    whole: re.Pattern[str]
    runs: re.Pattern[str] | None

    def cut_from(self, text: str) -> str:
        note = A_KEY if self.is_sure else PERHAPS_A_KEY
        text = self.whole.sub(note, text)
        return self.runs.sub(note, text) if self.runs else text


def without_keys(text: str) -> str:
    """`text` without anything that begins as a key does, up to the end of the quotation or the line."""
    return _QUOTED.sub(A_KEY, text)


def unsaid_of(argument: str) -> list[Unsaid]:
    """What of an argument is not to be repeated: all of it from a key's beginning on; without one, an argument that
    holds something too long or too mixed for a name, and of one of several words such as a query those words alone.
    """
    begins = _BEGINNING.search(argument)
    if begins and sum(map(len, _TOKEN.findall(argument[begins.end() :]))) >= _SHORTEST_SECRET:
        return [_unsaid(argument[begins.start() :], is_sure=True)]
    if not any(map(_is_no_name, _TOKEN.findall(argument))):
        return []
    if argument.split() == [argument]:
        return [_unsaid(argument)]
    return [_unsaid(token) for token in _TOKEN.findall(argument) if _is_mixed(token)]


def _is_no_name(token: str) -> bool:
    return len(token) > _LONGEST_NAME or (len(token) >= 20 and _is_mixed(token))


def _is_mixed(token: str) -> bool:
    """Longer than a run, with capitals in places where words have none."""
    words = re.split(r"[-_]", token)
    return len(token) >= RUN and token.lower() != token and not all(map(_WORD.fullmatch, words))


def _unsaid(text: str, is_sure: bool = False) -> Unsaid:
    forms = {text, repr(text)[1:-1], ascii(text)[1:-1]}
    whole = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    runs = "|".join(dict.fromkeys(map(re.escape, _runs(text[:_LONGEST_LOOKED_AT]))))
    pattern = re.compile(f"(?:{runs})[a-z0-9_-]*", re.IGNORECASE) if runs else None
    return Unsaid(is_sure, re.compile(whole, re.IGNORECASE), pattern)


def _runs(text: str) -> Iterator[str]:
    for token in _TOKEN.findall(_PUBLIC.sub("", text)):
        yield from (token[at : at + RUN] for at in range(len(token) - RUN + 1))
