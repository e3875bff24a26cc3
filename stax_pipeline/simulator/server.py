"""Serving the simulated source on loopback: in a thread for tests and the demo, or until a signal for a command.

What is served is in `app`. No address but loopback is ever bound.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType

import uvicorn

from stax_pipeline.simulator.app import Api, Clock, LoggedRequest
from stax_pipeline.simulator.faults import Faults
from stax_pipeline.simulator.organization import Organization

_BACKLOG = 2048


def real_time() -> datetime:
    return datetime.now(UTC)


class Simulator:
    """The Admin API on loopback, as a context manager. `keys` has one valid Admin key by organisation name."""

    def __init__(
        self,
        organizations: Iterable[Organization],
        clock: Clock = real_time,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        require_loopback(host)
        self.organizations = {organization.name: organization for organization in organizations}
        self.keys = {name: organization.admin_key for name, organization in self.organizations.items()}
        self._generations = dict.fromkeys(self.keys, 1)
        self._api = Api(self.organizations.values(), clock)
        self._host, self._port = host, port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def faults(self) -> Faults:
        return self._api.faults

    @property
    def requests(self) -> deque[LoggedRequest]:
        """The log of what was asked and answered, oldest first."""
        return self._api.requests

    @property
    def base_url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def revoke(self, key: str) -> None:
        """From now on `key` is answered with 401."""
        self._api.by_key.pop(key, None)

    def correct(self) -> None:
        """From now on the days that the organisations hold corrections of are shown as they stand in the end."""
        for key, organization in list(self._api.by_key.items()):
            self._api.by_key[key] = replace(organization, corrections=())

    def issue_key(self, name: str) -> str:
        """A further valid Admin key of the organisation; earlier ones stay valid until revoked."""
        organization = self.organizations[name]
        self._generations[name] += 1
        key = organization.further_key(self._generations[name])
        self._api.by_key[key] = organization
        self.keys[name] = key
        return key

    def __enter__(self) -> Simulator:
        listener = _listen(self._host, self._port)
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._api.app(),
            log_config=None,
            log_level="warning",
            access_log=False,
            date_header=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="simulator", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(timeout=10)


def serve_forever(
    port: int, organizations: Iterable[Organization], host: str = "127.0.0.1", *, with_parent: bool = False
) -> None:
    """Serve organisations until SIGINT or SIGTERM; prints the address and each organisation's made-up key.

    On SIGUSR1 the source corrects its days (`Simulator.correct`), and a further line says so. With `with_parent` it
    ends, too, when the process that started it is gone, however that ended.
    """
    stop = threading.Event()
    parent = os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Simulator(organizations, host=host, port=port) as simulator:
        signal.signal(signal.SIGUSR1, lambda *_: _correct(simulator))
        print(simulator.base_url, flush=True)
        for name, key in simulator.keys.items():
            print(f"{name} {key}", flush=True)
        while not stop.wait(timeout=1) and not (with_parent and os.getppid() != parent):
            pass


def _correct(simulator: Simulator) -> None:
    simulator.correct()
    print("corrected", flush=True)


def require_loopback(host: str) -> None:
    """Raise `ValueError` unless `host` is a loopback address."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"the simulator serves on loopback only, not on {host}")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(_BACKLOG)
    return listener
