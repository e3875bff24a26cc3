"""What a form may send: small, from one of our own pages, and with the token that this page was given.

Stays out: `Origin` against `Host`, which the request guard compares; here it must be there at all.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from stax_pipeline.app.people.access import COOKIE, person_of

LARGEST_FORM = 16_384
MOST_FIELDS = 50
TOKEN = "form_token"
_PROCESS_KEY = secrets.token_bytes(32)  # a form that was open while the app restarted is asked for again
_FORM = "application/x-www-form-urlencoded"


def form_token(request: Request) -> str:
    """What a form of this person's session carries."""
    person = person_of(request.scope)
    of = f"{person.name if person else ''}\0{request.cookies.get(COOKIE, '')}"
    return hmac.new(_PROCESS_KEY, of.encode(), hashlib.sha256).hexdigest()


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that one of our pages sent. Raises HTTPException for any other."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise HTTPException(415, "This form cannot be read.")
    if not request.headers.get("origin"):
        raise HTTPException(403, "Your browser did not say which page sent this form. Nothing was changed.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise HTTPException(413, "This form is too large. Nothing was changed.")
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=MOST_FIELDS, errors="strict"
        )
    except ValueError:
        raise HTTPException(400, "This form cannot be read. Nothing was changed.") from None
    fields = dict(pairs)
    if not hmac.compare_digest(fields.pop(TOKEN, "").encode(), form_token(request).encode()):
        raise HTTPException(403, "This page was open for too long. Go back, load it again and repeat what you did.")
    return fields
