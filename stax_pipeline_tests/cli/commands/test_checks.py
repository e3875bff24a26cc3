"""`stax checks`: what an operator accepts, as he sees it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.warehouse.tenants import add_tenant
from stax_pipeline_tests.cli.support import Stax

CHECK = "every_usage_billed"


@pytest.fixture(autouse=True)
def acme(engine: sa.Engine) -> Tenant:
    tenant = Tenant(uuid4(), "acme", "Acme", "org-acme", "connected", datetime.now(UTC), None)
    with engine.begin() as connection:
        add_tenant(connection, tenant)
    return tenant


def test_accepted_listed_and_withdrawn(stax: Stax) -> None:
    assert stax("checks").out == "No finding is accepted.\n"
    done = stax("checks", "accept", "acme", CHECK, "--from", "2026-11-20", "--note", "billed to the reseller")
    assert done.code == 0
    assert done.out.startswith(f"acme: added (check_name {CHECK}, effective_from 2026-11-20, note billed")
    shown = stax("checks").out
    assert "billed to the reseller" in shown and CHECK in shown and "2026-11-20" in shown
    done = stax("checks", "withdraw", "acme", CHECK, "2026-11-20")
    assert (done.code, done.out) == (0, f"acme: {CHECK} from 2026-11-20 is withdrawn and told again.\n")
    assert stax("checks").out == "No finding is accepted.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody", CHECK, "--from", "2026-11-20", "--note", "n"], "nobody"),
        (["acme", "spend_is_current", "--from", "2026-11-20", "--note", "n"], "cannot be accepted"),
        (["acme", CHECK, "--from", "2026-11-20", "--note", " "], "note is empty"),
        (["acme", CHECK, "--from", "2026-11-20", "--note", "two\nlines"], "not printable"),
        (["acme", CHECK, "--from", "2026-11-20", "--to", "2026-11-19", "--note", "n"], "is before --from"),
        (["acme", CHECK, "--from", "yesterday", "--note", "n"], "is no day"),
        (["acme", CHECK, "--note", "n"], "--from"),
        (["acme", CHECK, "--from", "2026-11-20"], "--note"),
    ],
)
def test_a_mistake_is_refused_in_words(stax: Stax, arguments: list[str], words: str) -> None:
    ended = stax("checks", "accept", *arguments)
    assert (ended.code, words in ended.err, "Traceback" in ended.err) == (2, True, False)
    assert stax("checks").out == "No finding is accepted.\n"


def test_what_is_not_accepted_cannot_be_withdrawn(stax: Stax) -> None:
    ended = stax("checks", "withdraw", "acme", CHECK, "2026-11-20")
    assert ended.code == 2
    assert "`stax checks` lists them" in ended.err
