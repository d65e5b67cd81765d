"""Connections to backends are kept and used again, the newest first, as long as they are sound."""

from __future__ import annotations

import time

from support.backend import Backend, head
from support.client import Client
from support.configuration import upstream
from support.gateway import Gateway
from support.wait import until


def test_one_connection_serves_many_requests(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    for _ in range(3):
        with Client(gateway.port) as client:
            for _ in range(10):
                assert client.request("GET", "/api").status == 200
    assert len(backend.connections) == 1


def test_newest_is_used_first(launch, backend: Backend) -> None:
    def slow(connection, request) -> None:
        time.sleep(0.2)
        connection.send(head(200, "Content-Length: 0"))

    backend.answer = slow
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    clients = [Client(gateway.port) for _ in range(3)]
    for client in clients:
        client.send("GET /api HTTP/1.1\r\nHost: test\r\n\r\n")
        time.sleep(0.03)
    for client in clients:
        client.read()
    assert len(backend.connections) == 3
    for _ in range(3):
        assert clients[0].request("GET", "/api").status == 200
    assert [connection.index for connection in backend.connections if len(connection.requests) > 1] == [2]


def test_closed_after_so_many_requests(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port, pool={"max_requests_per_conn": 3})])
    with Client(gateway.port) as client:
        for _ in range(9):
            assert client.request("GET", "/api").status == 200
    assert [len(connection.requests) for connection in backend.connections] == [3, 3, 3]


def test_closed_when_idle_for_long(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port, pool={"idle_timeout_sec": 1})])
    assert gateway.get("/api").status == 200
    assert backend.connections[0].ended.wait(3)
    assert gateway.get("/api").status == 200
    assert len(backend.connections) == 2


def test_not_used_beyond_their_lifetime(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port, pool={"max_lifetime_sec": "300ms"})])
    assert gateway.get("/api").status == 200
    time.sleep(0.5)
    assert gateway.get("/api").status == 200
    assert len(backend.connections) == 2


def test_surplus_idle_connections_are_closed(launch, backend: Backend) -> None:
    def slow(connection, request) -> None:
        time.sleep(0.2)
        connection.send(head(200, "Content-Length: 0"))

    backend.answer = slow
    gateway: Gateway = launch(upstreams=[upstream(backend.port, pool={"max_idle_connections": 2})])
    clients = [Client(gateway.port) for _ in range(6)]
    for client in clients:
        client.send("GET /api HTTP/1.1\r\nHost: test\r\n\r\n")
    for client in clients:
        client.read()
    until(lambda: sum(not connection.ended.is_set() for connection in backend.connections) == 2, what="two idle connections")


def test_none_may_be_kept(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port, pool={"max_idle_connections": 0})])
    for _ in range(3):
        assert gateway.get("/api").status == 200
    assert len(backend.connections) == 3
