"""Reasons that differ in nothing but the tenant, reported together: one outage is one line, however many it hit.

Belongs here: when two reasons are the same, and how several tenants are named. Stays out: where reasons come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

SHOWN = 20  # tenants named in one line
IN_PASSING = re.compile(
    r" to GET \S+?(?=[:;. ]|$)| \(request [^)]*\)| after \d+ tr(?:y|ies)|(?<= until )[\d: -]+ UTC|(?<= at )[\d: -]+ UTC"
)
"""What differs between two tellings of one reason: the path that was asked for, ids, counts, instants."""
_COMMAND = re.compile(r"`[^`]*`")


class SharedReason(NamedTuple):
    """One reason and what mends it, of these tenants; commands name `SLUG` where there are several."""

    slugs: list[str]
    reason: str
    step: str

    @property
    def tenants_named(self) -> str:
        """`acme`, or `3 tenants (acme, globex, initech)`; of many the first twenty."""
        if len(self.slugs) == 1:
            return self.slugs[0]
        more = f" and {len(self.slugs) - SHOWN} more" if len(self.slugs) > SHOWN else ""
        return f"{len(self.slugs)} tenants ({', '.join(self.slugs[:SHOWN])}{more})"


def gist(reason: str) -> str:
    """What is the same in every telling of a reason."""
    return IN_PASSING.sub("", reason)


def for_any(slug: str, text: str) -> str:
    """The text with `SLUG` for the tenant in its commands."""
    own = re.compile(rf" {re.escape(slug)}(?=[ `])")
    return _COMMAND.sub(lambda command: own.sub(" SLUG", command[0]), text)


def key_of(slug: str, reason: str, step: str) -> tuple[str, str]:
    """Equal for reasons that differ in nothing but the tenant."""
    return gist(for_any(slug, reason)), for_any(slug, step)


def shared_reasons(reasons: Iterable[tuple[str, str, str]]) -> list[SharedReason]:
    """Slugs, reasons and next steps in their order, those that say the same as one."""
    found: dict[tuple[str, str], SharedReason] = {}
    for slug, reason, step in reasons:
        key = key_of(slug, reason, step)
        known = found.get(key)
        if known is None:
            found[key] = SharedReason([slug], reason, step)
        else:
            found[key] = SharedReason([*known.slugs, slug], for_any(known.slugs[0], known.reason), key[1])
    return list(found.values())
