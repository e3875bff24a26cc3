"""Keys where none belongs: pasted as an argument or a setting, then repeated by whatever explains the mistake.

Belongs here: what may be a key, and text without it. A copied key may have lost its beginning, or hold a character that
no key has. Stays out: keys that were asked for (`admin_key`), the streams of a command (`cli.output_guard`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from stax_pipeline.domain.errors import WrongUse

_PATHS = frozenset({"STAX_HOME", "STAX_LAKE_URL", "STAX_MASTER_KEY_FILE", "STAX_CA_FILE", "STAX_DATABASE_CA_FILE"})
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
_MASTER_KEY = re.compile(r"[0-9A-Fa-f]{64}|[A-Za-z0-9+/_-]{43}=|(?=.*[0-9])(?=.*[A-Z])[A-Za-z0-9+_-]{43}")
_QUOTED = re.compile(r"sk-ant-(?:[a-z]+[0-9]+-|[a-z0-9_-]{16,})[^'\"`\n]*", re.IGNORECASE)


class Redaction(NamedTuple):
    """Part of an argument that may be a key, and what matches it whole or from any `RUN` characters of it on."""

    is_sure: bool
    whole: re.Pattern[str]
    runs: re.Pattern[str] | None

    def redact(self, text: str) -> str:
        note = A_KEY if self.is_sure else PERHAPS_A_KEY
        text = self.whole.sub(note, text)
        return self.runs.sub(note, text) if self.runs else text


def without_keys(text: str) -> str:
    """`text` without anything that begins as a key does, up to the end of the quotation or the line."""
    return _QUOTED.sub(A_KEY, text)


def is_a_key(text: str) -> bool:
    """Whether some of it surely is an admin key, or all of it a master key: 32 bytes in base64 or hex."""
    words = [word for word in re.split(r"[\s,]+", text) if word]
    return any(redaction.is_sure for redaction in redactions_of(text)) or any(map(_MASTER_KEY.fullmatch, words))


def may_be_a_key(text: str) -> bool:
    """Whether it is one word that is too long or too mixed for a name, as a key is that lost its beginning."""
    return _TOKEN.fullmatch(text) is not None and _is_no_name(text)


def refuse_keys_in_settings(environment: Mapping[str, str]) -> None:
    """Raise WrongUse where what looks like a setting holds a key: it could become a folder, or be shown."""
    for name, value in list(environment.items()):
        if not name.startswith("STAX_"):
            continue
        if is_a_key(name):
            raise WrongUse("The name of a variable that begins with STAX_ holds a key: unset it, and revoke the key.")
        if name != "STAX_MASTER_KEY" and (is_a_key(value) or (name in _PATHS and may_be_a_key(value))):
            raise WrongUse(
                f"{name} is not usable: it looks like a key, and only STAX_MASTER_KEY holds one. Unset it; "
                "`stax connect SLUG` asks for an admin key. If it names a folder or file, write its whole path."
            )


def redactions_of(argument: str) -> list[Redaction]:
    """What of an argument is not to be repeated: all of it from a key's beginning on; without one, an argument that
    holds something too long or too mixed for a name, and of one of several words such as a query those words alone.
    """
    begins = _BEGINNING.search(argument)
    if begins and sum(map(len, _TOKEN.findall(argument[begins.end() :]))) >= _SHORTEST_SECRET:
        return [_redaction(argument[begins.start() :], is_sure=True)]
    if not any(map(_is_no_name, _TOKEN.findall(argument))):
        return []
    if argument.split() == [argument]:
        return [_redaction(argument)]
    return [_redaction(token) for token in _TOKEN.findall(argument) if _is_mixed(token)]


def _is_no_name(token: str) -> bool:
    return len(token) > _LONGEST_NAME or (len(token) >= 20 and _is_mixed(token))


def _is_mixed(token: str) -> bool:
    """Longer than a run, with capitals in places where words have none."""
    words = re.split(r"[-_]", token)
    return len(token) >= RUN and token.lower() != token and not all(map(_WORD.fullmatch, words))


def _redaction(text: str, is_sure: bool = False) -> Redaction:
    forms = {text, repr(text)[1:-1], ascii(text)[1:-1]}
    whole = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    runs = "|".join(dict.fromkeys(map(re.escape, _runs(text[:_LONGEST_LOOKED_AT]))))
    pattern = re.compile(f"(?:{runs})[a-z0-9_-]*", re.IGNORECASE) if runs else None
    return Redaction(is_sure, re.compile(whole, re.IGNORECASE), pattern)


def _runs(text: str) -> Iterator[str]:
    for token in _TOKEN.findall(_PUBLIC.sub("", text)):
        yield from (token[at : at + RUN] for at in range(len(token) - RUN + 1))
