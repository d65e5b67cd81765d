"""How request bodies are framed for the backend."""

from __future__ import annotations

import time

import pytest

from support.backend import Backend, head
from support.client import Client, request
from support.configuration import upstream
from support.gateway import Gateway


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(upstreams=[upstream(shared_backend.port), upstream(shared_backend.port, "/buffered", "buffered", request_mode="buffered")])


@pytest.mark.parametrize("path", ["/api", "/buffered"])
@pytest.mark.parametrize("size", [1, 5, 16_384, 65_536, 1_000_000])
def test_length_is_kept(gateway: Gateway, shared_backend: Backend, path: str, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    with Client(gateway.port) as client:
        assert client.request("POST", path, body=body[:size]).status == 200
    seen = shared_backend.last
    assert seen.header("content-length") == str(size) and seen.header("transfer-encoding") is None
    assert seen.body == body[:size]


def test_chunked_stays_chunked(gateway: Gateway, shared_backend: Backend) -> None:
    with Client(gateway.port) as client:
        client.send(request("POST", "/api", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"))
        assert client.read("POST").status == 200
    seen = shared_backend.last
    assert seen.header("transfer-encoding") == "chunked" and seen.header("content-length") is None
    assert seen.body == b"hello world"


def test_buffered_chunked_gets_a_length(gateway: Gateway, shared_backend: Backend) -> None:
    with Client(gateway.port) as client:
        client.send(request("POST", "/buffered", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"))
        assert client.read("POST").status == 200
    seen = shared_backend.last
    assert seen.header("content-length") == "11" and seen.header("transfer-encoding") is None
    assert seen.body == b"hello world"


@pytest.mark.parametrize("path", ["/api", "/buffered"])
def test_empty_body_keeps_its_length(gateway: Gateway, shared_backend: Backend, path: str) -> None:
    with Client(gateway.port) as client:
        assert client.request("POST", path, "Content-Length: 0").status == 200
    assert shared_backend.last.header("content-length") == "0"


def test_a_get_with_a_body_is_forwarded_with_it(gateway: Gateway, shared_backend: Backend) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", "/api", body=b"query").status == 200
    assert shared_backend.last.body == b"query"


def test_streaming_begins_before_the_body_has_ended(gateway: Gateway, shared_backend: Backend) -> None:
    before = len(shared_backend.requests)
    with Client(gateway.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
        shared_backend.wait_requests(before + 1)
        client.send("world")
        assert client.read("POST").status == 200


def test_streamed_pieces_arrive_as_they_are_sent(gateway: Gateway, shared_backend: Backend) -> None:
    arrived: list[bytes] = []
    kept = shared_backend.answer

    def answer(connection, asked) -> None:
        while not b"".join(arrived).endswith(b"0\r\n\r\n"):
            arrived.append(connection.reader.some(1000))
        connection.send(head(200, "Content-Length: 0"))

    shared_backend.answer = answer
    try:
        with Client(gateway.port) as client:
            client.send("POST /api HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
            for count in range(1, 4):
                client.send("3\r\nabc\r\n")
                deadline = time.monotonic() + 3
                while b"".join(arrived).count(b"abc") < count:
                    assert time.monotonic() < deadline, "a chunk was held back"
                    time.sleep(0.005)
            client.send("0\r\n\r\n")
            assert client.read("POST").status == 200
    finally:
        shared_backend.answer = kept


def test_buffered_waits_for_the_whole_body(gateway: Gateway, shared_backend: Backend) -> None:
    before = len(shared_backend.requests)
    with Client(gateway.port) as client:
        client.send("POST /buffered HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
        time.sleep(0.3)
        assert len(shared_backend.requests) == before
        client.send("world")
        assert client.read("POST").status == 200
    assert shared_backend.last.body == b"helloworld"
