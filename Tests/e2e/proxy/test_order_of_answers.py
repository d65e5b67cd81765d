"""Answers of the gateway itself and relayed ones keep their order, and their bytes apart, however slowly they are taken."""

from __future__ import annotations

import time

from support.backend import Backend, head
from support.client import Client
from support.configuration import forward, respond, upstream
from support.gateway import Gateway

LARGE = "x" * 60_000
RELAYED = b"y" * 50_000


def test_relayed_answer_behind_answers_that_are_not_taken(launch, backend: Backend) -> None:
    """The relayed response comes in two pieces, so that it is collected while older answers still wait."""

    def answer(connection, asked) -> None:
        connection.send(head(200, f"Content-Length: {len(RELAYED)}") + RELAYED[:100])
        time.sleep(0.2)
        connection.send(RELAYED[100:])

    backend.answer = answer
    gateway: Gateway = launch(routes=[respond("/large", LARGE), forward("/api/*rest")], upstreams=[upstream(backend.port, None)])
    count = 200  # more than the sockets' buffers hold
    with Client(gateway.port) as client:
        client.send(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n" * count + b"GET /api/x HTTP/1.1\r\nHost: test\r\n\r\n")
        time.sleep(1)
        for number in range(count):
            response = client.read()
            assert response.status == 200 and response.text == LARGE, f"answer {number}"
        response = client.read()
        assert response.status == 200 and response.body == RELAYED


def test_malformed_body_in_the_first_piece_is_a_502(proxied: Gateway, backend: Backend) -> None:
    """Nothing has been sent yet, so the client can be told."""
    backend.answer = lambda connection, asked: connection.send(head(200, "Transfer-Encoding: chunked") + b"zz\r\n")
    assert proxied.get("/api").status == 502
