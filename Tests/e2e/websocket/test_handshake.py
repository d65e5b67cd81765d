"""Who gets a WebSocket, and what is said to those who do not: on an endpoint and through the proxy alike."""

from __future__ import annotations

import pytest

from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.websocket import HANDSHAKE, TEXT, WebSocket, WebSocketBackend, accept_of, frame

GOOD = dict(line.split(": ", 1) for line in HANDSHAKE)


def lines(**changes: str | None) -> list[str]:
    """The lines of a handshake, some of them changed (`Sec_WebSocket_Key` for the name) or left out."""
    fields = {**GOOD, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return [f"{name}: {value}" for name, value in fields.items() if value is not None]


REFUSED = {
    "version 8": (lines(Sec_WebSocket_Version="8"), 426, "websocket_version_not_supported"),
    "version 14": (lines(Sec_WebSocket_Version="14"), 426, "websocket_version_not_supported"),
    "no version": (lines(Sec_WebSocket_Version=None), 400, "websocket_handshake_error"),
    "version in words": (lines(Sec_WebSocket_Version="latest"), 400, "websocket_handshake_error"),
    "two versions": ([*lines(), "Sec-WebSocket-Version: 13"], 400, "websocket_handshake_error"),
    "no key": (lines(Sec_WebSocket_Key=None), 400, "websocket_handshake_error"),
    "short key": (lines(Sec_WebSocket_Key="c2hvcnQ="), 400, "websocket_handshake_error"),
    "no base64": (lines(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25j!Q=="), 400, "websocket_handshake_error"),
    "two keys": ([*lines(), f"Sec-WebSocket-Key: {GOOD['Sec-WebSocket-Key']}"], 400, "websocket_handshake_error"),
    "body": ([*lines(), "Content-Length: 3"], 400, "websocket_handshake_error"),
    "chunked body": ([*lines(), "Transfer-Encoding: chunked"], 400, "websocket_handshake_error"),
}


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend) -> Gateway:
    return launch_shared(access_log=True, upstreams=[upstream(shared_backend.port)], routes=[{"path": "/ws", "echo": {}}, respond("/plain")])


@pytest.mark.parametrize("path", ["/ws", "/api"])
@pytest.mark.parametrize("name", REFUSED)
def test_refused(gateway: Gateway, shared_backend, path: str, name: str) -> None:
    fields, status, token = REFUSED[name]
    seen = len(shared_backend.requests)
    with gateway.connect() as client:
        client.send(request("GET", path, *fields, "Accept: application/json"))
        response = client.read()
        assert response.status == status and f'"fault":"{token}"' in response.text
        assert (response.header("sec-websocket-version") == "13") == (status == 426)
        assert response.closes and client.at_end()
    assert len(shared_backend.requests) == seen


@pytest.mark.parametrize("fields", [[], ["Upgrade: websocket"], lines(Connection="close"), lines(Upgrade="h2c"), lines(Upgrade=None)])
def test_endpoint_without_upgrade(gateway: Gateway, fields: list[str]) -> None:
    response = gateway.get("/ws", *[line for line in fields if not line.startswith("Connection")])
    assert response.status == 426 and response.header("upgrade") == "websocket"


def test_other_methods(gateway: Gateway) -> None:
    with gateway.connect() as client:
        response = client.request("POST", "/ws", *HANDSHAKE)
        assert response.status == 405


def test_http_1_0_cannot_upgrade(gateway: Gateway) -> None:
    with gateway.connect() as client:
        client.send("GET /ws HTTP/1.0\r\nHost: test\r\n" + "".join(f"{line}\r\n" for line in HANDSHAKE) + "\r\n")
        assert client.read().status == 426


def test_no_route(gateway: Gateway) -> None:
    with gateway.connect() as client:
        assert client.request("GET", "/nowhere", *HANDSHAKE).status == 404


def test_a_fixed_answer_stays_one(gateway: Gateway) -> None:
    with gateway.connect() as client:
        response = client.request("GET", "/plain", *HANDSHAKE)
        assert response.status == 200 and not response.closes


@pytest.mark.parametrize("upgrade", ["WebSocket", "h2c, websocket", "websocket"])
@pytest.mark.parametrize("connection", ["upgrade", "keep-alive, Upgrade"])
def test_spellings(gateway: Gateway, upgrade: str, connection: str) -> None:
    with gateway.connect() as client:
        client.send(request("GET", "/ws", *lines(Upgrade=upgrade, Connection=connection)))
        response = client.read_head()
        assert response.status == 101 and response.header("sec-websocket-accept") == accept_of()
        assert response.header("x-request-id") and response.header("server") == "gateway"


def test_after_other_requests(gateway: Gateway) -> None:
    """A connection that has served requests, and has one waiting before the handshake."""
    with gateway.connect() as client:
        assert client.request("GET", "/plain").status == 200
        client.send(request("GET", "/plain") + request("GET", "/ws", *HANDSHAKE) + frame(TEXT, "early"))
        assert client.read().status == 200
        assert client.read_head().status == 101
        assert client.reader.exactly(7) == b"\x81\x05early"


def test_frames_behind_the_handshake(gateway: Gateway) -> None:
    with WebSocket(gateway.port, behind=frame(TEXT, "one") + frame(TEXT, "two")) as socket:
        assert socket.message() == (TEXT, b"one") and socket.message() == (TEXT, b"two")


@pytest.mark.parametrize(("offer", "chosen"), [("chat", "chat"), ("superchat, chat", "superchat"), ("soap , chat", "chat"), ("soap", None), (None, None)])
def test_subprotocols(launch, offer: str | None, chosen: str | None) -> None:
    gateway: Gateway = launch(routes=[{"path": "/ws", "echo": {"subprotocols": ["chat", "superchat"]}}])
    more = [f"Sec-WebSocket-Protocol: {offer}"] if offer else []
    with WebSocket(gateway.port, "/ws", *more) as socket:
        assert socket.response.header("sec-websocket-protocol") == chosen


DEFLATE = {
    "permessage-deflate": "permessage-deflate; server_max_window_bits=12",
    "permessage-deflate; client_max_window_bits": "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover":
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
    "permessage-deflate; server_max_window_bits=8": "permessage-deflate; server_max_window_bits=8",
    "permessage-deflate; unknown, permessage-deflate; client_max_window_bits=9": "permessage-deflate; server_max_window_bits=12; client_max_window_bits=9",
    "permessage-deflate; server_max_window_bits=7": None,
    "x-webkit-deflate-frame": None,
}


@pytest.mark.parametrize("offer", DEFLATE)
def test_compression(gateway: Gateway, offer: str) -> None:
    with WebSocket(gateway.port, "/ws", f"Sec-WebSocket-Extensions: {offer}") as socket:
        assert socket.response.header("sec-websocket-extensions") == DEFLATE[offer]


def test_extensions_that_are_no_list(gateway: Gateway) -> None:
    with gateway.connect() as client:
        response = client.request("GET", "/ws", *HANDSHAKE, "Sec-WebSocket-Extensions: permessage-deflate; =")
        assert response.status == 400


def test_compression_off(launch) -> None:
    gateway: Gateway = launch(routes=[{"path": "/ws", "echo": {"compression": False}}])
    with WebSocket(gateway.port, "/ws", "Sec-WebSocket-Extensions: permessage-deflate") as socket:
        assert socket.response.header("sec-websocket-extensions") is None


def test_context_takeover_off(launch) -> None:
    gateway: Gateway = launch(routes=[{"path": "/ws", "echo": {"context_takeover": False, "window_bits": 15}}])
    with WebSocket(gateway.port, "/ws", "Sec-WebSocket-Extensions: permessage-deflate") as socket:
        assert socket.response.header("sec-websocket-extensions") == "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
