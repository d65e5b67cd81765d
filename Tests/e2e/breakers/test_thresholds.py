"""How many requests may be under way to an upstream, and wait for it: over all workers, exactly."""

from __future__ import annotations

import json
import time

from support.backend import Backend, Connection, Request, hang, reply
from support.breakers import breakers, guarded
from support.client import Client, request
from support.configuration import Json, upstream
from support.gateway import Gateway
from support.wait import until


def send(gateway: Gateway, count: int) -> list[Client]:
    clients = [Client(gateway.port) for _ in range(count)]
    for client in clients:
        client.send(request("GET", "/api"))
    return clients


def test_requests_under_way(launch, backend: Backend) -> None:
    gateway: Gateway = launch(workers=4, access_log=True, upstreams=[guarded(backend.port, breaker={"max_requests": 5})])
    backend.answer = hang
    held = send(gateway, 5)
    backend.wait_requests(5)
    with Client(gateway.port) as client:
        for _ in range(8):
            refused = client.request("GET", "/api")
            assert refused.status == 503 and refused.header("retry-after") == "1" and not refused.closes
    assert len(backend.requests) == 5 and breakers(gateway)["backend"]["crowd_refused"] == 8
    assert gateway.access_entries(8)[-1]["error.type"] == "upstream_request_limit"
    # It says nothing about the upstream.
    assert breakers(gateway)["backend"]["window_requests"] == 0
    backend.last.connection.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    until(lambda: breakers(gateway)["backend"]["requests_under_way"] == 4, what="one to be over")
    backend.answer = reply()
    assert gateway.get("/api").status == 200
    for client in held:
        client.reset()
    until(lambda: breakers(gateway)["backend"]["requests_under_way"] == 0, what="all to be over")


def test_requests_that_wait(launch, backend: Backend) -> None:
    pool = {"max_connections": 1, "max_idle_connections": 0, "connect_timeout_ms": 60_000}
    gateway: Gateway = launch(upstreams=[guarded(backend.port, pool=pool, breaker={"max_pending_requests": 3})])
    backend.answer = hang
    clients = send(gateway, 1)
    backend.wait_requests(1)
    clients += send(gateway, 3)
    until(lambda: breakers(gateway)["backend"]["waiting"] == 3, what="three to wait")
    assert gateway.get("/api").status == 503 and breakers(gateway)["backend"]["queue_refused"] == 1
    for client in clients:
        client.reset()
    until(lambda: breakers(gateway)["backend"]["waiting"] == 0, what="nobody to wait")


def test_a_limit_that_is_found_out(launch, backend: Backend) -> None:
    """As long as answers are quick it grows; when they become slow it shrinks to its minimum, and requests are refused."""
    def answer(connection: Connection, asked: Request) -> None:
        if asked.target == "/api/slow":
            time.sleep(0.15)
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    backend.answer = answer
    settings: Json = {"adaptive_concurrency": {"enabled": True, "min_requests": 1, "max_requests": 20, "latency_tolerance_percent": 300}}
    gateway: Gateway = launch(upstreams=[guarded(backend.port, breaker=settings)])

    def limit() -> int:
        return breakers(gateway)["backend"]["adaptive_limit"]

    assert limit() == 10
    assert gateway.get("/api").status == 200
    for _ in range(30):
        assert gateway.get("/api/slow").status == 200
        if limit() == 1:
            break
    assert limit() < 5
    backend.answer = hang
    clients = send(gateway, 8)
    until(lambda: json.loads(gateway.get("/stats").text)["breakers"]["backend"]["refused_crowded"] > 0, what="a refusal")
    for client in clients:
        client.close()


def test_bounds_between_settings(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    gateway.write(upstreams=[guarded(backend.port, breaker={"adaptive_concurrency": {"min_requests": 50, "max_requests": 20}})])
    done = gateway.ctl("reload")
    assert done.returncode == 1 and "max_requests (20) must not be less than min_requests (50)" in done.stdout + done.stderr
