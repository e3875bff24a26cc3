"""A source that breaks below HTTP: a relay of raw bytes that stands before the simulator and spoils chosen answers.

Each spoiler gets the whole true answer (head and body) and the socket to the client, and writes what it likes. Requests
are chosen by the simulator's own rules (`Faults.add` with key, path, nth, times). Nothing here waits longer than the
client is willing to.
"""

from __future__ import annotations

import gzip
import random
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from functools import cache
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from stax_pipeline.simulator.faults import Faults

HEAD_END = b"\r\n\r\n"
PATIENCE = 5.0  # seconds; the client's own limits are far below


class Exchange(NamedTuple):
    """One true answer on its way to the client. `gone` is set when the relay closes."""

    client: socket.socket
    head: bytes
    body: bytes
    chance: random.Random
    gone: threading.Event

    def send(self, data: bytes) -> None:
        self.client.sendall(data)

    def without(self, *names: str) -> bytes:
        """The head, its last empty line left out, without these headers."""
        lines = self.head.removesuffix(HEAD_END).split(b"\r\n")
        return b"\r\n".join(line for line in lines if line.partition(b":")[0].decode().lower() not in names)

    def wait_for_the_client(self) -> None:
        """Until the client has had enough."""
        with suppress(OSError):
            while not self.gone.is_set() and self.client.recv(4096):
                pass


Spoiler = Callable[[Exchange], None]


def cut_in_headers(x: Exchange) -> None:
    x.send(x.head[: x.chance.randrange(1, len(x.head) - 4)])


def cut_in_body(x: Exchange) -> None:
    x.send(x.head + x.body[: x.chance.randrange(1, len(x.body))])


def cut_with_agreeing_length(x: Exchange) -> None:
    half = x.body[: x.chance.randrange(1, len(x.body))]
    x.send(x.without("content-length") + b"\r\ncontent-length: %d" % len(half) + HEAD_END + half)


def cut_without_length(x: Exchange) -> None:
    x.send(
        x.without("content-length") + b"\r\nconnection: close" + HEAD_END + x.body[: x.chance.randrange(len(x.body))]
    )


def length_too_long(x: Exchange) -> None:
    x.send(x.without("content-length") + b"\r\ncontent-length: %d" % (len(x.body) + 9) + HEAD_END + x.body)


def length_too_short(x: Exchange) -> None:
    x.send(x.without("content-length") + b"\r\ncontent-length: %d" % (len(x.body) - 9) + HEAD_END + x.body)


def chunks_without_end(x: Exchange) -> None:
    x.send(x.without("content-length") + b"\r\ntransfer-encoding: chunked" + HEAD_END)
    x.send(b"%x\r\n%s\r\n" % (len(x.body), x.body))


def reset_before_headers(x: Exchange) -> None:
    x.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_in_body(x: Exchange) -> None:
    x.send(x.head + x.body[: len(x.body) // 2])
    reset_before_headers(x)


def hang(x: Exchange) -> None:
    x.wait_for_the_client()


def drip(x: Exchange) -> None:
    """A byte at a time, each well within a time-out between bytes."""
    for byte in x.head + x.body:
        x.send(bytes([byte]))
        if x.gone.wait(0.1):
            break


def half_gzip(x: Exchange) -> None:
    packed = gzip.compress(x.body)
    half = packed[: x.chance.randrange(20, len(packed) - 9)]
    x.send(x.without("content-length") + b"\r\ncontent-encoding: gzip\r\ncontent-length: %d" % len(half))
    x.send(HEAD_END + half)


def bomb(x: Exchange) -> None:
    """20 kB that would be 20 MB."""
    packed = _packed_blanks()
    x.send(x.without("content-length") + b"\r\ncontent-encoding: gzip\r\ncontent-length: %d" % len(packed))
    x.send(HEAD_END + packed)


def empty_reply(x: Exchange) -> None:
    """The connection ends without a word."""


def garbage(x: Exchange) -> None:
    x.send(x.chance.randbytes(200))


def redirect_to(url: str) -> Spoiler:
    def send(x: Exchange) -> None:
        x.send(f"HTTP/1.1 307 Elsewhere\r\nlocation: {url}\r\ncontent-length: 0".encode() + HEAD_END)

    return send


SPOILERS: dict[str, Spoiler] = {
    spoiler.__name__: spoiler
    for spoiler in (
        cut_in_headers, cut_in_body, cut_with_agreeing_length, cut_without_length, length_too_long, length_too_short,
        chunks_without_end, reset_before_headers, reset_in_body, hang, drip, half_gzip, bomb, empty_reply, garbage,
    )
}  # fmt: skip


class FaultServer:
    """A relay on loopback to the simulator at `behind`, as a context manager."""

    def __init__(self, behind: str, seed: int) -> None:
        self.faults = Faults()
        self.spoiled = 0
        self.asked: list[str] = []
        self._chance = random.Random(seed)
        self._behind = (urlsplit(behind).hostname, urlsplit(behind).port)
        self._gone = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def spoil(self, spoiler: Spoiler, **rule: Any) -> None:
        """Spoil the answers that the rule names, as `Faults.add` does."""
        self.faults.add(spoiler, **rule)  # type: ignore[arg-type]

    def __enter__(self) -> FaultServer:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._gone.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(2 * PATIENCE)

    def _start(self, work: Callable[..., None], *given: object) -> None:
        self._threads.append(threading.Thread(target=work, args=given, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            client.settimeout(PATIENCE)
            request = _head(client)
            head, body = self._ask(request)
            spoiler: Any = self.faults.next(_header(request, "x-api-key"), _path(request))
            self.asked.append(_path(request))
            self.spoiled += spoiler is not None
            exchange = Exchange(client, head, body, self._chance, self._gone)
            (spoiler or _pass_on)(exchange)

    def _ask(self, request: bytes) -> tuple[bytes, bytes]:
        """The simulator's whole answer. One request per connection: where it ends is then beyond doubt."""
        closing_request = request.removesuffix(HEAD_END) + b"\r\nconnection: close" + HEAD_END
        with socket.create_connection(self._behind, PATIENCE) as behind:  # type: ignore[arg-type]
            behind.sendall(closing_request)
            answer = b"".join(iter(lambda: behind.recv(1 << 16), b""))
        head, _, body = answer.partition(HEAD_END)
        return head + HEAD_END, body


@cache
def _packed_blanks() -> bytes:
    return gzip.compress(b" " * 20_000_000)


def _pass_on(x: Exchange) -> None:
    x.send(x.head + x.body)


def _head(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(HEAD_END):
        piece = client.recv(4096)
        if not piece:
            raise ConnectionError
        data += piece
    return data


def _path(request: bytes) -> str:
    return request.split(b" ", 2)[1].decode().partition("?")[0]


def _header(request: bytes, name: str) -> str:
    for line in request.decode().split("\r\n"):
        found, _, value = line.partition(":")
        if found.lower() == name:
            return value.strip()
    return ""
