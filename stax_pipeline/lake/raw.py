"""Raw objects: the pages of one extraction, verbatim, each with the request that made it.

An object is a zstd-compressed file of JSON lines: first what the extraction was, then one line per page. It describes
itself, so that the `extractions` table could be rebuilt from the lake alone. No line ever holds the admin key.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
import zstandard

from stax_pipeline.domain.errors import StaxError
from stax_pipeline.domain.extraction import QueryName, RawPage, Report, Window
from stax_pipeline.lake.store import Lake, ObjectMissing

FORMAT = 2  # 1, never released, said `reading` where 2 says `query`
OBJECT, REFUSAL = ".jsonl.zst", ".refused.json"
_LEVEL = 1  # a fifth larger than level 6, at a sixth of its work


class RawDamaged(StaxError):
    """A raw object is not what this version writes: its hash, its lines or its format do not fit."""


@dataclass(frozen=True, slots=True)
class RawHeader:
    """What an extraction was. `error` is None when it counts; `queries` are those that ended.

    `window` was asked for; `answered_end` is the day from which on the source had nothing yet, None without one.
    `excerpt` is the beginning of the answer that was no page, without the key; '' where every answer was one.
    """

    extraction_id: UUID
    tenant_id: UUID
    organization_id: str
    report: Report
    window: Window
    extracted_at: datetime
    queries: tuple[QueryName, ...]
    run_id: str
    product: str
    error: str | None
    excerpt: str = ""
    answered_end: date | None = None


class RawWriter:
    """Collects pages as they arrive, compressed, so that an extraction of any length stays small in memory."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._stream = zstandard.ZstdCompressor(level=_LEVEL).stream_writer(self._buffer, closefd=False)
        self.pages = 0

    def add(self, page: RawPage) -> None:
        self._stream.write(_line({"page": _page_to_json(page)}))
        self.pages += 1

    def finish(self, header: RawHeader) -> bytes:
        """The object's bytes: a frame with the header, then the frame with the pages."""
        self._stream.flush(zstandard.FLUSH_FRAME)
        return zstandard.compress(_line({"extraction": _header_to_json(header)})) + self._buffer.getvalue()


def store_raw(lake: Lake, header: RawHeader, data: bytes) -> tuple[str, str]:
    """Write the object once, under its moment; returns its path and its SHA-256 (hex).

    The source's clock counts seconds: a second extraction of the same second gets the next free number.
    """
    stamp = header.extracted_at.strftime("%Y%m%dT%H%M%SZ")
    folder = f"raw/{header.report}/tenant={header.tenant_id}/{header.window}"
    for number in count(1):
        path = f"{folder}/{stamp}{'' if number == 1 else f'-{number}'}{OBJECT}"
        with suppress(FileExistsError):
            lake.put_new(path, data)
            break
    return path, hashlib.sha256(data).hexdigest()


def refuse_raw(lake: Lake, path: str, reason: str) -> None:
    """Keep beside an object why its content does not count after all, so that the lake alone can tell."""
    with suppress(FileExistsError):
        lake.put_new(path.removesuffix(OBJECT) + REFUSAL, json.dumps({"refused": reason}).encode())


def refusal_of(lake: Lake, path: str) -> str | None:
    """Why the object's content does not count; None where nothing says so."""
    try:
        found = json.loads(lake.get(path.removesuffix(OBJECT) + REFUSAL))
    except ObjectMissing:
        return None
    return str(found["refused"])


def prove_whole(path: str, header: RawHeader, pages: list[RawPage]) -> None:
    """Every query that ended has its last page: tells a cut object where no hash was recorded. Raises RawDamaged."""
    last = {page.query: page for page in pages}
    for query in header.queries:
        if query not in last or json.loads(last[query].body).get("has_more") is not False:
            raise RawDamaged(f"{path} is cut: query {query} does not end.")


def read_raw(lake: Lake, path: str, sha256: str) -> tuple[RawHeader, Iterator[RawPage]]:
    """The header and the pages, after the whole object's hash and its format were checked. Raises RawDamaged."""
    data = lake.get(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RawDamaged(f"{path} does not have the hash that was recorded; restore it from a backup.")
    lines = _lines(data, path)
    first = next(lines, {})
    if "extraction" not in first:
        raise RawDamaged(f"{path} does not begin with an extraction.")
    written = first["extraction"].get("format")
    if written != FORMAT:
        raise RawDamaged(
            f"{path} is written in format {written} of raw pages, and this version of stax-pipeline reads format "
            f"{FORMAT} only. `stax sync` fetches its days again."
        )
    return _header_from_json(first["extraction"]), (_page_from_json(line["page"], path) for line in lines)


def _lines(data: bytes, path: str) -> Iterator[dict[str, Any]]:
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True)
    try:
        for line in io.BufferedReader(reader):
            yield msgspec.json.decode(line)
    except (zstandard.ZstdError, msgspec.MsgspecError, ValueError) as fault:
        raise RawDamaged(f"{path} cannot be read: {type(fault).__name__}.") from None


def _line(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _header_to_json(header: RawHeader) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "extraction_id": str(header.extraction_id),
        "tenant_id": str(header.tenant_id),
        "organization_id": header.organization_id,
        "report": header.report,
        "window_start": header.window.start.isoformat(),
        "window_end": header.window.end.isoformat(),
        "extracted_at": header.extracted_at.isoformat(),
        "queries": list(header.queries),
        "run_id": header.run_id,
        "product": header.product,
        "error": header.error,
        "excerpt": header.excerpt,
        "answered_end": header.answered_end and header.answered_end.isoformat(),
    }


def _header_from_json(found: dict[str, Any]) -> RawHeader:
    return RawHeader(
        extraction_id=UUID(found["extraction_id"]),
        tenant_id=UUID(found["tenant_id"]),
        organization_id=found["organization_id"],
        report=Report(found["report"]),
        window=Window(date.fromisoformat(found["window_start"]), date.fromisoformat(found["window_end"])),
        extracted_at=datetime.fromisoformat(found["extracted_at"]),
        queries=tuple(QueryName(name) for name in found["queries"]),
        run_id=found["run_id"],
        product=found["product"],
        error=found["error"],
        excerpt=found.get("excerpt", ""),
        answered_end=date.fromisoformat(answered) if (answered := found.get("answered_end")) else None,
    )


def _page_to_json(page: RawPage) -> dict[str, Any]:
    return {
        "query": page.query,
        "page_number": page.page_number,
        "request": {"path": page.path, "params": page.params, "headers": page.request_headers},
        "status": page.status,
        "request_id": page.request_id,
        "server_date": page.server_date.isoformat(),
        "sent_at": page.sent_at.isoformat(),
        "received_at": page.received_at.isoformat(),
        "rows": page.rows,
        "sha256": page.sha256,
        "body": page.body,
    }


def _page_from_json(found: dict[str, Any], path: str) -> RawPage:
    page = RawPage(
        query=QueryName(found["query"]),
        page_number=found["page_number"],
        path=found["request"]["path"],
        params=tuple((name, value) for name, value in found["request"]["params"]),
        request_headers=found["request"]["headers"],
        status=found["status"],
        request_id=found["request_id"],
        server_date=datetime.fromisoformat(found["server_date"]),
        sent_at=datetime.fromisoformat(found["sent_at"]),
        received_at=datetime.fromisoformat(found["received_at"]),
        rows=found["rows"],
        sha256=found["sha256"],
        body=found["body"],
    )
    if hashlib.sha256(page.body.encode()).hexdigest() != page.sha256:
        raise RawDamaged(f"{path}: page {page.page_number} of {page.query} does not have its recorded hash.")
    return page
