"""Removes one admin key from what the source sent, before any of it is shown or stored.

A proxy's error page may repeat the request with its headers, as they are or encoded. Twelve characters in a row of the
key's secret part count as the key. What stays out: which texts are the source's (`responses`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from stax_pipeline.domain.admin_key import AdminKey

SECRET_CHARACTERS = 12  # so many of a key's characters in a row count as the key
LEFT_OUT = "[left out: it repeats the key, encoded]"
_BLOCK = SECRET_CHARACTERS // 2  # every such run holds a whole block that begins at a multiple of this
_PUBLIC = "sk-ant-"
_JSON_ESCAPE = re.compile(r"\\u00([0-7][0-9A-Fa-f])")
_ESCAPE = re.compile(r"(?:\\u00|\\x|%|&#x)([0-7][0-9A-Fa-f]);?")
_REFERENCE = re.compile(r"&#([0-9]{2,3});")
_HEX = re.compile(rf"[0-9A-Fa-f]{{{2 * SECRET_CHARACTERS},}}")
_BASE64 = re.compile(rf"[A-Za-z0-9+/_-]{{{SECRET_CHARACTERS},}}")


class Scrubber:
    """Removes one admin key from text. Keeps the wrapped key, not its characters."""

    def __init__(self, key: AdminKey) -> None:
        self._key = key

    def holds_key(self, text: str) -> bool:
        """Whether a page repeats the key or a run of it, plainly or in JSON's escapes. Fast enough for every page."""
        if "\\u00" in text and self._has_run(_JSON_ESCAPE.sub(_character, text)):
            return True
        return self._has_run(text)

    def clean(self, text: str) -> str:
        """`text` without the key, whole or in runs; nothing of a text that holds it in another writing."""
        secret = self._key.reveal()
        if len(secret) >= SECRET_CHARACTERS:
            text = text.replace(secret, "[key]")
        part = self._secret_part()
        for at in range(len(part) - SECRET_CHARACTERS + 1):
            text = text.replace(part[at : at + SECRET_CHARACTERS], "[key]")
        return LEFT_OUT if any(map(self._has_run, _read_otherwise(text))) else text

    def _secret_part(self) -> str:
        secret = self._key.reveal()
        return secret[max(0, secret.find("-", len(_PUBLIC)) + 1) :]

    def _has_run(self, text: str) -> bool:
        part = self._secret_part()
        blocks = (part[at : at + _BLOCK] for at in range(0, len(part) - _BLOCK + 1, _BLOCK))
        return any(block in text for block in blocks) and any(
            part[at : at + SECRET_CHARACTERS] in text for at in range(len(part) - SECRET_CHARACTERS + 1)
        )


def _read_otherwise(text: str) -> Iterator[str]:
    """What `text` says when it is read as escaped, as UTF-16, backwards, as hex or as base64, wherever that begins."""
    yield _REFERENCE.sub(lambda found: chr(int(found[1])), _ESCAPE.sub(_character, text))
    yield text.replace("\0", "")
    yield text[::-1]
    for digits in _HEX.findall(text):
        for shift in range(2):
            cut = digits[shift:]
            yield bytes.fromhex(cut[: len(cut) // 2 * 2]).decode("latin-1")
    for letters in _BASE64.findall(text):
        for shift in range(4):
            cut = letters[shift:].translate(str.maketrans("-_", "+/"))
            yield base64.b64decode(cut[: len(cut) // 4 * 4]).decode("latin-1")


def _character(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))
