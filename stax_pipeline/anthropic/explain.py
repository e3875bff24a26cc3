"""Why Anthropic did not accept a key, in words for the person who holds it.

Belongs here: one plain message per cause, for `stax connect`. Stays out: deciding the cause, which the error's class
and status already say.
"""

from __future__ import annotations

from stax_pipeline.anthropic.refusals import EdgeRefusal, KeyRejection, LimitReached, NoOrganization
from stax_pipeline.anthropic.responses import SourceTimedOut
from stax_pipeline.domain.errors import ContractBroken, KeyRejected, RequestRejected, SourceUnavailable, StaxError

KEYS_PAGE = "console.anthropic.com/settings/keys"
NOT_STORED = "The key was not stored."

INVALID_KEY = (
    "Anthropic does not accept this key (401). It may be mistyped, expired, revoked, or of the wrong type: a regular "
    f"sk-ant-api key does not work here. Create an Admin key at {KEYS_PAGE} and select Admin key."
)
NOT_ALLOWED = (
    "Anthropic knows this key but does not let it read the organization's usage and cost (403). It needs an Admin key, "
    f"made by an admin of the organization at {KEYS_PAGE}; individual accounts have none."
)
INDIVIDUAL = (
    "This key belongs to an individual account. Individual accounts have no Admin API; set up an organization in the "
    f"Console, then create an Admin key at {KEYS_PAGE}."
)
EDGE = (
    "The request was stopped before it reached the Admin API (403, Request not allowed): by a proxy, a firewall or a "
    "block of this region. This says nothing about the key. Try from another network."
)
OUR_FAULT = (
    "Anthropic misses the anthropic-version header (400). stax sends it with every request, so this is our fault or a "
    "proxy's that removes headers: please report it."
)
BAD_REQUEST = (
    "Anthropic does not accept the request itself (400). The key may be fine, but its organization may not be of a "
    "type that has cost reports."
)
BUSY = "Anthropic is limiting requests at the moment (429). The key was not judged."
LIMIT = (
    "A spend limit of this organization is reached ({code}): Anthropic pauses its requests until {end}. The key was "
    "not judged."
)
DOWN = "Anthropic's Admin API has a fault or is overloaded ({status}). The key was not judged; try again later."
TIMED_OUT = "Anthropic did not answer in time. The key was not judged; check the network and try again."
UNREACHABLE = "Anthropic's Admin API cannot be reached. The key was not judged; check the network, DNS and firewall."
STRANGE = (
    "Something answered, but not as the Admin API does: a proxy, a login page of the network, or a change on "
    "Anthropic's side. The key was not judged."
)
OTHER = "Anthropic refused the request ({status}). The key was not judged."


def explain_refusal(error: Exception) -> str:
    """What happened, what to do, and the details for a report, in that order."""
    if not isinstance(error, StaxError):
        return f"The key could not be checked ({type(error).__name__}). {NOT_STORED}"
    return f"{_cause(error)} {NOT_STORED}\nDetails: {error}"


def _cause(error: StaxError) -> str:
    match error:
        case EdgeRefusal():
            return EDGE
        case KeyRejection(status=403):
            return NOT_ALLOWED
        case KeyRejected():
            return INVALID_KEY
        case NoOrganization():
            return INDIVIDUAL
        case RequestRejected(status=400):
            return OUR_FAULT if "anthropic-version" in str(error) else BAD_REQUEST
        case RequestRejected(status=status):
            return OTHER.format(status=status)
        case SourceTimedOut():
            return TIMED_OUT
        case LimitReached(error_code=code, retry_at=end):
            return LIMIT.format(code=code, end=f"{end:%Y-%m-%d %H:%M} UTC" if end else "it is raised")
        case SourceUnavailable():
            return _unavailable(error)
        case ContractBroken():
            return STRANGE
        case _:
            return "The key could not be checked."


def _unavailable(error: SourceUnavailable) -> str:
    if error.status is None:
        return UNREACHABLE
    if error.status == 429:
        when = f" Try again after {error.retry_at:%Y-%m-%d %H:%M} UTC." if error.retry_at else " Try again in a minute."
        return BUSY + when
    return DOWN.format(status=error.status)
