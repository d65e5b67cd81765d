"""Every way an exchange with a backend can fail: the status the client gets, and the token in the access log."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from support.backend import Answer, Backend, chunk, finish, full_endpoint, head, raw, unused_endpoint
from support.client import Client, Closed, request
from support.configuration import upstream
from support.gateway import Gateway

LONG = b"x" * 500_000


def fault(gateway: Gateway, count: int = 1) -> tuple[int, str]:
    entry = gateway.access_entries(count)[-1]
    return entry["http.response.status_code"], entry.get("error.type", "-")


def start(launch, backend: Backend, answer: Answer, **proxy: Any) -> Gateway:
    backend.answer = answer
    return launch(access_log=True, upstreams=[upstream(backend.port, **{"response_timeout_ms": 300, "stream_idle_timeout_sec": "300ms", **proxy})])


# No connection


def test_refused(launch) -> None:
    kept, port = unused_endpoint()
    gateway: Gateway = launch(access_log=True, upstreams=[upstream(port)])
    with Client(gateway.port) as client:
        response = client.request("GET", "/api")
        assert response.status == 502 and response.text.strip() == "Bad Gateway" and not response.closes
        assert client.request("GET", "/api").status == 502, "the client's connection is still of use"
    assert fault(gateway) == (502, "connection_refused")
    kept.close()


def test_connect_timeout(launch) -> None:
    kept, port = full_endpoint()
    gateway: Gateway = launch(access_log=True, upstreams=[upstream(port, pool={"connect_timeout_ms": 200})])
    begun = time.monotonic()
    assert gateway.get("/api").status == 502
    assert 0.15 < time.monotonic() - begun < 2
    assert fault(gateway) == (502, "connection_timeout")
    for sock in kept:
        sock.close()


def test_unroutable(launch) -> None:
    gateway: Gateway = launch(access_log=True, upstreams=[upstream(80, host="255.255.255.255", pool={"connect_timeout_ms": 500})])
    assert gateway.get("/api").status == 502
    assert fault(gateway)[1] in ("destination_ip_unroutable", "destination_unavailable")


# No response


@pytest.mark.parametrize("then", ["close", "reset"])
def test_closed_before_the_response(launch, backend: Backend, then: str) -> None:
    gateway = start(launch, backend, raw("", then=then))
    assert gateway.get("/api").status == 502
    assert fault(gateway) == (502, "connection_terminated")


@pytest.mark.parametrize("partial", ["H", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"])
def test_closed_within_the_response_head(launch, backend: Backend, partial: str) -> None:
    gateway = start(launch, backend, raw(partial))
    assert gateway.get("/api").status == 502
    assert fault(gateway)[1] in ("connection_terminated", "http_response_incomplete")


@pytest.mark.parametrize("partial", ["", "HTTP/1.1 200 OK\r\nContent-Le"])
def test_no_response_in_time(launch, backend: Backend, partial: str) -> None:
    gateway = start(launch, backend, raw(partial, then="hang"))
    begun = time.monotonic()
    assert gateway.get("/api").status == 504
    assert 0.25 < time.monotonic() - begun < 2
    assert fault(gateway) == (504, "http_response_timeout")
    assert backend.connections[0].ended.wait(2), "the backend's connection was closed"


def test_backend_takes_nothing_of_the_body(launch) -> None:
    backend = Backend(receive_buffer=4096)
    stop = []

    def on_connection(connection) -> None:
        while not stop:
            time.sleep(0.01)

    backend.on_connection = on_connection
    gateway: Gateway = launch(access_log=True, max_body_size=0, upstreams=[upstream(backend.port, response_timeout_ms=300)])
    with Client(gateway.port, timeout=5) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n")
        client.sock.settimeout(0.5)
        try:
            while True:
                client.send(LONG)
        except OSError:
            pass
        client.sock.settimeout(5)
        assert client.read("POST").status == 504
    assert fault(gateway) == (504, "connection_write_timeout")
    stop.append(True)
    backend.stop()


# A bad response

MALFORMED = [
    "garbage\r\n\r\n",
    "HTTP/1.1\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1 abc OK\r\n\r\n",
    "HTTP/1.1 099 Low\r\n\r\n",
    "HTTP/2.0 200 OK\r\n\r\n",
    "HTTQ/1.1 200 OK\r\n\r\n",
    "http/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("answer", MALFORMED)
def test_malformed_head(launch, backend: Backend, answer: str) -> None:
    gateway = start(launch, backend, raw(answer.encode("latin-1"), then="hang"))
    assert gateway.get("/api").status == 502
    assert fault(gateway) == (502, "http_protocol_error")


def test_head_too_large(launch, backend: Backend) -> None:
    gateway = start(launch, backend, raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 2_000_000, then="hang"), response_timeout_ms=3000)
    assert gateway.get("/api").status == 502
    assert fault(gateway) == (502, "http_response_header_section_size")


def test_endless_number_of_fields(launch, backend: Backend) -> None:
    gateway = start(launch, backend, raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 100_000 + b"\r\n", then="hang"), response_timeout_ms=3000)
    assert gateway.get("/api").status == 502
    assert fault(gateway) == (502, "http_response_header_section_size")


# A bad body

TRUNCATED = {
    "length": head(200, "Content-Length: 1000000") + LONG,
    "chunked": head(200, "Transfer-Encoding: chunked") + chunk(LONG),
    "within a chunk": head(200, "Transfer-Encoding: chunked") + b"fffff\r\n" + LONG,
    "within the trailers": head(200, "Transfer-Encoding: chunked") + chunk(LONG) + b"0\r\nX-T: 1\r\n",
}


def truncated(gateway: Gateway, timeout: float = 5) -> None:
    """The client must be able to see that the body is not whole."""
    with Client(gateway.port, timeout=timeout) as client:
        client.send(request("GET", "/api"))
        with pytest.raises((Closed, ConnectionResetError)):
            client.read()


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("kind", TRUNCATED)
def test_body_that_ends_early_is_never_a_clean_end(launch, backend: Backend, kind: str, then: str) -> None:
    gateway = start(launch, backend, raw(TRUNCATED[kind], then=then))
    truncated(gateway)
    assert fault(gateway) == (200, "http_response_incomplete")


def test_http_1_0_client_sees_the_truncation_too(launch, backend: Backend) -> None:
    gateway = start(launch, backend, raw(TRUNCATED["chunked"]))
    with Client(gateway.port) as client:
        client.send("GET /api HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.read()


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_buffered_body_that_ends_early(launch, backend: Backend, kind: str) -> None:
    gateway = start(launch, backend, raw(TRUNCATED[kind]), buffering="always")
    assert gateway.get("/api").status == 502
    assert fault(gateway) == (502, "http_response_incomplete")


@pytest.mark.parametrize("body", [b"zz\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n",
                                  b"ffffffffffffffff1\r\n", b"5;\x00\r\nhello\r\n0\r\n\r\n"])
def test_malformed_chunk(launch, backend: Backend, body: bytes) -> None:
    gateway = start(launch, backend, raw(head(200, "Transfer-Encoding: chunked") + chunk(LONG) + body, then="hang"))
    truncated(gateway)
    assert fault(gateway) == (200, "http_protocol_error")


def test_body_stalls(launch, backend: Backend) -> None:
    gateway = start(launch, backend, raw(TRUNCATED["length"], then="hang"))
    begun = time.monotonic()
    truncated(gateway)
    assert 0.25 < time.monotonic() - begun < 3
    assert fault(gateway) == (200, "http_response_stalled")


def test_buffered_body_stalls(launch, backend: Backend) -> None:
    gateway = start(launch, backend, raw(TRUNCATED["length"], then="hang"), buffering="always")
    assert gateway.get("/api").status == 504
    assert fault(gateway) == (504, "http_response_stalled")


def test_response_takes_too_long(launch, backend: Backend) -> None:
    def drip(connection, asked) -> None:
        connection.send(head(200, "Transfer-Encoding: chunked"))
        while True:
            connection.send(chunk(b"x" * 1000))
            time.sleep(0.05)

    gateway = start(launch, backend, drip, stream_max_duration_sec="500ms")
    truncated(gateway)
    assert fault(gateway) == (200, "http_response_too_slow")


def test_buffered_body_is_too_large(launch, backend: Backend) -> None:
    def flood(connection, asked) -> None:
        connection.send(head(200, "Transfer-Encoding: chunked"))
        while True:
            connection.send(chunk(LONG))

    gateway = start(launch, backend, flood, buffering="always")
    with Client(gateway.port, timeout=30) as client:
        assert client.request("GET", "/api").status == 502
    assert fault(gateway) == (502, "http_response_body_size")


def test_surplus_bytes_are_no_part_of_anything(launch, backend: Backend) -> None:
    gateway = start(launch, backend, raw(head(200, "Content-Length: 2") + b"okHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", then="keep"))
    with Client(gateway.port) as client:
        for _ in range(3):
            assert client.request("GET", "/api").body == b"ok"
    assert len(backend.connections) == 3, "a connection with surplus bytes was used again"


# The client's own


def test_client_faults_have_their_tokens(launch, backend: Backend) -> None:
    gateway = launch(access_log=True, max_body_size=10, max_header_size=500, upstreams=[upstream(backend.port, methods=["GET", "POST"])])
    cases = [
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400, "http_request_error"),
        (b"GET /" + b"a" * 600 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "http_request_uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 600 + b"\r\n\r\n", 431, "http_request_headers_too_large"),
        (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", 413, "http_request_body_too_large"),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, "http_version_not_supported"),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501, "http_method_not_implemented"),
        (b"POST /api HTTP/1.1\r\nHost: x\r\nExpect: x\r\nContent-Length: 1\r\n\r\n", 417, "http_expectation_failed"),
        (b"GET /missing HTTP/1.1\r\nHost: x\r\n\r\n", 404, "route_not_found"),
        (b"PUT /api HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405, "method_not_allowed"),
    ]
    for number, (data, status, token) in enumerate(cases):
        with Client(gateway.port) as client:
            client.send(data)
            assert client.read().status == status
        assert fault(gateway, number + 1) == (status, token)


def test_a_reset_does_not_end_a_response_that_ends_with_its_connection(launch, backend: Backend) -> None:
    passed = threading.Event()

    def answer(connection, request) -> None:  # type: ignore[no-untyped-def]
        connection.read_body(request)
        # Events are not held back, so the client has this before the reset, which destroys what has not been read.
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\npart")
        passed.wait(5)
        finish(connection, "reset")

    gateway = start(launch, backend, answer)
    with gateway.connect() as client:
        client.send(request("GET", "/api"))
        client.read_head()
        client.reader.until(b"part")
        passed.set()
        with pytest.raises((Closed, ConnectionResetError)):
            client.reader.until(b"0\r\n\r\n")
    assert fault(gateway) == (200, "http_response_incomplete")
