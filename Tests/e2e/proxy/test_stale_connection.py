"""A kept connection that the backend closes just as it is used again."""

from __future__ import annotations

import pytest

from support.backend import Backend, close, in_turn, reply
from support.client import Client, request
from support.configuration import upstream
from support.gateway import Gateway
from support.wait import until


@pytest.fixture
def gateway(launch, backend: Backend) -> Gateway:
    return launch(access_log=True, upstreams=[upstream(backend.port)])


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_a_request_that_may_be_repeated_is_sent_again(gateway: Gateway, backend: Backend, method: str) -> None:
    backend.answer = in_turn(reply(), close, reply(body=b"again"))
    with Client(gateway.port) as client:
        assert client.request("GET", "/api").status == 200
        assert client.request(method, "/api").status == 200
    assert len(backend.connections) == 2
    assert gateway.access_entries(2)[1]["gateway.upstream.attempts"] == 2


def test_a_put_whose_body_is_still_at_hand_may_be_sent_again(gateway: Gateway, backend: Backend) -> None:
    backend.answer = in_turn(reply(), close, reply())
    with Client(gateway.port) as client:
        assert client.request("GET", "/api").status == 200
        assert client.request("PUT", "/api", body=b"small").status in (200, 502)
    assert len([one for one in backend.requests if one.method == "PUT"]) <= 2


def test_a_post_that_was_sent_is_not_repeated(gateway: Gateway, backend: Backend) -> None:
    backend.answer = in_turn(reply(), close, reply())
    with Client(gateway.port) as client:
        assert client.request("GET", "/api").status == 200
        assert client.request("POST", "/api", body=b"once").status == 502
    assert len([one for one in backend.requests if one.method == "POST"]) == 1


def test_a_new_connection_that_fails_is_not_tried_again(gateway: Gateway, backend: Backend) -> None:
    backend.answer = close
    assert gateway.get("/api").status == 502
    assert len(backend.connections) == 1


def test_a_post_finds_out_before_it_is_sent(gateway: Gateway, backend: Backend) -> None:
    """A connection that is seen to be closed is not used at all."""

    def answer(connection, asked) -> None:
        reply()(connection, asked)
        connection.close()

    backend.answer = in_turn(answer, reply())
    with Client(gateway.port) as client:
        for _ in range(5):
            assert client.request("GET", "/api").status == 200
            until(lambda: backend.connections[0].ended.is_set())
            assert client.request("POST", "/api", body=b"x").status == 200


def test_every_kept_connection_may_be_stale(launch, backend: Backend) -> None:
    """The backend restarts: no client notices."""
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    clients = [Client(gateway.port) for _ in range(8)]
    for _ in range(3):
        for client in clients:
            client.send(request("GET", "/api"))
        assert [client.read().status for client in clients] == [200] * 8
        for connection in backend.connections:
            connection.close()


def test_surplus_bytes_on_a_kept_connection_end_it(gateway: Gateway, backend: Backend) -> None:
    assert gateway.get("/api").status == 200
    backend.connections[0].send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert backend.connections[0].ended.wait(3)
    assert gateway.get("/api").text == "hello from the backend"
