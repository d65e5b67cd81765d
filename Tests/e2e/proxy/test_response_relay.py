"""How responses are framed for the client, and which fields it sees."""

from __future__ import annotations

import pytest

from support.backend import Backend, head, raw, reply, reply_chunked
from support.client import Client
from support.configuration import upstream
from support.gateway import Gateway

BODY = bytes(range(256)) * 40


@pytest.fixture(params=["auto", "always", "never"])
def gateway(launch, backend: Backend, request: pytest.FixtureRequest) -> Gateway:
    return launch(upstreams=[upstream(backend.port, buffering=request.param)])


def test_length_is_kept(gateway: Gateway, backend: Backend) -> None:
    backend.answer = reply(body=BODY)
    response = gateway.get("/api")
    assert response.header("content-length") == str(len(BODY)) and response.body == BODY


def test_chunked(gateway: Gateway, backend: Backend) -> None:
    backend.answer = reply_chunked([BODY, b"x", BODY])
    with Client(gateway.port) as client:
        for _ in range(2):
            assert client.request("GET", "/api").body == BODY + b"x" + BODY
    assert len(backend.connections) == 1


def test_ended_by_closing(gateway: Gateway, backend: Backend) -> None:
    backend.answer = raw(head(200, "X-A: 1") + BODY)
    with Client(gateway.port) as client:
        for _ in range(2):
            response = client.request("GET", "/api")
            assert response.body == BODY and not response.closes


def test_http_1_0_backend(gateway: Gateway, backend: Backend) -> None:
    backend.answer = raw(head(200, version="HTTP/1.0") + BODY)
    response = gateway.get("/api")
    assert response.body == BODY and response.minor == 1


def test_chunked_to_a_http_1_0_client(gateway: Gateway, backend: Backend) -> None:
    backend.answer = reply_chunked([BODY, BODY])
    with Client(gateway.port) as client:
        client.send("GET /api HTTP/1.0\r\n\r\n")
        response = client.read()
        assert response.body == BODY * 2 and response.header("transfer-encoding") is None


def test_empty_bodies(gateway: Gateway, backend: Backend) -> None:
    with Client(gateway.port) as client:
        for answer in (reply(), reply_chunked([])):
            backend.answer = answer
            assert client.request("GET", "/api").body == b""


def test_status_and_reason_are_relayed(gateway: Gateway, backend: Backend) -> None:
    for status, reason in [(201, "Created"), (404, "Nowhere"), (500, "Broken"), (599, "Odd"), (200, "")]:
        backend.answer = reply(status, reason=reason)
        response = gateway.get("/api")
        assert response.status == status and response.reason in (reason, {404: "Not Found", 500: "Internal Server Error", 200: "OK", 599: "Unknown"}.get(status))


def test_order_and_duplicates_are_kept(gateway: Gateway, backend: Backend) -> None:
    backend.answer = reply(200, "Set-Cookie: a=1", "X-B: 2", "Set-Cookie: b=2", "X-A: 3", "X-B: 4")
    fields = [(name.lower(), value) for name, value in gateway.get("/api").fields if name.lower() in (b"set-cookie", b"x-a", b"x-b")]
    assert fields == [(b"set-cookie", b"a=1"), (b"x-b", b"2"), (b"set-cookie", b"b=2"), (b"x-a", b"3"), (b"x-b", b"4")]


def test_hop_by_hop_fields_are_dropped(gateway: Gateway, backend: Backend) -> None:
    backend.answer = reply(200, "Connection: X-Private", "X-Private: 1", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Upgrade: h2c",
                           "X-Public: 1")
    response = gateway.get("/api")
    for name in ("x-private", "keep-alive", "proxy-connection", "upgrade"):
        assert response.header(name) is None, name
    assert response.header("x-public") == "1"


def test_date_and_server_of_the_backend_are_kept(gateway: Gateway, backend: Backend) -> None:
    backend.answer = reply(200, "Date: Thu, 01 Jan 1970 00:00:00 GMT", "Server: other")
    response = gateway.get("/api")
    assert response.header("date") == "Thu, 01 Jan 1970 00:00:00 GMT" and response.header("server") == "other"


def test_via_is_appended(gateway: Gateway, backend: Backend) -> None:
    backend.answer = reply(200, "Via: 1.0 other")
    assert ", ".join(gateway.get("/api").all("via")) == "1.0 other, 1.1 gateway"


def test_close_of_the_backend_does_not_close_the_client(gateway: Gateway, backend: Backend) -> None:
    def answer(connection, asked) -> None:
        connection.send(head(200, "Content-Length: 2", "Connection: close") + b"ok")
        connection.close()

    backend.answer = answer
    with Client(gateway.port) as client:
        for _ in range(3):
            assert not client.request("GET", "/api").closes
    assert len(backend.connections) == 3
