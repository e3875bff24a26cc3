"""Every page of the corpus, and many pages near it, are read or refused with a reason; nothing else happens.

The corpus grows by what `make fuzz` finds: each finding is committed here with the mending of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline_tests.fuzz.target import read

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
DOCUMENTS = [json.loads(file.read_bytes()) for file in CORPUS if file.name.endswith("s.json")]
DOCUMENTS += [json.loads(file.read_bytes()) for file in CORPUS if file.name in ("cost.json", "usage.json")]
READ_AS = {
    "amount": {"amount-0", "amount-1", "amount-2", "amount-3"},
    "cost": {"cost.json", "cost-more.json", "empty.json"},
    "usage": {"usage.json", "empty.json"},
    "by_key": {"by-key.json", "empty.json"},
    "workspaces": {"workspaces.json", "members.json"},
    "api_keys": {"api-keys.json"},
    "members": {"members.json", "members-twice.json"},
}
ODD = [None, True, 0, -1, 2**63, 1.5, "", "x" * 600, "\u0000", "\ud800", "NaN", "1e99", "2026-11-01T00:00:00Z", [], {}]


def test_the_corpus_reaches_the_end_of_every_parser() -> None:
    read_as: dict[str, set[str]] = {kind: set() for kind in READ_AS}
    for file in CORPUS:
        for kind in read(file.read_bytes()):
            read_as[kind].add(file.name)
    assert all(read_as[kind] >= names for kind, names in READ_AS.items()), read_as


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_each_is_read_or_refused_cut_anywhere_too(file: Path) -> None:
    data = file.read_bytes()
    for length in range(len(data) + 1):
        read(data[:length])


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A page of the corpus with values replaced, removed or repeated anywhere in it."""
    document = json.loads(json.dumps(draw(st.sampled_from(DOCUMENTS))))
    for _ in range(draw(st.integers(1, 4))):
        _change(draw, document)
    return json.dumps(document).encode()


def _change(draw: st.DrawFn, node: Any) -> None:
    while isinstance(node, dict | list) and node:
        place = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[place], dict | list) or draw(st.integers(0, 3)) == 0:
            kind = draw(st.sampled_from(["odd", "gone", "again"]))
            if kind == "odd":
                node[place] = draw(st.sampled_from(ODD))
            elif kind == "gone":
                del node[place]
            elif isinstance(node, list):
                node.append(json.loads(json.dumps(node[place])))
            return
        node = node[place]


@settings(max_examples=800, deadline=None)
@given(changed())
def test_a_page_near_one_of_the_corpus_is_read_or_refused(data: bytes) -> None:
    read(data)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read(data)
