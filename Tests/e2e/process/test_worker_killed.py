"""A worker that is killed takes only its own requests with it."""

from __future__ import annotations

import os
import signal
import time

from support import proc
from support.backend import Backend, hang
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.load import Load
from support.wait import until


def test_under_load_only_what_is_in_flight_fails(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    with Load(gateway.port, keep_alive=4, fresh=4) as load:
        time.sleep(0.5)
        os.kill(gateway.workers[0], signal.SIGKILL)
        killed = time.monotonic()
        time.sleep(1.5)
    assert load.answered > 100
    # Each client has one request in flight at a time, and connections waiting in the dead worker's queue are not lost.
    assert len(load.failures) <= 8, load.failures
    late = [line for line in load.failures if float(line.split(" s")[0]) > 0.5 + 1.0]
    assert not late, f"failures long after the kill ({killed}): {late}"
    assert len(until(lambda: gateway.workers if len(gateway.workers) == 2 else None, what="the worker to be replaced")) == 2


def test_the_next_accept_works_at_once(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    for _ in range(5):
        os.kill(gateway.worker, signal.SIGKILL)
        begun = time.monotonic()
        assert gateway.get("/").status == 200
        assert time.monotonic() - begun < 2


def test_others_requests_go_on(launch, backend: Backend) -> None:
    gateway: Gateway = launch(workers=2, upstreams=[upstream(backend.port)])
    backend.answer = hang
    clients = [Client(gateway.port) for _ in range(20)]
    for client in clients:
        client.send(request("GET", "/api"))
    backend.wait_requests(20)
    os.kill(gateway.workers[0], signal.SIGKILL)
    time.sleep(0.3)
    open_ones = [connection for connection in backend.connections if not connection.ended.is_set()]
    assert 0 < len(open_ones) < 20
    for connection in open_ones:
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    answered = 0
    for client in clients:
        client.sock.settimeout(1)
        try:
            answered += client.read().status == 200
        except Exception:  # it was the dead worker's
            pass
    assert answered == len(open_ones)


def test_the_reason_is_in_the_log(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    worker = gateway.worker
    os.kill(worker, signal.SIGKILL)
    until(lambda: str(worker) in gateway.log and ("SIGKILL" in gateway.log or "signal 9" in gateway.log), what="the reason in the log")


def test_one_that_keeps_dying_does_not_keep_the_master_busy(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    seen: set[int] = set()
    deadline = time.monotonic() + 3
    before = proc.cpu_seconds(gateway.pid)
    while time.monotonic() < deadline:
        for worker in gateway.workers:
            seen.add(worker)
            os.kill(worker, signal.SIGKILL)
        time.sleep(0.005)
    assert len(seen) < 60, "no back-off"
    assert proc.cpu_seconds(gateway.pid) - before < 1
    until(lambda: gateway.get("/").status == 200, 10, what="service again")


def test_those_who_wait_for_one_that_is_told_to_go(launch) -> None:
    """They were answered 503 once, with too many connections as the reason."""
    gateway: Gateway = launch(workers=1, routes=[respond("/")])
    worker = gateway.worker
    os.kill(worker, signal.SIGSTOP)
    clients = [gateway.connect() for _ in range(300)]
    for client in clients:
        client.send(request("GET", "/", "Connection: close"))
    os.kill(worker, signal.SIGTERM)
    os.kill(worker, signal.SIGCONT)
    for client in clients:
        assert client.read().status == 200
        client.close()


def test_those_who_wait_when_all_processes_are_told_to_go(launch) -> None:
    """As a process group is: nobody is left whom the queue could be left to."""
    gateway: Gateway = launch(workers=1, routes=[respond("/")])
    worker = gateway.worker
    os.kill(worker, signal.SIGSTOP)
    clients = [gateway.connect() for _ in range(100)]
    for client in clients:
        client.send(request("GET", "/", "Connection: close"))
    os.kill(worker, signal.SIGTERM)
    os.kill(worker, signal.SIGCONT)
    gateway.signal(signal.SIGTERM)
    for client in clients:
        assert client.read().status == 200
        client.close()
    gateway.wait_exit()


def test_one_that_is_told_to_go_is_covered_and_replaced(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway: Gateway = launch(workers=2, shutdown_drain_timeout_sec=30, upstreams=[upstream(backend.port)], routes=[respond("/")])
    clients = [Client(gateway.port) for _ in range(8)]
    for client in clients:
        client.send(request("GET", "/api"))
    backend.wait_requests(8)
    os.kill(gateway.workers[0], signal.SIGTERM)
    until(lambda: "draining" in gateway.ctl("status").stdout, what="the worker to drain")
    for _ in range(20):
        with Client(gateway.port, timeout=2) as client:
            assert client.request().status == 200
    for client in clients:
        client.reset()
    until(lambda: gateway.ctl("status").stdout.count(" ready ") == 2, what="the worker to be replaced")
