"""What the relay passes on, both ways, and what it holds back; over real sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from stax_pipeline.app.application import create_app
from stax_pipeline.app.dagster_relay import _unframed
from stax_pipeline.installation.settings import read_settings
from stax_pipeline_tests.app.support import POLICY, STAND_IN, served

PROTOCOLS = [Subprotocol("graphql-ws")]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="stax-relay-") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    """The application on loopback, with a stand-in for Dagster's webserver behind it."""
    with served(STAND_IN, folder / "s"), served(create_app(read_settings(), folder / "s")) as made:
        yield made


def ask(port: int, path: str = "/dagster/page", **more: object) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.request(str(more.pop("method", "GET")), f"http://127.0.0.1:{port}{path}", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "target", ["/dagster/", "/dagster/runs/1?a=b%26c&a=2", "/dagster/a%2Fb/%C3%A9?", "/dagster/assets/a%20b?q=%25"]
)
def test_path_and_query_arrive_as_the_browser_wrote_them(port: int, target: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", target)
    told = json.loads(connection.getresponse().read())
    path, _, query = target.partition("?")
    assert (told["path"], told["query"]) == (path, query)


def test_headers_arrive_but_those_of_one_connection_and_of_our_own_login(port: int) -> None:
    given = {
        "Accept": "x/y",
        "Cookie": "session=secret",
        "Authorization": "Bearer secret",
        "TE": "trailers",
        "X-A": "1",
    }
    told = dict(ask(port, headers=given).json()["headers"])
    assert {"accept": "x/y", "x-a": "1", "host": f"127.0.0.1:{port}"}.items() <= told.items()
    assert not {"cookie", "authorization", "te", "transfer-encoding"} & told.keys()
    assert "secret" not in str(told)


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_arrive_whole(port: int, size: int, chunked: bool) -> None:
    body = b"x" * size
    told = ask(port, method="POST", content=iter([body]) if chunked else body).json()
    assert (told["size"], told["method"]) == (size, "POST")


def test_dagsters_policy_is_kept_and_no_page_may_frame_it(port: int) -> None:
    answer = ask(port)
    assert answer.headers["content-security-policy"] == f"{POLICY}; frame-ancestors 'none'"
    assert answer.headers["x-frame-options"] == "DENY"


@given(st.lists(st.sampled_from(["", "default-src 'self'", "img-src *;", "; "]), max_size=3))
@settings(max_examples=30)
def test_whatever_the_policy_there_is_one_and_it_forbids_frames(policies: list[str]) -> None:
    given_headers = [(b"Content-Security-Policy", policy.encode()) for policy in policies]
    [(_, policy)] = [one for one in _unframed(given_headers) if one[0].lower() == b"content-security-policy"]
    told = [part.strip() for part in policy.decode().split(";")]
    assert told[-1] == "frame-ancestors 'none'"
    assert [part for part in told[:-1] if part] == [p.strip("; ") for p in policies if p.strip("; ")]


def test_an_answer_is_passed_on_while_it_is_written(port: int) -> None:
    began = time.monotonic()
    with (
        httpx.Client(trust_env=False) as client,
        client.stream("GET", f"http://127.0.0.1:{port}/dagster/dripping") as answer,
    ):
        pieces = answer.iter_raw()
        assert next(pieces) == b"first\n"
        assert time.monotonic() - began < 1.5, "before the second was written"
        assert b"".join(pieces) == b"second\n"


def test_websockets_carry_text_and_bytes_both_ways_under_the_protocol_that_was_asked_for(port: int) -> None:
    with connect(f"ws://127.0.0.1:{port}/dagster/graphql", subprotocols=PROTOCOLS, proxy=None) as socket:
        assert socket.subprotocol == "graphql-ws"
        for message in ("hello", b"\x00\xff", "é" * 200_000):
            socket.send(message)
            assert socket.recv(10) == message
        socket.send("bye")
        with pytest.raises(ConnectionClosed) as ended:
            socket.recv(10)
        assert ended.value.rcvd and ended.value.rcvd.code == 1000


def test_a_websocket_that_dagster_breaks_off_ends_at_the_browser_too(port: int) -> None:
    with connect(f"ws://127.0.0.1:{port}/dagster/graphql", subprotocols=PROTOCOLS, proxy=None) as socket:
        socket.send("fail")
        with pytest.raises(ConnectionClosed):
            socket.recv(10)


def test_a_page_of_another_site_reaches_neither_the_app_nor_dagster(port: int) -> None:
    for path in ("/", "/health", "/metrics", "/dagster/", "/dagster/graphql"):
        assert ask(port, path, headers={"Host": "evil.example"}).status_code == 400
        assert ask(port, path, headers={"Origin": "http://evil.example"}).status_code == 403
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{port}/dagster/graphql", origin="http://evil.example", proxy=None).__enter__()  # type: ignore[arg-type]


def test_without_a_webserver_the_answer_says_so(folder: Path) -> None:
    with served(create_app(read_settings(), folder / "nobody")) as port:
        answer = ask(port)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "does not answer" in answer.text
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{port}/dagster/graphql", proxy=None).__enter__()


def test_many_pages_at_once_wait_for_nobody(port: int) -> None:
    """More than a client's usual pool of 100 connections."""

    async def all_of_them() -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(trust_env=False, limits=limits, timeout=60) as client:
            asked = [client.get(f"http://127.0.0.1:{port}/dagster/dripping") for _ in range(150)]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert asyncio.run(all_of_them()) == [200] * 150
