"""A mail server for tests: takes every message on loopback and remembers what it was told. Enough SMTP, no more."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
from typing import Any


class SmtpSink:
    """Runs in a thread while it is entered. With `tls` it offers STARTTLS, or speaks TLS from the first byte.

    `refuse` are recipients it does not take; `down` makes it answer 421 to everybody; `silent` says nothing at all.
    """

    def __init__(
        self, *, password: str = "", tls: ssl.SSLContext | None = None, tls_at_once: bool = False, silent: bool = False
    ) -> None:
        self.password, self.tls, self.tls_at_once, self.silent = password, tls, tls_at_once, silent
        self.refuse: set[str] = set()
        self.down = False
        self.said: list[str] = []
        self.logins: list[tuple[str, str]] = []
        self.messages: list[tuple[str, list[str], bytes]] = []
        self.ended = threading.Event()

    def __enter__(self) -> SmtpSink:
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


def _handler(sink: SmtpSink) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                _Session(sink, self.request).serve()
            except OSError:
                return

    return Handler


class _Session:
    """One connection."""

    def __init__(self, sink: SmtpSink, connection: Any) -> None:
        self.sink, self.connection = sink, connection
        self.sender, self.recipients = "", list[str]()
        self.secure = False

    def serve(self) -> None:
        if self.sink.silent:
            self.sink.ended.wait(10)
            return
        if self.sink.tls_at_once:
            self._secure()
        self._open()
        self._say("421 down" if self.sink.down else "220 sink")
        while line := self.lines.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            self.sink.said.append(verb.upper())
            if verb.upper() == "QUIT":
                self._say("221 bye")
                return
            self._answer(verb.upper(), rest)

    def _open(self) -> None:
        self.lines = self.connection.makefile("rb")

    def _secure(self) -> None:
        assert self.sink.tls
        self.connection = self.sink.tls.wrap_socket(self.connection, server_side=True)
        self.secure = True

    def _say(self, text: str) -> None:
        self.connection.sendall(text.encode() + b"\r\n")

    def _answer(self, verb: str, rest: str) -> None:
        match verb:
            case "EHLO":
                offers = ["STARTTLS"] if self.sink.tls and not self.secure else ["AUTH PLAIN"]
                self._say("\r\n".join(["250-sink", *(f"250 {offer}" for offer in offers)]))
            case "STARTTLS":
                self._say("220 go on")
                self._secure()
                self._open()
            case "AUTH":
                _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
                self.sink.logins.append((user, password))
                self._say("235 welcome" if password == self.sink.password else f"535 not {password}")
            case "MAIL":
                self.sender, self.recipients = _address(rest), []
                self._say("250 ok")
            case "RCPT":
                self._recipient(_address(rest))
            case "DATA":
                self._say("354 go on")
                content = b"".join(iter(self.lines.readline, b".\r\n"))
                self.sink.messages.append((self.sender, self.recipients, content))
                self._say("250 taken")
            case _:
                self._say("250 ok")

    def _recipient(self, address: str) -> None:
        if address in self.sink.refuse:
            self._say("550 no such person")
            return
        self.recipients.append(address)
        self._say("250 ok")


def _address(text: str) -> str:
    return text[text.index("<") + 1 : text.index(">")]
