"""A key that was pasted where none belongs is not repeated, however it was damaged; what is no key is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.domain.pasted_key import RUN, redactions_of, without_keys

SECRET = "CANARYabcdefGHIJklmn0123456789-opqrstUVWXYZ_abcdEFGH"
CANARY = f"sk-ant-admin01-{SECRET}"
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"


def redacted(argument: str, text: str) -> str:
    for redaction in redactions_of(argument):
        text = redaction.redact(text)
    return text


def repeats(text: str, secret: str = SECRET) -> bool:
    shown = text.lower()
    return any(secret[at : at + RUN].lower() in shown for at in range(len(secret) - RUN + 1))


DAMAGED = [
    CANARY,
    CANARY.upper(),
    SECRET,
    SECRET.upper(),
    f"{CANARY[:23]}\u200b{CANARY[23:]}",
    f"{SECRET[:8]}\u200b{SECRET[8:]}",
    f"{CANARY[:23]} {CANARY[23:]}",
    f"{SECRET[:8]} {SECRET[8:]}",
    f"sk\ufeff-ant-admin01-{SECRET[:20]}'{SECRET[20:]}",
    f"--port={CANARY}",
    f"./{CANARY}",
    f"select '{CANARY}'",
    CANARY.replace("admin01", "api03"),
]


@pytest.mark.parametrize("argument", DAMAGED)
def test_an_argument_that_may_be_a_key_is_in_no_message_however_it_is_written(argument: str) -> None:
    given_value = argument.removeprefix("--port=")
    for form in (argument, given_value, repr(given_value), ascii(given_value), given_value.lower(), given_value[:60]):
        told = redacted(argument, f"No such thing: {form}, expected a slug.")
        assert not repeats(told), told
        assert "not shown" in told
        assert told.startswith("No such thing: ")


@pytest.mark.parametrize(
    "argument",
    [
        "acme", "AcmeCorporation", "Acme-Corporation-Limited-2026", "a" * 63, "2026-11-22",
        "stax_analyst_of_acme_and_co", "customer-3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "/srv/backups/stax-pipeline/2026-11-22-nightly.tar.zst",
        "Anthropic-Contract-2026.csv", "sk-ant-admin", "desk-ant-farm-supplies-limited",
        "select sum(effective_cost_usd) from stax.spend where model = 'claude-haiku-4-5-20251001'",
    ],
)  # fmt: skip
def test_names_files_and_queries_are_repeated(argument: str) -> None:
    assert redactions_of(argument) == []


def test_of_a_query_only_the_words_that_may_be_keys_are_hidden() -> None:
    query = "select effective_cost_usd from spend where api_key_id = 'apikey_01Rj2N8SVvo6BePZj99NhmiT'"
    assert redacted(query, 'column "effective_cost_usd" does not exist') == 'column "effective_cost_usd" does not exist'
    assert "Rj2N8SVvo6Be" not in redacted(query, "syntax error at apikey_01Rj2N8SVvo6BePZj99NhmiT")


@given(st.text(ALPHABET, min_size=40, max_size=95), st.integers(0, 94), st.sampled_from(["", "\u200b", " ", "\u00e9"]))
def test_any_secret_with_a_keys_beginning_is_hidden_with_any_character_in_it(secret: str, at: int, odd: str) -> None:
    argument = f"sk-ant-admin01-{secret[:at]}{odd}{secret[at:]}"
    assert not repeats(redacted(argument, f"{argument} and {argument!r} and {argument.lower()}"), secret)


def test_what_is_no_argument_is_cut_to_the_end_of_its_quotation() -> None:
    for key in (
        CANARY,
        CANARY.upper(),
        CANARY.replace("admin01", "api03"),
        CANARY[:30],
        f"{CANARY[:23]}\u200b{CANARY}",
    ):
        told = without_keys(f"'{key}' is no tenant name: sk-ant-admin and sk-ant-api... are prefixes")
        assert not repeats(told)
        assert "revoke it" in told
        assert told.endswith("sk-ant-admin and sk-ant-api... are prefixes")
