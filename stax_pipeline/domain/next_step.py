"""What an operator does about a tenant that failed, by the reason that was recorded: one sentence, the same everywhere.

`stax sync`, `stax status` and alerts end with it. Stays out: what went wrong, which the reason itself says.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

UNIT_MISMATCH, SHRUNK = "unit mismatch", "shrunk"  # what the reasons of the guards begin with
NO_NEWER_SOURCE = "does not have Anthropic's newer source"  # what a reason says of an organization it is not offered to
LACKS_SCOPE = "lacks the scope"  # what a reason says where one list or source is not open to the key


def accept_shrink(slug: str, days: Collection[date]) -> str:
    """The command that publishes these days of one tenant as they are now, and nothing else of it."""
    return f"`stax sync {slug} --from {min(days)} --to {max(days)} --accept-shrink`"


def next_step(slug: str, reason: str, *, key_rejected: bool = False) -> str:
    """'' where the reason names its own command already."""
    if key_rejected:
        return (
            f"Ask for a new Admin key, then `stax rotate-key {slug}`. If the key is good again: `stax sync {slug}`; "
            "no sync without its name asks with it."
        )
    if reason.startswith(SHRUNK):
        return "Compare these days with the Console; if they are right, publish them by that command."
    if reason.startswith(UNIT_MISMATCH):
        return "Compare a day with the Console; if the Console is right, a price is wrong: docs/operate/prices.md."
    if NO_NEWER_SOURCE in reason:
        return (
            f"`stax tenants set {slug} --source reports` reads the reports alone. No comparison is tried again before "
            f"`stax tenants set {slug} --source both`."
        )
    if LACKS_SCOPE in reason:
        without = f", or `stax tenants set {slug} --source reports` to do without it" if "/analytics/" in reason else ""
        return f"Ask for an Admin key with that scope, then `stax rotate-key {slug}`{without}. All else is fetched."
    if "`stax " in reason:
        return ""
    return f"The next sync tries again; `stax sync {slug}` does so now."
