"""Which port the app gets, and where this machine reaches it."""

from __future__ import annotations

import socket

import pytest

from stax_pipeline.cli import serving
from stax_pipeline.domain.errors import CannotStart


def test_ports_are_looked_for_on_the_address_that_is_bound() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert serving.free_port(port, "127.0.0.2") > port
    with pytest.raises(CannotStart, match="no address of this machine"):
        serving.free_port(3000, "203.0.113.7")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:3000"), ("0.0.0.0", "http://127.0.0.1:3000"), ("::", "http://[::1]:3000"),
        ("10.0.0.5", "http://10.0.0.5:3000"),
    ],
)  # fmt: skip
def test_the_address_that_this_machine_reaches(host: str, address: str) -> None:
    assert serving.local_address(host, 3000) == address
