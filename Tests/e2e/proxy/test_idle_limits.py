"""Kept connections are given up before the backend closes them, as far as that can be known."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from support.backend import Backend, Connection, Request, head, reply
from support.client import Client
from support.configuration import upstream
from support.gateway import Gateway
from support.wait import until


def stats(gateway: Gateway) -> dict[str, Any]:
    return json.loads(gateway.get("/stats").text)["upstream_connections"]


def idle_time(backend: Backend, gateway: Gateway) -> float:
    """Makes a request and returns how long the gateway kept the connection afterwards."""
    count = len(backend.connections)
    assert gateway.get("/api").status == 200
    begun = time.monotonic()
    connection = backend.connections[-1]
    assert len(backend.connections) == count + 1
    assert connection.ended.wait(10)
    return time.monotonic() - begun


@pytest.mark.parametrize("announced, at_most", [("timeout=1", 0.95), ("max=5, Timeout=2", 1.9)])
def test_an_announced_limit_is_undercut(launch, backend: Backend, announced: str, at_most: float) -> None:
    backend.answer = reply(200, f"Keep-Alive: {announced}", body=b"ok")
    gateway = launch(upstreams=[upstream(backend.port)])
    kept = idle_time(backend, gateway)
    assert 0.4 < kept < at_most
    assert stats(gateway)["idle_closes"] == 0


def test_an_announced_limit_of_a_streamed_response(launch, backend: Backend) -> None:
    def answer(connection: Connection, asked: Request) -> None:
        connection.send(head(200, "Keep-Alive: timeout=1", "Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\n\r\n")

    backend.answer = answer
    gateway = launch(upstreams=[upstream(backend.port)])
    assert 0.4 < idle_time(backend, gateway) < 0.95


def test_an_announced_limit_is_the_clients_business_no_more_than_before(launch, backend: Backend) -> None:
    """The field concerns one connection and is never passed on."""
    backend.answer = reply(200, "Keep-Alive: timeout=1", body=b"ok")
    gateway = launch(upstreams=[upstream(backend.port)])
    assert gateway.get("/api").header("keep-alive") is None


def test_learning_can_be_switched_off(launch, backend: Backend) -> None:
    backend.answer = reply(200, "Keep-Alive: timeout=1", body=b"ok")
    gateway = launch(upstreams=[upstream(backend.port, pool={"learn_idle_timeout": False, "idle_timeout_sec": 2})])
    assert idle_time(backend, gateway) > 1.5


def test_observed_closes_are_learnt(launch, backend: Backend) -> None:
    """The backend closes what has been idle for 600 ms; when it has done so three times, the gateway is first."""

    def answer(connection: Connection, asked: Request) -> None:
        reply(body=b"ok")(connection, asked)
        count = len(connection.requests)

        def close() -> None:
            if len(connection.requests) == count and not connection.ended.is_set():
                connection.close()

        threading.Timer(0.6, close).start()

    backend.answer = answer
    gateway = launch(upstreams=[upstream(backend.port)])
    for number in range(1, 4):
        assert gateway.get("/api").status == 200
        until(lambda: stats(gateway)["idle_closes"] == number, 5, "the backend's close")
    assert gateway.get("/api").status == 200
    begun = time.monotonic()
    last = backend.connections[-1]
    assert last.ended.wait(5)
    assert time.monotonic() - begun < 0.58, "the gateway gave it up"
    assert stats(gateway)["idle_closes"] == 3


def test_requests_at_the_edge_of_the_limit_all_succeed(launch, backend: Backend) -> None:
    """Posts, which could not be sent again, about as long after each other as the backend keeps connections."""

    def answer(connection: Connection, asked: Request) -> None:
        connection.read_body(asked)
        connection.send(head(200, "Content-Length: 2", "Keep-Alive: timeout=1") + b"ok")
        connection.sock.settimeout(1.0)

    backend.answer = answer
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        for pause in (0.97, 0.99, 1.0, 1.01, 0.98, 1.0):
            assert client.request("POST", "/api", body=b"x").status == 200
            time.sleep(pause)
