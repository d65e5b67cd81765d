"""Limits on concurrent requests and on connections by key: who is refused, when a place is free again, and that all workers count together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from typing import Any

import pytest

from support.backend import Backend, Connection, Request, hang, reply
from support.client import Client, request
from support.configuration import forward, respond, upstream
from support.gateway import Gateway
from support.http2 import Http2
from support.ports import free_port
from support.stress import Trouble, wrk
from support.wait import until
from support.websocket import HANDSHAKE, WebSocket, WebSocketBackend


def zone(name: str = "z", limit: int = 2, key_type: str = "client_ip", **more: Any) -> dict[str, Any]:
    return {"name": name, "limit": limit, "key_type": key_type, **more}


def limits(*zones: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"enabled": True, "zones": list(zones), **more}


class Held:
    """Requests that the backend does not answer."""

    def __init__(self, gateway: Gateway, count: int, path: str = "/api", *lines: str, source: str | None = None) -> None:
        self.clients = [Client(gateway.port, source=source) for _ in range(count)]
        for client in self.clients:
            client.send(request("GET", path, *lines))

    def refused(self, wait: float = 0.3) -> int:
        """How many have been answered 429."""
        return sum(not client.silent(wait) and client.read().status == 429 for client in self.clients)

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *_: object) -> None:
        # A FIN alone would leave them waiting for their answers (http1.half_close).
        for client in self.clients:
            client.reset()


def admitted(gateway: Gateway, path: str = "/api", *lines: str) -> bool:
    """Whether one more request is let through; it is given up at once."""
    with Client(gateway.port) as client:
        client.send(request("GET", path, *lines))
        if not client.silent(0.1) and client.read().status == 429:
            return False
        client.reset()
        return True


def place_becomes_free(gateway: Gateway, path: str = "/api") -> None:
    until(lambda: admitted(gateway, path), what="a place to become free")


@pytest.fixture
def hanging(backend: Backend) -> Backend:
    backend.answer = hang
    return backend


def test_one_too_many_is_refused_and_its_connection_kept(launch, backend: Backend) -> None:
    go = threading.Event()

    def answer(connection: Connection, asked: Request) -> None:
        go.wait(20)
        reply(200, body=b"late")(connection, asked)

    backend.answer = answer
    gateway: Gateway = launch(concurrency_limit=limits(zone()), upstreams=[upstream(backend.port)], access_log={"format": "json"})
    with Held(gateway, 2) as held, Client(gateway.port) as surplus:
        backend.wait_requests(2)
        refused = surplus.request("GET", "/api")
        assert refused.status == 429 and refused.body == b"Too Many Requests\n" and refused.header("retry-after") == "1" and not refused.closes
        assert surplus.request("GET", "/missing").status == 429, "every request counts"
        go.set()
        assert [client.read().status for client in held.clients] == [200, 200]
        assert surplus.request("GET", "/api").status == 200, "the places are free as soon as the responses are out"
    assert gateway.access_entries(5)[0]["error.type"] == "concurrency_limited"
    stats = json.loads(gateway.get("/stats").body)["concurrency_limit"]
    assert stats == {"requests_refused": 2, "dry_run_requests_refused": 0, "connections_refused": 0, "dry_run_connections_refused": 0,
                     "zones": {"z": {"refused": 2, "dry_run_refused": 0}}}
    assert "concurrency limit z: request refused" in gateway.log


def test_a_client_that_goes_away_leaves_its_place(launch, hanging: Backend) -> None:
    gateway: Gateway = launch(concurrency_limit=limits(zone()), upstreams=[upstream(hanging.port)])
    held = Held(gateway, 2)
    hanging.wait_requests(2)
    assert not admitted(gateway)
    held.clients[0].reset()
    place_becomes_free(gateway)
    held.clients[1].reset()


def test_status_and_dry_run(launch, hanging: Backend) -> None:
    gateway: Gateway = launch(concurrency_limit=limits(zone(limit=1), status_code=503), upstreams=[upstream(hanging.port)], routes=[respond("/")])
    with Held(gateway, 1):
        hanging.wait_requests(1)
        assert gateway.get("/").status == 503
        gateway.reload(concurrency_limit=limits(zone(limit=1), dry_run=True))
        assert gateway.get("/").status == 200
    assert "concurrency limit z: a request would have been refused (dry run)" in gateway.log


def test_keys_and_prefixes(launch, hanging: Backend) -> None:
    gateway: Gateway = launch(concurrency_limit=limits(zone(limit=1, key_type="header:X-Key", applies_to=["/api/a"])), upstreams=[upstream(hanging.port)])
    with Held(gateway, 1, "/api/a", "X-Key: one"):
        hanging.wait_requests(1)
        assert not admitted(gateway, "/api/a", "X-Key: one")
        assert admitted(gateway, "/api/a", "X-Key: two")
        assert admitted(gateway, "/api/a")
        assert admitted(gateway, "/api/b", "X-Key: one")
    place_becomes_free(gateway)


def test_a_refusal_by_one_zone_gives_back_the_places_of_others(launch, hanging: Backend) -> None:
    zones = [zone("wide", limit=3), zone("narrow", limit=1, key_type="header:X-Key")]
    gateway: Gateway = launch(concurrency_limit=limits(*zones), upstreams=[upstream(hanging.port)])
    with Held(gateway, 1, "/api", "X-Key: a"):
        hanging.wait_requests(1)
        for _ in range(5):
            assert not admitted(gateway, "/api", "X-Key: a")
        with Held(gateway, 2):
            hanging.wait_requests(3)
            assert not admitted(gateway)
        place_becomes_free(gateway)


def test_a_rate_limit_that_refuses_gives_the_place_back(launch, hanging: Backend) -> None:
    rates = {"enabled": True, "zones": [{"name": "r", "rate": 0.001, "capacity": 1, "key_type": "header:X-Rate"}]}
    gateway: Gateway = launch(concurrency_limit=limits(zone(limit=1)), rate_limit=rates, upstreams=[upstream(hanging.port)], routes=[respond("/")])
    assert [gateway.get("/", "X-Rate: a").status for _ in range(4)] == [200, 429, 429, 429]
    assert gateway.get("/").status == 200


def test_http2(launch, hanging: Backend) -> None:
    gateway: Gateway = launch(concurrency_limit=limits(zone()), upstreams=[upstream(hanging.port)])
    with Http2(gateway.port) as client:
        streams = [client.request("GET", "/api") for _ in range(2)]
        hanging.wait_requests(2)
        refused = client.get("/api")
        assert refused.status == 429 and refused.header("retry-after") == "1"
        assert not admitted(gateway), "HTTP/1.1 and HTTP/2 count together"
        client.reset(streams[0])
        client.ping()
        place_becomes_free(gateway)
    place_becomes_free(gateway)


def test_websockets_hold_their_place(launch) -> None:
    server = WebSocketBackend()
    gateway: Gateway = launch(
        concurrency_limit=limits(zone(limit=2)), upstreams=[upstream(server.port, None, "ws")], routes=[{"path": "/echo", "echo": {}}, forward("/ws", "ws")])
    try:
        with WebSocket(gateway.port, "/ws") as tunnel, WebSocket(gateway.port, "/echo") as own:
            with Client(gateway.port) as surplus:
                assert surplus.request("GET", "/ws", *HANDSHAKE).status == 429
                assert surplus.request("GET", "/echo", *HANDSHAKE).status == 429
            own.client.close()
            until(lambda: gateway.get("/health").status == 200, what="the echo's place")
            tunnel.client.close()
        with WebSocket(gateway.port, "/ws"):
            assert gateway.get("/health").status == 200
    finally:
        server.stop()


def test_a_response_that_is_not_taken_keeps_its_place(launch, backend: Backend) -> None:
    size = 8 << 20
    backend.answer = reply(200, body=bytes(size))
    gateway: Gateway = launch(concurrency_limit=limits(zone(limit=1)), upstreams=[upstream(backend.port, buffering="always", relay_buffer_limit_bytes=1 << 20)],
                              routes=[respond("/")])
    with Client(gateway.port, receive_buffer=4096) as slow:
        slow.send(request("GET", "/api"))
        backend.wait_requests(1)
        time.sleep(0.5)
        assert gateway.get("/").status == 429
        assert len(slow.read().body) == size
        until(lambda: gateway.get("/").status == 200, what="the place to become free")


def test_all_workers_count_together(launch, hanging: Backend) -> None:
    gateway: Gateway = launch(workers=4, concurrency_limit=limits(zone(limit=5)), upstreams=[upstream(hanging.port)])
    with Held(gateway, 5):
        hanging.wait_requests(5)
        with Held(gateway, 12) as surplus:
            until(lambda: surplus.refused(1.0) == 12, what="refusals", timeout=30)
    place_becomes_free(gateway)


def test_a_killed_worker_gives_its_places_back(launch, hanging: Backend) -> None:
    gateway: Gateway = launch(concurrency_limit=limits(zone(limit=3), zone("c", limit=20, counts="connections")), upstreams=[upstream(hanging.port)])
    for round in range(3):
        with Held(gateway, 3):
            until(lambda: not admitted(gateway), what="a full house")
            worker = gateway.worker
            os.kill(worker, signal.SIGKILL)
            until(lambda: gateway.workers and gateway.worker != worker, what="another worker")
            place_becomes_free(gateway)


def test_generations_count_together(launch, hanging: Backend) -> None:
    gateway: Gateway = launch(concurrency_limit=limits(zone(limit=2)), upstreams=[upstream(hanging.port)], shutdown_drain_timeout_sec=20)
    held = Held(gateway, 2)
    hanging.wait_requests(2)
    gateway.reload(idle_timeout_sec=77)
    assert not admitted(gateway), "the old generation's requests count"
    gateway.reload(concurrency_limit=limits(zone(limit=3)))
    assert admitted(gateway)
    with Held(gateway, 1):
        until(lambda: not admitted(gateway), what="a full house")
    for client in held.clients:
        client.reset()
    place_becomes_free(gateway)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_never_more_than_the_limit_under_load(launch, backend: Backend) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def answer(connection: Connection, asked: Request) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1
        reply(200, body=b"x")(connection, asked)

    backend.answer = answer
    gateway: Gateway = launch(workers=4, concurrency_limit=limits(zone(limit=5)), upstreams=[upstream(backend.port)])
    outcome = wrk(gateway.port, 3, connections=32, path="/api")
    assert 0 < outcome.admitted < outcome.answered and 3 <= most <= 5, (outcome, most)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_nothing_leaks_when_workers_are_killed_and_replaced(launch, backend: Backend) -> None:
    def answer(connection: Connection, asked: Request) -> None:
        if asked.target.endswith("/hang"):
            return hang(connection, asked)
        time.sleep(0.005)
        reply(200, body=b"x")(connection, asked)

    backend.answer = answer
    gateway: Gateway = launch(
        workers=4, concurrency_limit=limits(zone(limit=6), zone("c", limit=40, counts="connections")), upstreams=[upstream(backend.port)])
    with Trouble(gateway, kills=True, reloads=True) as trouble:
        wrk(gateway.port, 4, connections=32, path="/api")
    assert trouble.killed > 3
    until(lambda: len(gateway.workers) == 4, timeout=30, what="four workers")
    # As many as may be are admitted, to the last one, and no more.
    until(lambda: admitted(gateway, "/api/hang"), timeout=20, what="a free place")
    time.sleep(0.5)
    with Held(gateway, 6, "/api/hang") as held:
        assert held.refused(0.5) == 0
        with Held(gateway, 3, "/api/hang") as surplus:
            until(lambda: surplus.refused(1.0) == 3, what="refusals", timeout=20)


# Connections


def connections(limit: int, **more: Any) -> dict[str, Any]:
    return limits(zone("c", limit=limit, counts="connections"), **more)


def open_of(gateway: Gateway, source: str) -> bool:
    """Whether a connection from that address is let in."""
    with Client(gateway.port, source=source) as client:
        client.send(request("GET", "/"))
        return client.read().status == 200


def test_connections_of_one_client(launch) -> None:
    gateway: Gateway = launch(concurrency_limit=connections(3), routes=[respond("/")])
    until(lambda: open_of(gateway, "127.0.0.1"), what="the end of the connection that has looked whether it listens")
    clients = [Client(gateway.port, source="127.0.0.5") for _ in range(3)]
    assert [client.request().status for client in clients] == [200] * 3
    with Client(gateway.port, source="127.0.0.5") as surplus:
        surplus.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        refused = surplus.read()
        assert refused.status == 429 and refused.closes and refused.header("retry-after") == "1" and surplus.at_end()
    assert open_of(gateway, "127.0.0.6"), "others are not concerned"
    assert [client.request().status for client in clients] == [200] * 3
    clients.pop().close()
    until(lambda: open_of(gateway, "127.0.0.5"), what="a place to become free")
    stats = json.loads(gateway.get("/stats").body)
    assert stats["concurrency_limit"]["connections_refused"] >= 1 and stats["faults"]["client_connection_limit"] >= 1
    for client in clients:
        client.close()


def test_connections_are_counted_by_all_workers_and_given_back_by_killed_ones(launch) -> None:
    gateway: Gateway = launch(workers=3, concurrency_limit=connections(6), routes=[respond("/")])
    clients = [Client(gateway.port, source="127.0.0.5") for _ in range(6)]
    assert [client.request().status for client in clients] == [200] * 6
    assert not open_of(gateway, "127.0.0.5")
    for worker in gateway.workers:
        os.kill(worker, signal.SIGKILL)
    until(lambda: open_of(gateway, "127.0.0.5") if len(gateway.workers) == 3 else None, timeout=20, what="places of the dead")
    for client in clients:
        client.close()


def test_connections_count_in_a_dry_run_and_over_reloads(launch) -> None:
    gateway: Gateway = launch(concurrency_limit=connections(1), routes=[respond("/")])
    with Client(gateway.port, source="127.0.0.5") as client:
        assert client.request().status == 200
        gateway.reload(concurrency_limit=connections(1, dry_run=True, status_code=503))
        assert open_of(gateway, "127.0.0.5")
        assert "a connection would have been refused (dry run)" in gateway.log


def test_connections_announced_by_a_proxy(launch) -> None:
    port = free_port()
    launch(bind_port=port, listeners=[{"host": "127.0.0.1", "port": port, "proxy_protocol": True}], concurrency_limit=connections(1), routes=[respond("/")])

    def announced(source: str) -> Client:
        client = Client(port)
        client.send(f"PROXY TCP4 {source} 10.0.0.1 1234 80\r\n".encode() + request("GET", "/"))
        return client

    with announced("10.1.1.1") as first, announced("10.1.1.2") as second:
        assert first.read().status == 200 and second.read().status == 200
        with announced("10.1.1.1") as surplus:
            assert surplus.at_end()
        first.close()
        until(lambda: served(announced("10.1.1.1")), what="a place to become free")


def served(client: Client) -> bool:
    with client:
        try:
            return client.read().status == 200
        except (AssertionError, OSError, EOFError):
            return False


def test_trusted_proxies_are_not_counted(launch) -> None:
    gateway: Gateway = launch(concurrency_limit=connections(1), client_address={"trusted_proxies": ["127.0.0.1/32"]}, routes=[respond("/")])
    clients = [Client(gateway.port) for _ in range(4)]
    assert [client.request().status for client in clients] == [200] * 4
    for client in clients:
        client.close()
