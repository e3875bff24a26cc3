"""The one rule for the name of a login that `stax grant` ties to tenants.

What stays out: whether such a login exists, and what it may already do.
"""

from __future__ import annotations

import re

from stax_pipeline.domain.errors import WrongUse

_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_RESERVED_PREFIXES = ("stax_", "pg_")
_RESERVED = frozenset({"postgres", "public", "none", "current_role", "current_user", "session_user", "user"})


def parse_role(text: str) -> str:
    """The text itself when it is a role's name that may be granted tenants; nothing is trimmed or folded.

    At most 63 characters: Postgres would cut a longer name, and two logins would be one.
    """
    shown = ascii(text if len(text) <= 40 else f"{text[:40]}...")
    if _ROLE.fullmatch(text) is None:
        raise WrongUse(
            f"{shown} is no name of a role: use 1 to 63 lower-case letters a-z, digits, _ and -, beginning with a "
            "letter, such as reader or acme_finance."
        )
    if text in _RESERVED:
        raise WrongUse(f"The name {shown} is taken: it means something to Postgres. Choose another.")
    if text.startswith(_RESERVED_PREFIXES):
        raise WrongUse(f"The name {shown} is reserved: choose one that does not begin with stax_ or pg_.")
    return text
