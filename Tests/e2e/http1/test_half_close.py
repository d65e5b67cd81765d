"""A client that has finished sending still gets its answer."""

from __future__ import annotations

import time

import pytest

from support import proc
from support.backend import Backend, hang, head
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway


def slow(connection, asked) -> None:
    time.sleep(0.3)
    connection.send(head(200, "Content-Length: 4") + b"slow")


def test_local_answer(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    with Client(gateway.port) as client:
        client.send(request())
        client.half_close()
        assert client.read().status == 200
        assert client.at_end()


def test_proxied_answer(launch, backend: Backend) -> None:
    backend.answer = slow
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        client.half_close()
        assert client.read().text == "slow"
        assert client.at_end()


def test_all_pipelined_requests_are_answered(launch, backend: Backend) -> None:
    backend.answer = slow
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api") * 3)
        client.half_close()
        assert [client.read().text for _ in range(3)] == ["slow"] * 3
        assert client.at_end()


def test_within_a_head_closes(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    with Client(gateway.port) as client:
        client.send("GET / HTTP/1.1\r\nHost: te")
        client.half_close()
        rest = client.reader.to_end()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
def test_within_a_body_cancels(launch, backend: Backend, framing: str) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(f"POST /api HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n5\r\nhello")
        backend.wait_requests()
        client.half_close()
        rest = client.reader.to_end()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 400")
    assert backend.connections[0].ended.wait(5)
    assert not backend.last.complete


def test_may_be_configured_to_mean_that_the_client_has_gone(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway: Gateway = launch(http1={"half_close": "cancel"}, upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests()
        client.half_close()
        assert backend.connections[0].ended.wait(5), "the request went on"


def test_keeps_no_processor_busy(launch, backend: Backend) -> None:
    """A half-closed socket is always readable."""
    backend.answer = hang
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests()
        client.half_close()
        time.sleep(0.1)
        before = proc.cpu_seconds(gateway.worker)
        time.sleep(1)
        assert proc.cpu_seconds(gateway.worker) - before < 0.2
