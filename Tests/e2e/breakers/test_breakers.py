"""Circuit breakers: what opens and closes one, what clients hear, and that all workers and generations share it."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from typing import Any

import pytest

from support.backend import Backend, Connection, Request, close, hang, reply, unused_endpoint
from support.breakers import breakers, guarded
from support.client import Client, request
from support.configuration import upstream
from support.gateway import Gateway
from support.message import Closed
from support.http2 import Http2
from support.wait import until


def statuses(gateway: Gateway, count: int, path: str = "/api") -> list[int]:
    return [gateway.get(path).status for _ in range(count)]


def answers(status: int):
    return reply(status, reason="Whatever", body=b"the backend's own")


def test_failures_in_a_row_open_it(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[guarded(backend.port)], access_log=True)
    backend.answer = answers(500)
    assert statuses(gateway, 2) == [500, 500]
    backend.answer = answers(404)
    assert statuses(gateway, 1) == [404]
    backend.answer = answers(503)
    assert statuses(gateway, 3) == [503] * 3
    with Client(gateway.port) as client:
        refused = client.request("GET", "/api")
        assert refused.status == 503 and refused.body == b"Upstream circuit breaker is open; please retry later.\n"
        assert refused.header("x-circuit-breaker") == "open" and refused.header("x-upstream-host") == f"127.0.0.1:{backend.port}"
        assert 58 <= int(refused.header("retry-after") or 0) <= 60
        assert refused.closes and client.at_end()
    assert len(backend.requests) == 6
    assert gateway.access_entries(7)[-1]["error.type"] == "circuit_open"
    state = breakers(gateway)["backend"]
    assert state["state"] == "open" and state["trips"] == 1 and state["opened"] == 1 and state["refused"] == 1 and 0 < state["retry_in_ms"] <= 60_000
    assert gateway.log.count("circuit breaker is open") == 1 and "consecutive failures, 3 of 3" in gateway.log
    stats = json.loads(gateway.get("/stats").text)
    assert stats["breakers"]["backend"]["state"] == "open" and stats["faults"]["circuit_open"] == 1


def test_the_answer_to_those_who_prefer_json_and_over_http2(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[guarded(backend.port, breaker={"consecutive_failure_threshold": 1})])
    backend.answer = answers(500)
    statuses(gateway, 1)
    refused = gateway.get("/api", "Accept: application/json")
    assert refused.status == 503 and json.loads(refused.body)["fault"] == "circuit_open" and refused.header("x-circuit-breaker") == "open"
    with Http2(gateway.port) as link:
        answer = link.get("/api")
        assert answer.status == 503 and answer.header("x-circuit-breaker") == "open" and answer.header("connection") is None
        assert link.get("/health").status == 200


@pytest.mark.parametrize("kind", ["refused", "closed", "late"])
def test_what_counts_as_a_failure(launch, backend: Backend, kind: str) -> None:
    kept, port = unused_endpoint()
    gateway: Gateway = launch(upstreams=[guarded(port if kind == "refused" else backend.port, response_timeout_ms=100)])
    backend.answer = close if kind == "closed" else hang
    assert statuses(gateway, 4) == [504 if kind == "late" else 502] * 3 + [503]
    kept.close()


def test_what_a_client_does_is_no_failure(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[guarded(backend.port, pool={"max_connections": 8, "max_idle_connections": 8})])
    backend.answer = hang
    for count in range(1, 6):
        with Client(gateway.port) as client:
            client.send(request("GET", "/api"))
            backend.wait_requests(count)
            client.reset()
        until(lambda: breakers(gateway)["backend"]["requests_under_way"] == 0, what="the request to be given up")
    state = breakers(gateway)["backend"]
    assert state["state"] == "closed" and state["window_requests"] == 0


def test_a_rate_of_failures_opens_it(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[guarded(
        backend.port, breaker={"consecutive_failure_threshold": 1000, "failure_rate_threshold": 50, "minimum_volume": 10, "window_seconds": 60})])
    for turn in range(9):
        backend.answer = answers(500 if turn % 2 else 200)
        gateway.get("/api")
    assert breakers(gateway)["backend"]["state"] == "closed"
    backend.answer = answers(500)
    gateway.get("/api")
    assert breakers(gateway)["backend"]["state"] == "open" and "failure rate, 5 of 10" in gateway.log


def test_a_response_that_is_cut_off_is_a_failure(launch, backend: Backend) -> None:
    def cut(connection: Connection, asked: Request) -> None:
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + "x" * 400_000)
        connection.close()

    gateway: Gateway = launch(upstreams=[guarded(backend.port, breaker={"consecutive_failure_threshold": 1})])
    backend.answer = cut
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        with pytest.raises((Closed, ConnectionResetError)):
            client.read()
        until(lambda: breakers(gateway)["backend"]["state"] == "open", what="the breaker to open")


def test_probes_close_it(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[guarded(backend.port, breaker={"base_open_duration_ms": 300})])
    backend.answer = answers(500)
    statuses(gateway, 3)
    held: list[Connection] = []
    backend.answer = lambda connection, asked: held.append(connection)
    time.sleep(0.35)
    with Client(gateway.port) as one, Client(gateway.port) as other:
        for number, client in enumerate([one, other]):
            client.send(request("GET", "/api"))
            until(lambda: len(held) == number + 1, what="the probe")
        full = gateway.get("/api")
        assert full.status == 503 and full.header("x-circuit-breaker") == "half_open" and full.header("retry-after") == "1"
        state = breakers(gateway)["backend"]
        assert state["state"] == "half_open" and state["probes_under_way"] == 2
        for connection in held:
            connection.send("HTTP/1.1 204 No Content\r\n\r\n")
        assert one.read().status == 204 and other.read().status == 204
    assert breakers(gateway)["backend"]["state"] == "closed"
    backend.answer = answers(200)
    assert statuses(gateway, 3) == [200] * 3
    assert "half-open: 2 requests" in gateway.log and "circuit breaker is closed" in gateway.log


def test_a_failed_probe_opens_it_for_twice_as_long(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[guarded(backend.port, breaker={"base_open_duration_ms": 200, "max_open_duration_ms": 60_000})])
    backend.answer = answers(500)
    statuses(gateway, 3)
    time.sleep(0.25)
    assert statuses(gateway, 1) == [500]
    state = breakers(gateway)["backend"]
    assert state["state"] == "open" and state["trips"] == 2 and "open for 400 ms: a failed probe" in gateway.log


def test_a_probe_whose_client_goes_gives_its_place_back(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[guarded(backend.port, breaker={"base_open_duration_ms": 100, "permitted_half_open_calls": 1})])
    backend.answer = answers(500)
    statuses(gateway, 3)
    time.sleep(0.15)
    backend.answer = hang
    for count in range(4, 7):
        with Client(gateway.port) as client:
            client.send(request("GET", "/api"))
            backend.wait_requests(count)
            client.reset()
        until(lambda: breakers(gateway)["backend"]["probes_under_way"] == 0, what="the place")
    backend.answer = answers(200)
    assert statuses(gateway, 2) == [200, 200]
    assert breakers(gateway)["backend"]["state"] == "closed"


def test_a_killed_worker_leaks_no_probe(launch, backend: Backend) -> None:
    gateway: Gateway = launch(workers=2, upstreams=[guarded(backend.port, breaker={"base_open_duration_ms": 100, "permitted_half_open_calls": 1})])
    backend.answer = answers(500)
    statuses(gateway, 3)
    time.sleep(0.15)
    backend.answer = hang
    for _ in range(3):
        before = len(backend.requests)
        with Client(gateway.port) as client:
            client.send(request("GET", "/api"))
            backend.wait_requests(before + 1)
            assert gateway.get("/api").header("x-circuit-breaker") == "half_open"
            for worker in gateway.workers:
                os.kill(worker, signal.SIGKILL)
            until(lambda: breakers(gateway)["backend"]["probes_under_way"] == 0, what="the place to be given back")
            assert breakers(gateway)["backend"]["requests_under_way"] == 0
        until(lambda: len(gateway.workers) == 2, what="the workers")
    backend.answer = answers(200)
    until(lambda: gateway.get("/api").status == 200, what="the service")
    assert breakers(gateway)["backend"]["state"] == "closed"


def test_all_workers_share_it(launch, backend: Backend) -> None:
    gateway: Gateway = launch(workers=4, upstreams=[guarded(backend.port, breaker={"consecutive_failure_threshold": 40, "minimum_volume": 1000})])
    backend.answer = answers(500)
    seen = statuses(gateway, 60)
    assert seen == [500] * 40 + [503] * 20
    assert gateway.log.count("circuit breaker is open") == 1


def test_it_outlives_reloads_and_workers(launch, backend: Backend) -> None:
    gateway: Gateway = launch(workers=2, upstreams=[guarded(backend.port)])
    backend.answer = answers(500)
    statuses(gateway, 2)
    gateway.reload(workers=3)
    assert statuses(gateway, 2) == [500, 503]
    for worker in gateway.workers:
        os.kill(worker, signal.SIGKILL)
    until(lambda: len(gateway.workers) == 3, what="the workers")
    assert statuses(gateway, 3) == [503] * 3
    gateway.reload(upstreams=[guarded(backend.port, breaker={"consecutive_failure_threshold": 5})])
    assert statuses(gateway, 1) == [503]
    # Without it, everything passes; when it is back, it is closed.
    gateway.reload(upstreams=[guarded(backend.port, breaker={"enabled": False})])
    assert statuses(gateway, 10) == [500] * 10


def test_an_upstream_that_has_moved_begins_anew(launch, backend: Backend) -> None:
    kept, port = unused_endpoint()
    gateway: Gateway = launch(upstreams=[guarded(port)])
    assert statuses(gateway, 4) == [502, 502, 502, 503]
    gateway.reload(upstreams=[guarded(backend.port)])
    assert statuses(gateway, 1) == [200]
    kept.close()


def test_who_waits_for_a_connection_is_answered_at_once_when_it_opens(launch, backend: Backend) -> None:
    """Requests wait in the queues of both workers; one failure opens the breaker for all of them."""
    held: list[Connection] = []
    backend.answer = lambda connection, asked: held.append(connection)
    pool = {"max_connections": 2, "max_idle_connections": 0, "connect_timeout_ms": 60_000}
    gateway: Gateway = launch(workers=2, upstreams=[guarded(backend.port, pool=pool, breaker={"consecutive_failure_threshold": 1})])
    clients: list[Client] = []

    def waiting() -> int:
        return json.loads(gateway.get("/stats").text)["upstream_connections"]["waiting"]

    while len(clients) < 40 and not (len(held) == 2 and waiting() >= 10):
        client = Client(gateway.port)
        client.send(request("GET", "/api"))
        clients.append(client)
        time.sleep(0.02)
    assert len(held) == 2 and waiting() >= 10
    begun = time.monotonic()
    held[0].send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    until(lambda: waiting() == 0, timeout=2, what="the queue to be answered")
    assert time.monotonic() - begun < 5
    held[1].send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    seen = sorted(client.read().status for client in clients)
    assert seen == [200, 500] + [503] * (len(clients) - 2)
    for client in clients:
        client.close()


def test_dry_run(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[guarded(backend.port, breaker={"dry_run": True})])
    backend.answer = answers(500)
    assert statuses(gateway, 6) == [500] * 6
    state = breakers(gateway)["backend"]
    assert state["state"] == "open" and state["spared"] == 3 and state["refused"] == 0
    assert "would have been refused (dry run)" in gateway.log
    gateway.reload(upstreams=[guarded(backend.port)])
    assert statuses(gateway, 1) == [503]


def test_operators_take_it_in_hand(launch, backend: Backend) -> None:
    gateway: Gateway = launch(workers=2, upstreams=[guarded(backend.port, name="the api")])
    done = gateway.ctl("breakers", "open", "the api")
    assert done.returncode == 0 and "held open" in done.stdout
    assert statuses(gateway, 2) == [503, 503] and "held open" in gateway.ctl("breakers").stdout
    gateway.reload(workers=1)
    assert statuses(gateway, 1) == [503]
    assert gateway.ctl("breakers", "close", "the api").returncode == 0
    backend.answer = answers(500)
    assert statuses(gateway, 6) == [500] * 6 and breakers(gateway)["the api"]["held"] is True
    assert gateway.ctl("breakers", "reset", "the api").returncode == 0
    assert statuses(gateway, 4) == [500] * 3 + [503]
    assert gateway.ctl("breakers", "reset", "the api").returncode == 0
    backend.answer = answers(200)
    assert statuses(gateway, 1) == [200]
    missing = gateway.ctl("breakers", "open", "nobody")
    assert missing.returncode == 1 and 'no upstream "nobody"' in missing.stderr and "the api" in missing.stderr
    assert gateway.ctl("breakers", "open").returncode == 2 and gateway.ctl("breakers", "blow").returncode == 2


def test_bodies_are_not_collected_for_one_who_is_left_alone(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[guarded(backend.port, request_mode="buffered", breaker={"consecutive_failure_threshold": 1})])
    backend.answer = answers(500)
    with Client(gateway.port) as client:
        assert client.request("POST", "/api", body=b"x" * 1000).status == 500
    with Client(gateway.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n")
        assert client.read("POST").status == 503


def test_each_failed_attempt_counts_and_the_breaker_ends_the_retries(launch, backend: Backend) -> None:
    gateway: Gateway = launch(access_log=True, upstreams=[guarded(backend.port, retry={"max_retries": 5, "backoff_base_ms": 1, "backoff_max_ms": 1})])
    backend.answer = close
    refused = gateway.get("/api")
    assert refused.status == 503 and refused.header("x-circuit-breaker") == "open" and len(backend.requests) == 3


def test_a_held_response_is_better_than_an_open_breaker(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[guarded(
        backend.port, retry={"max_retries": 5, "retry_on_5xx": True, "backoff_base_ms": 1, "backoff_max_ms": 1})])
    backend.answer = answers(502)
    answer = gateway.get("/api")
    assert answer.status == 502 and answer.body == b"the backend's own" and len(backend.requests) == 3


def test_the_retry_budget(launch, backend: Backend) -> None:
    """Five requests are under way; with 40 % two retries may be, with none in any case."""
    settings = {"consecutive_failure_threshold": 1000, "retry_budget_percent": 40, "retry_budget_min_concurrency": 0}
    gateway: Gateway = launch(
        workers=2, access_log=True,
        upstreams=[guarded(backend.port, breaker=settings, retry={"max_retries": 1, "retry_on_5xx": False, "backoff_base_ms": 1, "backoff_max_ms": 1})])
    backend.answer = hang
    clients = [Client(gateway.port) for _ in range(5)]
    for client in clients:
        client.send(request("GET", "/api/wait"))
    backend.wait_requests(5)

    def fails_once(connection: Connection, asked: Request) -> None:
        seen.append(asked.target)
        if seen.count(asked.target) == 1:
            connection.close()

    seen: list[str] = []
    backend.answer = fails_once
    retried = [Client(gateway.port) for _ in range(3)]
    for number, client in enumerate(retried):
        client.send(request("GET", f"/api/{number}"))
        if number < 2:
            until(lambda: seen.count(f"/api/{number}") == 2, what="the retry")
    answer = retried[2].read()
    assert answer.status == 503 and answer.header("x-retry-budget-exhausted") == "1" and answer.body == b"Upstream retry budget exhausted.\n"
    assert answer.header("retry-after") is None and answer.closes
    state = breakers(gateway)["backend"]
    assert state["requests_under_way"] == 7 and state["retries_under_way"] == 2 and state["budget_refused"] == 1
    # Whatever workers had under way goes with them.
    for worker in gateway.workers:
        os.kill(worker, signal.SIGKILL)
    until(lambda: breakers(gateway)["backend"]["requests_under_way"] == 0, what="the counts of the dead")
    for client in clients + retried:
        client.close()


def test_without_a_breaker_there_is_nothing_to_show(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    assert breakers(gateway) == {} and "No upstream has a circuit breaker" in gateway.ctl("breakers").stdout
    assert "breakers" not in json.loads(gateway.get("/stats").text)


def test_in_a_single_process(launch, backend: Backend) -> None:
    gateway: Gateway = launch(arguments=("--single-process",), upstreams=[guarded(backend.port)])
    backend.answer = answers(500)
    assert statuses(gateway, 4) == [500] * 3 + [503]


def test_requests_under_way_are_counted_to_their_end(launch, backend: Backend) -> None:
    gateway: Gateway = launch(workers=2, upstreams=[guarded(backend.port)])
    stop = threading.Event()
    failed: list[str] = []

    def load() -> None:
        while not stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", gateway.port), 5) as sock:
                    sock.sendall(request("GET", "/api"))
                    sock.recv(65_536)
            except OSError as error:
                failed.append(str(error))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    gateway.reload()
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed
    until(lambda: breakers(gateway)["backend"]["requests_under_way"] == 0, what="all to be over")
