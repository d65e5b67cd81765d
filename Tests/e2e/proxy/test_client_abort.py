"""A client that goes away takes its request with it."""

from __future__ import annotations

import time

import pytest

from support.backend import Backend, chunk, hang, head, reply
from support.client import Client, request
from support.gateway import Gateway


def test_while_the_backend_thinks(proxied: Gateway, backend: Backend) -> None:
    backend.answer = hang
    client = proxied.connect()
    client.send(request("GET", "/api"))
    backend.wait_requests()
    client.reset()
    assert backend.connections[0].ended.wait(3), "the backend works on for nobody"
    assert proxied.access_entries()[0]["error.type"] == "client_aborted"


def test_while_the_response_streams(proxied: Gateway, backend: Backend) -> None:
    def endless(connection, asked) -> None:
        connection.send(head(200, "Transfer-Encoding: chunked"))
        while True:
            connection.send(chunk(b"x" * 10_000))

    backend.answer = endless
    client = proxied.connect()
    client.send(request("GET", "/api"))
    client.reader.exactly(100_000)
    client.reset()
    assert backend.connections[0].ended.wait(3)
    assert proxied.access_entries()[0]["error.type"] == "client_aborted"


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_within_its_body(proxied: Gateway, backend: Backend, framing: str) -> None:
    client = proxied.connect()
    client.send(f"POST /api HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n5\r\nhello\r\n")
    backend.wait_requests()
    client.reset()
    assert backend.connections[0].ended.wait(3)
    assert not backend.last.complete


def test_leaves_others_alone(proxied: Gateway, backend: Backend) -> None:
    def answer(connection, asked) -> None:
        time.sleep(0.3)
        connection.send(head(200, "Content-Length: 0"))

    backend.answer = answer
    leaving, staying = proxied.connect(), proxied.connect()
    leaving.send(request("GET", "/api"))
    staying.send(request("GET", "/api"))
    backend.wait_requests(2)
    leaving.reset()
    assert staying.read().status == 200


def test_abort_then_a_request_with_a_body(proxied: Gateway, backend: Backend) -> None:
    """The sequence that brought the reference gateway down: an aborted GET, then a PUT to a backend that closes."""
    backend.answer = hang
    client = proxied.connect()
    client.send(request("GET", "/api"))
    backend.wait_requests()
    client.reset()
    backend.answer = lambda connection, asked: (connection.read_body(asked), connection.close())
    worker = proxied.worker
    for method in ("PUT", "POST"):
        with proxied.connect() as other:
            assert other.request(method, "/api", body=b"small").status == 502
    backend.answer = reply()
    assert proxied.get("/api").status == 200
    assert proxied.worker == worker
