"""max_body_size."""

from __future__ import annotations

import pytest

from support.backend import Backend
from support.client import Client, request
from support.configuration import upstream
from support.gateway import Gateway


@pytest.fixture
def gateway(launch, backend: Backend) -> Gateway:
    return launch(max_body_size=1000, upstreams=[upstream(backend.port), upstream(backend.port, "/buffered", "buffered", request_mode="buffered")])


@pytest.mark.parametrize("path", ["/api", "/buffered"])
def test_declared_length(gateway: Gateway, backend: Backend, path: str) -> None:
    with Client(gateway.port) as client:
        client.send(f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 1001\r\n\r\n")
        response = client.read("POST")
        assert response.status == 413 and response.closes and client.at_end()
    assert backend.requests == []


@pytest.mark.parametrize("path", ["/api", "/buffered"])
def test_exactly_the_bound(gateway: Gateway, path: str) -> None:
    with Client(gateway.port) as client:
        assert client.request("POST", path, body=b"x" * 1000).status == 200
        chunked = b"1f4\r\n" + b"x" * 500 + b"\r\n1f4\r\n" + b"x" * 500 + b"\r\n0\r\n\r\n"
        client.send(request("POST", path, "Transfer-Encoding: chunked", body=chunked))
        assert client.read("POST").status == 200


@pytest.mark.parametrize("path", ["/api", "/buffered"])
def test_chunks_together(gateway: Gateway, backend: Backend, path: str) -> None:
    with Client(gateway.port) as client:
        client.send(request("POST", path, "Transfer-Encoding: chunked", body=(b"1f4\r\n" + b"x" * 500 + b"\r\n") * 3 + b"0\r\n\r\n"))
        response = client.read("POST")
        assert response.status == 413 and response.closes
    assert not any(one.complete for one in backend.requests)


def test_one_huge_chunk_is_refused_by_its_size(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send(request("POST", "/api", "Transfer-Encoding: chunked", body=b"7fffffff\r\n"))
        assert client.read("POST").status == 413


def test_zero_means_any(launch, backend: Backend) -> None:
    gateway: Gateway = launch(max_body_size=0, upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        assert client.request("POST", "/api", body=b"x" * 5_000_000).status == 200
    assert len(backend.last.body) == 5_000_000


def test_the_answer_survives_what_the_client_still_sends(gateway: Gateway) -> None:
    """Closing with unread bytes makes the kernel send RST, which can destroy the answer."""
    for _ in range(5):
        with Client(gateway.port) as client:
            client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 300000\r\n\r\n")
            try:
                for _ in range(30):
                    client.send(b"x" * 10_000)
            except OSError:
                pass
            assert client.read("POST").status == 413
