"""The limits of an exchange, each of its own: sending, the whole of it, pauses in milliseconds."""

from __future__ import annotations

import time

import pytest

from support.backend import Backend, chunk, full_endpoint, hang, head, reply
from support.client import Client, Closed, request
from support.configuration import upstream
from support.gateway import Gateway
from support.http2 import Http2

LONG = b"x" * 500_000


def fault(gateway: Gateway, count: int = 1) -> tuple[int, str]:
    entry = gateway.access_entries(count)[-1]
    return entry["http.response.status_code"], entry.get("error.type", "-")


def start(launch, port: int, pool=None, **proxy) -> Gateway:
    return launch(access_log=True, max_body_size=0, upstreams=[upstream(port, pool=pool, **proxy)])


def test_a_backend_that_never_answers(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway = start(launch, backend.port, timeout_ms=300)
    begun = time.monotonic()
    assert gateway.get("/api").status == 504
    assert 0.25 < time.monotonic() - begun < 2
    assert fault(gateway) == (504, "exchange_timeout")
    assert backend.connections[0].ended.wait(2), "the backend's connection was closed"


def test_the_whole_is_limited_though_there_is_progress(launch, backend: Backend) -> None:
    def answer(connection, asked) -> None:
        connection.send(head(200, "Transfer-Encoding: chunked"))
        while True:
            connection.send(chunk(b"tick"))
            time.sleep(0.02)

    backend.answer = answer
    gateway = start(launch, backend.port, timeout_ms=400)
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        with pytest.raises((Closed, ConnectionResetError)):
            client.read()
    assert fault(gateway) == (200, "exchange_timeout")
    assert backend.connections[0].ended.wait(2)


def test_a_body_that_is_collected_counts(launch, backend: Backend) -> None:
    gateway = start(launch, backend.port, request_mode="buffered", timeout_ms=300)
    with Client(gateway.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nfive!")
        assert client.read("POST").status == 504
    assert fault(gateway) == (504, "exchange_timeout")
    assert not backend.requests


def test_waiting_for_a_connection_counts(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway = start(launch, backend.port, pool={"max_connections": 1}, timeout_ms=400)
    with Client(gateway.port) as first, Client(gateway.port) as second:
        first.send(request("GET", "/api"))
        backend.wait_requests(1)
        second.send(request("GET", "/api"))
        assert first.read().status == 504
        assert second.read().status == 504
    assert all(entry["error.type"] == "exchange_timeout" for entry in gateway.access_entries(2))


def test_connecting_counts(launch) -> None:
    kept, port = full_endpoint()
    gateway = start(launch, port, timeout_ms=300)
    assert gateway.get("/api").status == 504
    assert fault(gateway) == (504, "exchange_timeout")
    for sock in kept:
        sock.close()


def test_a_client_that_takes_nothing_counts(launch, backend: Backend) -> None:
    backend.answer = reply(body=LONG * 40)
    gateway = start(launch, backend.port, timeout_ms=500, stream_idle_timeout_sec=0)
    with Client(gateway.port, receive_buffer=4096) as client:
        client.send(request("GET", "/api"))
        gateway.access_entries(1)
    assert fault(gateway) == (200, "exchange_timeout")


def test_each_exchange_has_its_own(launch, backend: Backend) -> None:
    """Exchanges follow each other in the same place."""
    gateway = start(launch, backend.port, timeout_ms=200)
    with Client(gateway.port) as client:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            assert client.request("GET", "/api").status == 200
            time.sleep(0.03)


def test_a_stream_of_http2(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway = start(launch, backend.port, timeout_ms=300)
    with Http2(gateway.port) as client:
        assert client.get("/api").status == 504
    assert fault(gateway) == (504, "exchange_timeout")


@pytest.mark.parametrize("limits", [{"send_timeout_ms": 300, "response_timeout_ms": 30_000}, {"response_timeout_ms": 300}])
def test_a_backend_that_takes_nothing(launch, limits: dict[str, int]) -> None:
    """`send_timeout_ms`, which is `response_timeout_ms` where it is not given."""
    backend = Backend(receive_buffer=4096)
    stop: list[bool] = []

    def on_connection(connection) -> None:
        while not stop:
            time.sleep(0.01)

    backend.on_connection = on_connection
    gateway = start(launch, backend.port, **limits)
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


def test_pauses_in_milliseconds(launch, backend: Backend) -> None:
    def answer(connection, asked) -> None:
        connection.send(head(200, "Content-Length: 1000000") + LONG)
        connection.wait_end(10)

    backend.answer = answer
    gateway = start(launch, backend.port, stream_idle_timeout_ms=250)
    begun = time.monotonic()
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        with pytest.raises((Closed, ConnectionResetError)):
            client.read()
    assert time.monotonic() - begun < 3
    assert fault(gateway) == (200, "http_response_stalled")
