"""The request guard before the app and Dagster's UI: names they answer to, and what another site's page made a browser
send.
"""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from stax_pipeline.app.request_guard import RequestGuard
from stax_pipeline.installation.settings import read_settings

NAMES = read_settings({"STAX_BEHIND_LOGIN": "stax.example.com"}).served_names
OWN = "127.0.0.1:3000"


async def page(_: Request) -> Response:
    return PlainTextResponse("in")


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("in")
    await socket.close()


ROUTES = [
    Route("/{path:path}", page, methods=["GET", "POST"]),
    WebSocketRoute("/graphql", talk),
]
CLIENT = TestClient(RequestGuard(Starlette(routes=ROUTES), NAMES), base_url=f"http://{OWN}")


def asked(method: str = "GET", path: str = "/", **headers: str) -> int:
    return CLIENT.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}).status_code


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", OWN, "localhost:3000", "LOCALHOST", "[::1]:3000", "stax.example.com", "STAX.example.com:8443"],
)
def test_its_own_names_are_served(host: str) -> None:
    assert asked(host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "evil.example:3000", "127.0.0.1.evil.example", "evil.example#127.0.0.1",
        "127.0.0.1@evil.example", "evil.example@127.0.0.1", "127.0.0.1, evil.example",
        "localhost.", "0.0.0.0", "127.1", "x.stax.example.com",
        "[::1", "::1", "127.0.0.1:", "127.0.0.1:x", " 127.0.0.1/",
    ],
)  # fmt: skip
def test_any_other_name_is_refused(host: str) -> None:
    answer = CLIENT.get("/", headers={"host": host})
    assert answer.status_code == 400
    assert not host or host not in answer.text.replace("127.0.0.1, or", "")


def test_one_name_and_no_more() -> None:
    assert CLIENT.get("/", headers=[("host", OWN), ("host", "evil.example")]).status_code == 400  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (f"http://{OWN}", 200),
        ("https://stax.example.com", 200),
        ("https://stax.example.com:8443", 200),
        ("http://127.0.0.1:8080", 403),  # another program of this machine
        ("http://127.0.0.1", 403),
        ("http://localhost:3000", 403),
        ("http://evil.example", 403),
        ("http://stax.example.com.evil.example", 403),
        ("null", 403),
        ("http://[", 403),
        ("", 403),
    ],
)
def test_a_request_of_another_sites_page_is_refused(origin: str, status: int) -> None:
    assert asked("POST", "/graphql", origin=origin) == status
    assert asked("GET", "/", origin=origin) == status


@pytest.mark.parametrize(
    ("site", "destination", "method", "status"),
    [
        ("same-origin", "empty", "POST", 200),
        ("none", "document", "GET", 200),  # typed into the address bar
        ("cross-site", "document", "GET", 200),  # a link
        ("cross-site", "document", "POST", 403),  # a form
        ("cross-site", "image", "GET", 403),
        ("cross-site", "iframe", "GET", 403),
        ("same-site", "script", "GET", 403),
    ],
)
def test_what_a_browser_says_of_a_request_counts(site: str, destination: str, method: str, status: int) -> None:
    assert asked(method, "/runs", sec_fetch_site=site, sec_fetch_dest=destination) == status


def test_no_query_comes_in_an_address() -> None:
    assert asked("GET", "/graphql?query=mutation{x}", accept="image/*") == 405
    assert asked("GET", "/graphql", accept="text/html") == 200
    assert asked("POST", "/graphql") == 200


def test_a_websocket_of_another_sites_page_is_refused() -> None:
    with CLIENT.websocket_connect("/graphql", headers={"host": OWN, "origin": f"http://{OWN}"}) as own:
        assert own.receive_text() == "in"
    for headers in ({"host": OWN, "origin": "http://evil.example"}, {"host": "evil.example"}):
        with pytest.raises(WebSocketDenialResponse) as refused, CLIENT.websocket_connect("/graphql", headers=headers):
            pass
        assert refused.value.status_code in (400, 403)
