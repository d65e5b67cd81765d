"""Bounds of a route's own: max_body_size, request_timeout_sec, client_send_timeout_sec."""

from __future__ import annotations

import pytest

from support.backend import Backend, head
from support.client import Client, request
from support.configuration import forward, respond, upstream
from support.gateway import Gateway
from support.http2 import Http2

SMALL, LARGE = 100, 5000


@pytest.fixture
def gateway(launch, backend: Backend) -> Gateway:
    marks = {"set": {"X-Route": "{route}"}, "always": True}
    return launch(access_log=True, max_body_size=1000, upstreams=[upstream(backend.port, "/short", max_body_size=SMALL)],
                  routes=[forward("/small", max_body_size=SMALL, response_headers=marks), forward("/large", max_body_size=LARGE), forward("/any", max_body_size=0),
                          forward("/plain"), {**respond("/fixed"), "methods": ["POST"], "max_body_size": SMALL}])


def status(gateway: Gateway, protocol: int, path: str, size: int, chunked: bool = False) -> int:
    if protocol == 2:
        with Http2(gateway.port) as client:
            # What is too long is refused by what is declared.
            stream = client.request("POST", path, ("content-length", str(size)), end=False)
            client.ping()
            if client.answers[stream].fields is None:
                client.data(stream, b"x" * size)
            return client.answer(stream).status
    with Client(gateway.port) as client:
        if chunked:
            client.send(request("POST", path, "Transfer-Encoding: chunked", body=f"{size:x}\r\n".encode() + b"x" * size + b"\r\n0\r\n\r\n"))
            return client.read("POST").status
        return client.request("POST", path, body=b"x" * size).status


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize(("path", "bound"), [("/small", SMALL), ("/large", LARGE), ("/plain", 1000), ("/fixed", SMALL), ("/short/x", SMALL), ("/missing", 1000)])
def test_declared_length(gateway: Gateway, backend: Backend, protocol: int, path: str, bound: int) -> None:
    assert status(gateway, protocol, path, bound) == (404 if path == "/missing" else 200)
    before = len(backend.requests)
    assert status(gateway, protocol, path, bound + 1) == 413
    assert not any(one.complete for one in backend.requests[before:])


@pytest.mark.parametrize(("path", "bound"), [("/small", SMALL), ("/large", LARGE), ("/plain", 1000), ("/fixed", SMALL)])
def test_chunks(gateway: Gateway, path: str, bound: int) -> None:
    assert status(gateway, 1, path, bound, chunked=True) == 200
    if path != "/fixed":
        assert status(gateway, 1, path, bound + 1, chunked=True) == 413


def test_zero_means_any(gateway: Gateway) -> None:
    assert status(gateway, 1, "/any", 100_000) == 200


def test_one_connection_many_routes(gateway: Gateway) -> None:
    """Each request has the bounds of its own route."""
    with Client(gateway.port) as client:
        for path, size in [("/small", SMALL), ("/large", LARGE), ("/plain", 1000), ("/small", SMALL), ("/large", LARGE)]:
            assert client.request("POST", path, body=b"x" * size).status == 200
        assert client.request("POST", "/small", body=b"x" * (SMALL + 1)).status == 413


def test_the_refusal_belongs_to_its_route(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        response = client.request("POST", "/small", body=b"x" * 101)
    assert response.status == 413 and response.header("x-route") == "/small" and response.header("x-request-body-limit-exceeded") == "true"
    entry = gateway.access_entries()[0]
    assert entry["error.type"] == "http_request_body_too_large" and entry["http.route"] == "/small"


def test_pause_in_a_body(launch, backend: Backend) -> None:
    gateway: Gateway = launch(access_log=True, request_timeout_sec=60, upstreams=[upstream(backend.port, None)],
                              routes=[forward("/quick", request_timeout_sec="300ms"), forward("/slow")])
    with Client(gateway.port) as quick, Client(gateway.port) as slow:
        for client, path in ((slow, "/slow"), (quick, "/quick")):
            client.send(f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc")
        assert quick.read("POST").status == 408
        slow.send("defghij")
        assert slow.read("POST").status == 200
    assert gateway.access_entries()[0]["error.type"] == "http_request_timeout"


def test_client_that_takes_nothing(launch, backend: Backend) -> None:
    size = 30 << 20

    def flood(connection, asked) -> None:
        connection.send(head(200, f"Content-Length: {size}"))
        for _ in range(size >> 20):
            connection.send(b"x" * (1 << 20))

    backend.answer = flood
    gateway: Gateway = launch(access_log=True, send_timeout_sec=60, upstreams=[upstream(backend.port, None)],
                              routes=[forward("/quick", client_send_timeout_sec="300ms"), forward("/slow")])
    with Client(gateway.port, receive_buffer=65_536) as quick, Client(gateway.port, receive_buffer=65_536) as slow:
        for client, path in ((slow, "/slow"), (quick, "/quick")):
            client.send(request("GET", path))
        assert gateway.access_entries()[0]["error.type"] == "client_stalled"
        slow.sock.settimeout(20)
        assert len(slow.read().body) == size
    assert [one["http.route"] for one in gateway.access_entries(2)] == ["/quick", "/slow"]
