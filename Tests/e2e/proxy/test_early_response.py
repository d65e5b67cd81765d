"""A backend that answers before it has read the whole request."""

from __future__ import annotations

import time

from support.backend import Backend, head, reply
from support.client import Client
from support.gateway import Gateway

ANSWER = head(401, "Content-Length: 6", reason="Unauthorized") + b"denied"


def early(connection, asked) -> None:
    connection.send(ANSWER)
    connection.wait_end(5)
    connection.close()


def test_is_relayed_at_once(proxied: Gateway, backend: Backend) -> None:
    backend.answer = early
    with Client(proxied.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nhello")
        response = client.read("POST")
        assert (response.status, response.text) == (401, "denied")


def test_the_backends_connection_is_not_used_again(proxied: Gateway, backend: Backend) -> None:
    backend.answer = early
    with Client(proxied.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nhello")
        assert client.read("POST").status == 401
    backend.answer = reply()
    assert proxied.get("/api").status == 200
    assert len(backend.connections) == 2


def test_the_rest_of_the_body_is_never_read_as_a_request(proxied: Gateway, backend: Backend) -> None:
    backend.answer = early
    rest = b"GET /api/hidden HTTP/1.1\r\nHost: test\r\n\r\n"
    with Client(proxied.port) as client:
        client.send(f"POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: {5 + len(rest)}\r\n\r\nhello")
        response = client.read("POST")
        assert response.status == 401
        try:
            client.send(rest)
            time.sleep(0.2)
            client.send("GET /api/next HTTP/1.1\r\nHost: test\r\n\r\n")
            if not response.closes:
                backend.answer = reply()
                client.read()
        except OSError:
            pass
    assert "/api/hidden" not in [one.target for one in backend.requests]


def test_a_backend_that_answers_and_closes_is_heard(proxied: Gateway, backend: Backend) -> None:
    """Its RST may not destroy the answer that is on its way."""

    def answer(connection, asked) -> None:
        connection.send(head(413, "Content-Length: 3", "Connection: close", reason="Payload Too Large") + b"big")
        connection.close()

    backend.answer = answer
    with Client(proxied.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 900000\r\n\r\n")
        try:
            for _ in range(9):
                client.send(b"x" * 100_000)
                time.sleep(0.02)
        except OSError:
            pass
        assert client.read("POST").status == 413
