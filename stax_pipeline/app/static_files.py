"""Our own files, under names that hold their hash: browsers may keep them for good, a changed one is another file."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_KEPT = "public, max-age=31536000, immutable"


@cache
def _file(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()


def address(name: str) -> str:
    """Where a page finds the file of that name."""
    stem, dot, ending = name.rpartition(".")
    return f"/static/{stem}.{hashlib.sha256(_file(name)).hexdigest()[:16]}{dot}{ending}"


def integrity(name: str) -> str:
    """What the browser compares the file with before it uses it."""
    return f"sha384-{base64.b64encode(hashlib.sha384(_file(name)).digest()).decode()}"


def _served() -> dict[str, Path]:
    return {address(path.name): path for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}


async def _serve(request: Request) -> Response:
    found = _served().get(request.url.path)
    if found is None:
        raise HTTPException(404)
    return Response(_file(found.name), media_type=_TYPES[found.suffix], headers={"Cache-Control": _KEPT})


ROUTES = [Route("/static/{name}", _serve)]
