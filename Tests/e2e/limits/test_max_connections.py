"""max_connections counts the clients of all workers; one more gets 503 and is closed."""

from __future__ import annotations

import json
import time

import pytest

from support.client import Client
from support.configuration import respond
from support.gateway import Gateway
from support.wait import until


def alone(gateway: Gateway) -> None:
    """Waits until no connection but that of the question is counted."""
    until(lambda: json.loads(gateway.get("/stats").body)["connections"]["active"] == 1)
    time.sleep(0.1)  # for the question's own


@pytest.mark.parametrize("workers", [1, 2])
def test_one_too_many(launch, workers: int) -> None:
    gateway: Gateway = launch(workers=workers, max_connections=10, routes=[respond("/")])
    alone(gateway)
    clients = [Client(gateway.port) for _ in range(10)]
    assert [client.request().status for client in clients] == [200] * 10
    for _ in range(5):
        with Client(gateway.port) as surplus:
            surplus.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            response = surplus.read()
            assert response.status == 503 and response.closes and surplus.at_end()
    assert [client.request().status for client in clients] == [200] * 10, "those who were there first are served"
    for client in clients[:3]:
        client.close()

    def admitted() -> bool:
        with Client(gateway.port) as client:
            return client.request().status == 200

    until(admitted, what="a place to become free")
    for client in clients:
        client.close()


def test_refused_connections_do_not_count(launch) -> None:
    gateway: Gateway = launch(max_connections=2, routes=[respond("/")])
    alone(gateway)
    clients = [Client(gateway.port) for _ in range(2)]
    for client in clients:
        client.request()
    for _ in range(50):
        with Client(gateway.port) as surplus:
            surplus.reader.to_end()
    clients.pop().close()
    until(lambda: gateway.get("/").status == 200, what="a place to become free")
    clients.pop().close()


def test_zero_means_any(launch) -> None:
    gateway: Gateway = launch(max_connections=0, routes=[respond("/")])
    clients = [Client(gateway.port) for _ in range(200)]
    assert all(client.request().status == 200 for client in clients)
    for client in clients:
        client.close()
