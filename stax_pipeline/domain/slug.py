"""The one rule for a tenant's short name.

What stays out: whether a tenant of that name exists. Paths and SQL use the tenant's UUID, never the slug.
"""

from __future__ import annotations

import re

from stax_pipeline.domain.errors import WrongUse

_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def parse_slug(text: str) -> str:
    """The text itself when it is a slug; nothing is trimmed, folded or guessed.

    `fullmatch`, because `match` with `$` lets a final newline through.
    """
    if _SLUG.fullmatch(text) is None:
        shown = ascii(text if len(text) <= 40 else f"{text[:40]}...")
        raise WrongUse(
            f"{shown} is no tenant name: use 1 to 63 lower-case letters a-z, digits and hyphens, "
            "beginning and ending with a letter or digit, such as acme or acme-eu."
        )
    return text
