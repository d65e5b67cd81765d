"""Content-Length and Transfer-Encoding: anything two parties could read differently is refused."""

from __future__ import annotations

import pytest

from support.backend import Backend
from support.client import Client
from support.configuration import upstream
from support.gateway import Gateway

REFUSED = [
    (["Content-Length: +5"], 400),
    (["Content-Length: -1"], 400),
    (["Content-Length: 5,5"], 400),
    (["Content-Length: 5, 5"], 400),
    (["Content-Length: 5 5"], 400),
    (["Content-Length: 0x5"], 400),
    (["Content-Length: 1e1"], 400),
    (["Content-Length: 5."], 400),
    (["Content-Length: five"], 400),
    (["Content-Length:"], 400),
    (['Content-Length: "5"'], 400),
    (["Content-Length: 5;"], 400),
    (["Content-Length: 99999999999999999999999"], (400, 413)),
    (["Content-Length: 18446744073709551621"], (400, 413)),
    (["Content-Length: 9223372036854775808"], (400, 413)),
    (["Content-Length: 5", "Content-Length: 5"], 400),
    (["Content-Length: 5", "Content-Length: 6"], 400),
    (["Content-Length: 5", "content-length: 0"], 400),
    (["Content-Length: 5", "Transfer-Encoding: chunked"], 400),
    (["Transfer-Encoding: chunked", "Content-Length: 5"], 400),
    (["Transfer-Encoding: chunked", "Content-Length: 0"], 400),
    (["Transfer-Encoding: gzip", "Content-Length: 5"], (400, 501)),
    (["Transfer-Encoding: gzip"], 501),
    (["Transfer-Encoding: identity"], 501),
    (["Transfer-Encoding: xchunked"], 501),
    (["Transfer-Encoding: chunkedx"], 501),
    (["Transfer-Encoding: gzip, chunked"], 501),
    (["Transfer-Encoding: chunked, gzip"], (400, 501)),
    (["Transfer-Encoding: chunked, chunked"], (400, 501)),
    (["Transfer-Encoding: chunked, identity"], (400, 501)),
    (["Transfer-Encoding: chunked;q=1"], (400, 501)),
    (['Transfer-Encoding: "chunked"'], (400, 501)),
    (["Transfer-Encoding:"], (400, 501)),
    (["Transfer-Encoding: \x0bchunked"], 400),
    (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], (400, 501)),
    (["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], (400, 501)),
    (["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"], (400, 501)),
]


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(upstreams=[upstream(shared_backend.port)])


@pytest.mark.parametrize(("lines", "expected"), REFUSED, ids=[" + ".join(row[0]) for row in REFUSED])
def test_is_refused_and_nothing_is_forwarded(gateway: Gateway, shared_backend: Backend, lines: list[str], expected: int | tuple[int, ...]) -> None:
    before = len(shared_backend.requests)
    with Client(gateway.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\n" + "\r\n".join(lines) + "\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        response = client.read()
        assert response.status in (expected if isinstance(expected, tuple) else (expected,))
        assert response.closes and client.at_end()
    assert len(shared_backend.requests) == before


def test_transfer_encoding_in_http_1_0_is_refused(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send("POST /api HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert client.read().status == 400


@pytest.mark.parametrize("value", ["chunked", "Chunked", "CHUNKED", " chunked \t"])
def test_chunked_is_accepted(gateway: Gateway, shared_backend: Backend, value: str) -> None:
    with Client(gateway.port) as client:
        client.send(f"POST /api HTTP/1.1\r\nHost: test\r\nTransfer-Encoding:{value}\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        assert client.read("POST").status == 200
    assert shared_backend.last.body == b"hello"


@pytest.mark.parametrize("value", ["5", "05", "0000000005"])
def test_length_is_accepted(gateway: Gateway, shared_backend: Backend, value: str) -> None:
    with Client(gateway.port) as client:
        client.send(f"POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: {value}\r\n\r\nhello")
        assert client.read("POST").status == 200
    assert shared_backend.last.body == b"hello"
    assert shared_backend.last.header("content-length") == "5"


def test_the_byte_after_a_body_begins_the_next_request(gateway: Gateway, shared_backend: Backend) -> None:
    """No byte of a body is ever read as a request, nor the other way round."""
    before = len(shared_backend.requests)
    hidden = "GET /api/hidden HTTP/1.1\r\nHost: test\r\n\r\n"
    with Client(gateway.port) as client:
        client.send(f"POST /api/outer HTTP/1.1\r\nHost: test\r\nContent-Length: {len(hidden)}\r\n\r\n{hidden}"
                    "GET /api/next HTTP/1.1\r\nHost: test\r\n\r\n")
        assert [client.read("POST").status, client.read().status] == [200, 200]
    assert [request.target for request in shared_backend.requests[before:]] == ["/api/outer", "/api/next"]
    assert shared_backend.requests[before].body == hidden.encode()
