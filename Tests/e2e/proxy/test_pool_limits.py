"""max_connections of a pool: requests beyond it wait in order, for a time, in a bounded number."""

from __future__ import annotations

import threading
import time

from support.backend import Backend, hang, head
from support.client import Client, request
from support.configuration import upstream
from support.gateway import Gateway
from support.wait import until


def test_requests_wait_for_a_connection(launch, backend: Backend) -> None:
    def slow(connection, asked) -> None:
        time.sleep(0.1)
        connection.send(head(200, "Content-Length: 0"))

    backend.answer = slow
    gateway: Gateway = launch(upstreams=[upstream(backend.port, pool={"max_connections": 2, "max_idle_connections": 2})])
    clients = [Client(gateway.port) for _ in range(8)]
    for number, client in enumerate(clients):
        client.send(request("GET", f"/api/{number}"))
        time.sleep(0.01)
    assert [client.read().status for client in clients] == [200] * 8
    assert len(backend.connections) == 2
    assert [one.target for one in backend.requests] == [f"/api/{number}" for number in range(8)], "first come, first served"


def test_waiting_ends(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway: Gateway = launch(access_log=True, upstreams=[upstream(backend.port, pool={"max_connections": 1, "max_idle_connections": 1, "connect_timeout_ms": 200})])
    with Client(gateway.port) as first, Client(gateway.port) as second:
        first.send(request("GET", "/api"))
        backend.wait_requests()
        begun = time.monotonic()
        response = second.request("GET", "/api")
        assert response.status == 503 and not response.closes
        assert 0.15 < time.monotonic() - begun < 2
        assert gateway.access_entries()[0]["error.type"] == "connection_pool_timeout"


def test_queue_is_bounded(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway: Gateway = launch(access_log=True, upstreams=[upstream(backend.port, pool={"max_connections": 1, "max_idle_connections": 1, "connect_timeout_ms": 60_000})])
    clients = [Client(gateway.port) for _ in range(300)]
    for client in clients:
        client.send(request("GET", "/api"))
    entries = gateway.access_entries(300 - 257)
    assert all((entry["http.response.status_code"], entry["error.type"]) == (503, "connection_pool_exhausted") for entry in entries)
    time.sleep(0.2)
    assert len(gateway.access_entries()) == 300 - 257
    for client in clients:
        client.close()


def test_a_client_that_leaves_gives_up_its_place(launch, backend: Backend) -> None:
    go = threading.Event()

    def answer(connection, asked) -> None:
        if asked.target.endswith("first"):
            go.wait(5)
        connection.send(head(200, "Content-Length: 0"))

    backend.answer = answer
    gateway: Gateway = launch(upstreams=[upstream(backend.port, pool={"max_connections": 1, "max_idle_connections": 1})])
    with Client(gateway.port) as first, Client(gateway.port) as leaving, Client(gateway.port) as last:
        first.send(request("GET", "/api/first"))
        backend.wait_requests()
        leaving.send(request("GET", "/api/leaving"))
        time.sleep(0.1)
        last.send(request("GET", "/api/last"))
        leaving.reset()
        time.sleep(0.1)
        go.set()
        assert first.read().status == 200
        assert last.read().status == 200
    assert [one.target for one in backend.requests] == ["/api/first", "/api/last"]


def test_a_freed_place_lets_the_next_connect(launch, backend: Backend) -> None:
    def answer(connection, asked) -> None:
        time.sleep(0.05)
        connection.send(head(200, "Content-Length: 0", "Connection: close"))
        connection.close()

    backend.answer = answer
    gateway: Gateway = launch(upstreams=[upstream(backend.port, pool={"max_connections": 1, "max_idle_connections": 1})])
    clients = [Client(gateway.port) for _ in range(5)]
    for client in clients:
        client.send(request("GET", "/api"))
    assert [client.read().status for client in clients] == [200] * 5
    assert len(backend.connections) == 5


def test_no_worker_is_without_capacity(launch, backend: Backend) -> None:
    gateway: Gateway = launch(workers=4, upstreams=[upstream(backend.port, pool={"max_connections": 1, "max_idle_connections": 1})])
    for _ in range(40):
        assert gateway.get("/api").status == 200


def test_failures_do_not_use_up_the_pool(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port, pool={"max_connections": 2, "max_idle_connections": 2, "connect_timeout_ms": 300})])
    backend.answer = lambda connection, asked: connection.close()
    for _ in range(10):
        assert gateway.get("/api").status == 502
    backend.answer = lambda connection, asked: connection.send(head(200, "Content-Length: 0"))
    until(lambda: gateway.get("/api").status == 200, what="the pool to recover")
