"""Trailers, both ways."""

from __future__ import annotations

import pytest

from support.backend import Backend, reply_chunked
from support.client import Client, request
from support.configuration import upstream
from support.gateway import Gateway


@pytest.fixture
def gateway(launch, backend: Backend) -> Gateway:
    return launch(upstreams=[upstream(backend.port, forward_trailers=True), upstream(backend.port, "/without", "without")])


def test_response_trailers_are_relayed(gateway: Gateway, backend: Backend) -> None:
    backend.answer = reply_chunked([b"body"], "Trailer: X-Sum, X-More", trailers=["X-Sum: abc", "X-More: 1"])
    with Client(gateway.port) as client:
        for _ in range(2):
            response = client.request("GET", "/api", "TE: trailers")
            assert [(name.lower(), value) for name, value in response.trailers] == [(b"x-sum", b"abc"), (b"x-more", b"1")]


def test_response_trailers_are_dropped_by_default(gateway: Gateway, backend: Backend) -> None:
    backend.answer = reply_chunked([b"body"], "Trailer: X-Sum", trailers=["X-Sum: abc"])
    with Client(gateway.port) as client:
        for _ in range(2):
            response = client.request("GET", "/without", "TE: trailers")
            assert response.trailers == [] and response.header("trailer") is None


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Host", "Connection", "Content-Type", "Authorization", "Trailer"])
def test_forbidden_response_trailers_are_dropped(gateway: Gateway, backend: Backend, name: str) -> None:
    backend.answer = reply_chunked([b"body"], f"Trailer: {name}, X-Sum", trailers=[f"{name}: 1", "X-Sum: abc"])
    with Client(gateway.port) as client:
        response = client.request("GET", "/api", "TE: trailers")
        assert [value for _, value in response.trailers] == [b"abc"]


def test_a_http_1_0_client_gets_none(gateway: Gateway, backend: Backend) -> None:
    backend.answer = reply_chunked([b"body"], "Trailer: X-Sum", trailers=["X-Sum: abc"])
    with Client(gateway.port) as client:
        client.send("GET /api HTTP/1.0\r\n\r\n")
        assert client.read().body == b"body"


def test_request_trailers_are_forwarded(gateway: Gateway, backend: Backend) -> None:
    with Client(gateway.port) as client:
        client.send(request("POST", "/api", "Transfer-Encoding: chunked", "Trailer: X-Sum", body=b"5\r\nhello\r\n0\r\nX-Sum: abc\r\n\r\n"))
        assert client.read("POST").status == 200
    assert [(name.lower(), value) for name, value in backend.last.trailers] == [(b"x-sum", b"abc")]


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Host", "Authorization", "Connection"])
def test_forbidden_request_trailers_are_not_forwarded(gateway: Gateway, backend: Backend, name: str) -> None:
    with Client(gateway.port) as client:
        client.send(request("POST", "/api", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n" + name.encode() + b": 1\r\n\r\n"))
        assert client.read("POST").status in (200, 400)
    assert backend.requests == [] or backend.last.trailers == []
