"""Reads JSON text without guessing: what Python's reader would quietly bend is refused here.

Belongs here: the grammar of a trustworthy JSON document (exact decimals, one value per name, bounded numbers, depth and
size, text that a database can store). Stays out: what the document means, which is `envelope` and `derive`.

Python's own reader turns amounts into floats, accepts `NaN`, keeps the last of two equal names and lets lone surrogates
and NUL through, which Postgres then refuses in the middle of a load. Reasons name a place in the text and at most a
short excerpt, since an answer may hold anything.
"""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal, InvalidOperation
from itertools import count
from typing import NoReturn

from stax_pipeline.domain.errors import ContractBroken

MAX_INTEGER_DIGITS = 25  # a bigint has 19; anything longer is no count of tokens
MAX_NUMBER_LENGTH = 100  # no amount needs more characters, and Decimal would keep them all
MAX_DEPTH = 64  # the deepest documented answer has 5 levels
MAX_NODES = 3_000_000  # no honest page of 64 MB has more; each takes some hundred bytes of memory at worst
EXCERPT = 40


def loads(text: str) -> object:
    """The document in `text`: numbers with a point or exponent become Decimal. Raises ContractBroken."""
    if (nodes := text.count(",") + text.count("{") + text.count("[")) > MAX_NODES:
        raise ContractBroken(f"JSON of up to {nodes} values, more than the {MAX_NODES} that one page may have")
    reason = ""
    document: object = None
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        reason = f"not valid JSON ({error.msg}, character {error.pos})"
    except RecursionError:
        reason = f"JSON nested deeper than {MAX_DEPTH} levels"
    if reason:
        raise ContractBroken(reason)
    _check_shape(document, check_text="\\u" in text or not text.isascii())
    return document


def excerpt(value: object) -> str:
    """A short, printable piece of `value` for a message."""
    shown = ascii(value[:EXCERPT] if isinstance(value, str) else value)
    return shown if len(shown) <= EXCERPT + 2 else shown[:EXCERPT] + "…"


def _decimal(text: str) -> Decimal:
    if len(text) > MAX_NUMBER_LENGTH:
        raise ContractBroken(f"a number of {len(text)} characters: {excerpt(text)}")
    try:
        return Decimal(text)
    except InvalidOperation:
        pass
    raise ContractBroken(f"a number out of range: {excerpt(text)}")


def _integer(text: str) -> int:
    if len(text) > MAX_INTEGER_DIGITS and len(text.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise ContractBroken(f"an integer of more than {MAX_INTEGER_DIGITS} digits: {excerpt(text)}")
    return int(text)


def _constant(name: str) -> NoReturn:
    raise ContractBroken(f"{name} is not a JSON number")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    built = dict(pairs)
    if len(built) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ContractBroken(f"the name {excerpt(counts.most_common(1)[0][0])} occurs twice in one JSON object")
    return built


def _check_shape(document: object, *, check_text: bool) -> None:
    """Level by level, so that a deep document cannot exhaust the stack here."""
    level = [document]
    for depth in count(1):
        if depth > MAX_DEPTH and any(isinstance(node, dict | list) for node in level):
            raise ContractBroken(f"JSON nested deeper than {MAX_DEPTH} levels")
        below: list[object] = []
        for node in level:
            if isinstance(node, dict):
                below += node.values()
                if check_text:
                    below += node
            elif isinstance(node, list):
                below += node
            elif check_text and isinstance(node, str):
                _check_text(node)
        if not below:
            return
        level = below


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ContractBroken(f"text with a NUL character: {excerpt(text)}")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ContractBroken(f"text with half a surrogate pair: {excerpt(text)}")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_float=_decimal,
    parse_int=_integer,
    parse_constant=_constant,
)
