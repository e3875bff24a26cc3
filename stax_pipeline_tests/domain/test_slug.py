"""Only one plain form of a tenant's short name gets in."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.slug import parse_slug

PLAIN = string.ascii_lowercase + string.digits


@pytest.mark.parametrize("text", ["a", "7", "acme", "acme-eu", "a--b", "0-0", "con", "a" * 63])
def test_accepted(text: str) -> None:
    assert parse_slug(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "../../etc",
        "/etc/passwd",
        "a/b",
        "tenant=x/day=y",
        "acme'; drop table--",
        "\u0430\u0441me",
        "\uff41\uff43\uff4d\uff45",
        "acme\0",
        "\0",
        "acme ",
        " acme",
        "acme\n",
        "acme\r",
        "acme\u2028",
        "a" * 64,
        "a" * 300,
        "CON",
        "Acme",
        "-acme",
        "acme-",
        "-",
        "a_b",
        "a.b",
        "\u0663",
        "caf\u00e9",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(WrongUse, match="is no tenant name") as refused:
        parse_slug(text)
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


@given(st.text())
def test_whatever_passes_is_plain(text: str) -> None:
    try:
        slug = parse_slug(text)
    except WrongUse:
        return
    assert slug == text
    assert 1 <= len(slug) <= 63
    assert set(slug) <= {*PLAIN, "-"}
    assert slug[0] in PLAIN and slug[-1] in PLAIN


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True))
def test_every_slug_of_the_rule_passes(text: str) -> None:
    assert parse_slug(text) == text


@given(st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True), st.characters(exclude_characters=PLAIN))
def test_one_strange_character_at_either_end_is_enough(text: str, strange: str) -> None:
    for spoiled in (text + strange, strange + text):
        with pytest.raises(WrongUse):
            parse_slug(spoiled)
