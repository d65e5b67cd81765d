"""Old generations finish what they have, within bounds."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from support.backend import Backend, hang, head
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.ports import free_port
from support.wait import until


def test_requests_in_flight_are_finished_by_the_old(launch, backend: Backend) -> None:
    go = threading.Event()

    def answer(connection, asked) -> None:
        go.wait(5)
        connection.send(head(200, "Content-Length: 4") + b"done")

    backend.answer = answer
    gateway: Gateway = launch(routes=[respond("/", "old")], upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests()
        gateway.reload(routes=[respond("/", "new")])
        assert gateway.get("/").text == "new"
        assert len(gateway.workers) == 2
        go.set()
        response = client.read()
        assert response.text == "done" and response.closes and client.at_end()
    until(lambda: len(gateway.workers) == 1, what="the old worker to go")


def test_long_download_is_not_cut(launch, backend: Backend) -> None:
    def answer(connection, asked) -> None:
        connection.send(head(200, "Content-Length: 10000"))
        for _ in range(100):
            connection.send(b"x" * 100)
            time.sleep(0.01)

    backend.answer = answer
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests()
        for _ in range(3):
            gateway.reload()
        assert client.read().body == b"x" * 10_000


def test_the_deadline_holds(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway: Gateway = launch(shutdown_drain_timeout_sec=1, upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests()
        gateway.reload()
        until(lambda: len(gateway.workers) == 1, 4, "the old worker to go")


def test_number_of_old_generations_is_bounded(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway: Gateway = launch(shutdown_drain_timeout_sec=60, max_draining_generations=2, upstreams=[upstream(backend.port)])
    clients = []
    for count in range(1, 6):
        client = Client(gateway.port)
        clients.append(client)
        client.send(request("GET", "/api"))
        backend.wait_requests(count)
        gateway.reload()
    until(lambda: len(gateway.workers) <= 3, 5, "the oldest generations to be hurried")
    assert backend.connections[-1].ended.is_set() is False, "the newest of the old ones may go on"
    for client in clients:
        client.reset()


def test_an_idle_connection_is_closed(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    with Client(gateway.port) as client:
        client.request()
        gateway.reload()
        assert client.at_end(4)
    until(lambda: len(gateway.workers) == 1, what="the old worker to go")


def test_an_address_that_is_given_up_refuses_while_the_old_drain(launch, backend: Backend) -> None:
    backend.answer = hang
    first, second = free_port(), free_port()
    gateway: Gateway = launch(bind_port=first, shutdown_drain_timeout_sec=60, upstreams=[upstream(backend.port)])
    with Client(first) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests()
        gateway.reload(listeners=[{"host": "127.0.0.1", "port": second}])
        assert len(gateway.workers) == 2
        with pytest.raises(ConnectionRefusedError):
            Client(first, timeout=2)
        gateway.reload(listeners=[{"host": "127.0.0.1", "port": first}])
        Client(first, timeout=2).close()
        client.reset()


def test_a_worker_that_hangs_holds_no_reload_up_for_long(launch) -> None:
    gateway: Gateway = launch(workers=2, shutdown_drain_timeout_sec=2, routes=[respond("/", "old")])
    stopped = until(lambda: gateway.workers[0] if len(gateway.workers) == 2 else None)
    os.kill(stopped, signal.SIGSTOP)
    begun = time.monotonic()
    gateway.reload(routes=[respond("/", "new")])
    assert time.monotonic() - begun < 4
    assert [gateway.get("/").text for _ in range(10)] == ["new"] * 10
    begun = time.monotonic()
    gateway.reload()
    assert time.monotonic() - begun < 1.5, "it is not waited for twice"
    until(lambda: stopped not in gateway.workers, 6, "it to be killed")
