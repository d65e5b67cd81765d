"""text/event-stream is never held back, whatever buffering says."""

from __future__ import annotations

import threading

import pytest

from support.backend import Backend, chunk, head
from support.client import Client, request
from support.configuration import upstream
from support.gateway import Gateway


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("buffering", ["auto", "always", "never"])
def test_each_event_arrives_at_once(launch, backend: Backend, buffering: str, framing: str) -> None:
    go = threading.Semaphore(0)

    def answer(connection, asked) -> None:
        lines = ["Content-Type: text/event-stream; charset=utf-8"] + (["Transfer-Encoding: chunked"] if framing == "chunked" else [])
        connection.send(head(200, *lines))
        for number in range(3):
            event = f"data: {number}\n\n".encode()
            connection.send(chunk(event) if framing == "chunked" else event)
            assert go.acquire(timeout=5), "the client did not see the event"
        if framing == "chunked":
            connection.send("0\r\n\r\n")
        connection.close()

    backend.answer = answer
    gateway: Gateway = launch(upstreams=[upstream(backend.port, buffering=buffering)])
    with Client(gateway.port, timeout=5) as client:
        client.send(request("GET", "/api"))
        for number in range(3):
            client.reader.until(f"data: {number}\n\n".encode())
            go.release()


def test_a_quiet_stream_is_not_ended(launch, backend: Backend) -> None:
    """stream_idle_timeout_sec does not apply to events."""
    go = threading.Event()

    def answer(connection, asked) -> None:
        connection.send(head(200, "Content-Type: text/event-stream", "Transfer-Encoding: chunked") + chunk(b"data: 1\n\n"))
        go.wait(5)
        connection.send(chunk(b"data: 2\n\n") + b"0\r\n\r\n")

    backend.answer = answer
    gateway: Gateway = launch(upstreams=[upstream(backend.port, stream_idle_timeout_sec="200ms")])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        client.reader.until(b"data: 1\n\n\r\n")
        assert client.silent(0.8)
        go.set()
        client.reader.until(b"data: 2\n\n")
