"""GET /stats sums over all workers and all generations."""

from __future__ import annotations

import json
import os
import signal

from support.backend import Backend
from support.configuration import Json, respond, upstream
from support.gateway import Gateway
from support.wait import until


def stats(gateway: Gateway) -> Json:
    response = gateway.get("/stats")
    assert response.status == 200 and response.header("content-type") == "application/json"
    return json.loads(response.body)


def test_counts_requests_of_all_workers(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    before = stats(gateway)["requests"]["total"]
    for _ in range(40):
        gateway.get("/")
    after = stats(gateway)
    assert after["requests"]["total"] - before in (40, 41)
    assert after["connections"]["total_accepted"] >= 41


def test_counts_open_connections(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    clients = [gateway.connect() for _ in range(10)]
    for client in clients:
        client.request()
    assert stats(gateway)["connections"]["active"] == 11
    for client in clients:
        client.close()
    until(lambda: stats(gateway)["connections"]["active"] == 1, what="only our own connection")


def test_shows_the_configuration(launch) -> None:
    gateway: Gateway = launch(workers=2, max_connections=123)
    shown = stats(gateway)["config"]
    assert shown["listeners"] == [f"127.0.0.1:{gateway.port}"]
    assert (shown["workers"], shown["max_connections"]) == (2, 123)


def test_shows_upstreams(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    assert gateway.get("/api").status == 200
    assert "backend" in json.dumps(stats(gateway))


def test_total_survives_a_reload_and_a_crash(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    for _ in range(20):
        gateway.get("/")
    before = stats(gateway)["requests"]["total"]
    gateway.reload(max_connections=99)
    middle = stats(gateway)["requests"]["total"]
    assert middle >= before
    old = until(lambda: gateway.workers if len(gateway.workers) == 1 else None, what="the old worker to go")[0]
    os.kill(old, signal.SIGKILL)
    until(lambda: gateway.workers and gateway.workers != [old], what="a new worker")
    assert stats(gateway)["requests"]["total"] >= middle


def test_gauges_are_repaired_after_a_crash(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    clients = [gateway.connect() for _ in range(5)]
    for client in clients:
        client.request()
    os.kill(gateway.worker, signal.SIGKILL)
    until(lambda: stats(gateway)["connections"]["active"] == 1, what="the dead worker's connections not to be counted")
