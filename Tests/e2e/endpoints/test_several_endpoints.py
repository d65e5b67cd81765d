"""Several endpoints of one upstream: all are used, one that is gone is passed by, backups wait."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from support.backend import reply
from support.fleet import Fleet, numbered
from support.gateway import Gateway
from support.unix import UnixBackend
from support.wait import until

Make = Callable[[int], Fleet]


def test_all_are_used(launch, fleet: Make) -> None:
    four = fleet(4)
    gateway: Gateway = launch(upstreams=[four.upstream()])
    with gateway.connect() as client:
        for _ in range(80):
            assert client.request().status == 200
    assert sum(four.shares.values()) == 80
    assert all(four.shares[index] >= 5 for index in range(4)), four.shares


def test_weights(launch, fleet: Make) -> None:
    two = fleet(2)
    gateway: Gateway = launch(upstreams=[two.upstream({"weight": 9}, {"weight": 1})])
    with gateway.connect() as client:
        for _ in range(200):
            client.request()
    assert two.shares[0] > 3 * two.shares[1] > 0, two.shares


def test_requests_avoid_what_is_busy(launch, fleet: Make) -> None:
    """A request that does not come back counts against its endpoint."""
    two = fleet(2)
    two[0].answer = numbered(0, delay=3)
    gateway: Gateway = launch(upstreams=[two.upstream()])
    clients = [gateway.connect() for _ in range(2)]
    for client in clients:
        # Until one hangs at the slow one.
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    slow_before = len(two[0].requests)
    with gateway.connect() as client:
        for _ in range(20):
            client.request()
            if len(two[0].requests) > max(1, slow_before):
                break
    assert len(two[0].requests) <= 3
    for client in clients:
        client.close()


def test_one_that_refuses_is_passed_by(launch, fleet: Make) -> None:
    two = fleet(2)
    two[1].stop()
    gateway: Gateway = launch(upstreams=[two.upstream()], access_log=True)
    with gateway.connect() as client:
        for number in range(20):
            # Nothing was sent to the other: any method may go on.
            assert client.request("POST" if number % 2 else "GET").status == 200
    entries = [entry for entry in gateway.access_entries(20) if "gateway.attempts" in entry]
    assert entries, "nobody was sent to the endpoint that is gone"
    attempts = entries[0]["gateway.attempts"]
    assert [attempt["endpoint"] for attempt in attempts] == [two.name(1), two.name(0)]
    assert attempts[0]["error.type"] == "connection_refused"
    assert entries[0]["gateway.upstream.endpoint"] == two.name(0)
    stats = json.loads(gateway.get("/stats").body)
    assert stats["upstream_connections"]["failovers"] == len(entries)


def test_all_refuse(launch, fleet: Make) -> None:
    two = fleet(2)
    two.stop()
    gateway: Gateway = launch(upstreams=[two.upstream()])
    assert gateway.get("/").status == 502


def test_retries_go_elsewhere(launch, fleet: Make) -> None:
    three = fleet(3)
    three[0].answer = reply(503)
    three[1].answer = reply(503)
    gateway: Gateway = launch(
        upstreams=[three.upstream(proxy={"route_prefix": "/", "retry": {"max_retries": 2, "retry_on_5xx": True, "backoff_base_ms": 1, "backoff_max_ms": 2}})])
    with gateway.connect() as client:
        for _ in range(20):
            assert client.request().body == b"2"


def test_hedges_go_elsewhere(launch, fleet: Make) -> None:
    two = fleet(2)
    two[0].answer = numbered(0, delay=2)
    two[1].answer = numbered(1)
    gateway: Gateway = launch(upstreams=[two.upstream(proxy={"route_prefix": "/", "hedge": {"delay_ms": 30}})])
    with gateway.connect() as client:
        for _ in range(5):
            assert client.request().body == b"1"


def test_backups_wait(launch, fleet: Make) -> None:
    three = fleet(3)
    gateway: Gateway = launch(upstreams=[three.upstream({}, {}, {"backup": True})])
    with gateway.connect() as client:
        for _ in range(40):
            client.request()
    assert three.shares[2] == 0 and three.shares[0] and three.shares[1]


def test_the_queue_is_the_upstreams(launch, fleet: Make) -> None:
    """With one connection for two endpoints, an idle connection of the one gives way to a new one to the other."""
    two = fleet(2)
    gateway: Gateway = launch(upstreams=[two.upstream(pool={"max_connections": 1})])
    with gateway.connect() as client:
        for _ in range(30):
            assert client.request().status == 200
    assert two.shares[0] and two.shares[1]
    # Closed is closed, but a backend's thread takes its time to notice.
    for backend in two.backends:
        until(lambda: sum(1 for connection in backend.connections if not connection.ended.is_set()) <= 1, what="one connection at the most")


def test_a_unix_socket(launch, fleet: Make, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    backend = UnixBackend(path)
    one = fleet(1)
    gateway: Gateway = launch(
        upstreams=[{"name": "mixed", "endpoints": [{"unix": str(path)}, *one.endpoints()], "proxy": {"route_prefix": "/"}}], access_log=True)
    with gateway.connect() as client:
        for _ in range(30):
            assert client.request().status == 200
    assert backend.requests and one[0].requests
    names = {entry["gateway.upstream.endpoint"] for entry in gateway.access_entries(30)}
    assert names == {f"unix:{path}", one.name(0)}
    backend.stop()


def test_host(launch, fleet: Make) -> None:
    two = fleet(2)
    gateway: Gateway = launch(upstreams=[two.upstream(host="app.example", port=80)])
    with gateway.connect() as client:
        for _ in range(10):
            client.request()
    assert {request.header("host") for backend in two.backends for request in backend.requests} == {"app.example"}


def test_workers_see_each_others_load(launch, fleet: Make) -> None:
    """What one worker has in flight counts for the other."""
    two = fleet(2)
    two[0].answer = numbered(0, delay=30)
    gateway: Gateway = launch(upstreams=[two.upstream()], workers=2)
    clients = []
    for number in range(40):
        slow = len(two[0].requests)
        client = gateway.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: sum(two.shares.values()) == number + 1, 10, "the request at some endpoint")
        if len(two[0].requests) == slow:
            client.read()
        clients.append(client)
    # Whoever comes after the first that hangs finds the other endpoint free, in whichever worker.
    assert len(two[0].requests) == 1
    for client in clients:
        client.close()


def test_a_killed_worker_leaves_no_load_behind(launch, fleet: Make) -> None:
    two = fleet(2)
    two[0].answer = numbered(0, delay=30)
    gateway: Gateway = launch(upstreams=[two.upstream()], workers=1)
    hanging = gateway.connect()
    while not two[0].requests:
        hanging.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: two[0].requests or two[1].requests, 10, "the request at some endpoint")
        if not two[0].requests:
            hanging.read()
            two[1].requests.clear()
    worker = gateway.worker
    os.kill(worker, signal.SIGKILL)
    until(lambda: gateway.workers != [worker] and gateway.workers, 10, "another worker")
    two[0].answer = numbered(0)
    two.forget()
    with gateway.connect() as client:
        for _ in range(60):
            client.request()
    assert two.shares[0] >= 10, two.shares
    hanging.close()
