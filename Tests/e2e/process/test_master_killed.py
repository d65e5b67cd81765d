"""Workers whose master is gone finish what they have and leave no orphan."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

from support import proc
from support.backend import Backend, hang, head
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.wait import until


def test_idle_workers_go(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    gateway.get("/")
    workers = until(lambda: gateway.workers if len(gateway.workers) == 2 else None)
    gateway.signal(signal.SIGKILL)
    gateway.wait_exit()
    until(lambda: not any(map(proc.alive, workers)), 5, "the workers to go")


def test_requests_in_flight_are_finished(launch, backend: Backend) -> None:
    go = threading.Event()

    def answer(connection, asked) -> None:
        go.wait(5)
        connection.send(head(200, "Content-Length: 4") + b"done")

    backend.answer = answer
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    worker = gateway.worker
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests()
        gateway.signal(signal.SIGKILL)
        gateway.wait_exit()
        go.set()
        response = client.read()
        assert response.text == "done" and response.closes
    until(lambda: not proc.alive(worker), 5, "the worker to go")


def test_those_who_wait_are_answered(launch) -> None:
    """Nobody else could do it: the last to hold their socket would leave them to a reset."""
    gateway: Gateway = launch(routes=[respond("/")])
    worker = gateway.worker
    os.kill(worker, signal.SIGSTOP)
    clients = [gateway.connect() for _ in range(300)]
    for client in clients:
        client.send(request("GET", "/", "Connection: close"))
    gateway.signal(signal.SIGKILL)
    gateway.wait_exit()
    os.kill(worker, signal.SIGCONT)
    for client in clients:
        assert client.read().status == 200
        client.close()


def test_the_drain_deadline_holds(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway: Gateway = launch(shutdown_drain_timeout_sec=1, upstreams=[upstream(backend.port)])
    worker = gateway.worker
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests()
        gateway.signal(signal.SIGKILL)
        gateway.wait_exit()
        until(lambda: not proc.alive(worker), 4, "the worker to go")


def test_a_new_instance_can_be_started_at_once(launch) -> None:
    first: Gateway = launch(routes=[respond("/", "first")])
    first.signal(signal.SIGKILL)
    first.wait_exit()
    second: Gateway = launch(bind_port=first.port, routes=[respond("/", "second")])
    until(lambda: second.get("/").text == "second", what="the second instance to serve")


def test_a_unix_socket_can_be_taken_over_at_once(launch, tmp_path: Path) -> None:
    listeners = [{"unix": str(tmp_path / "gateway.sock")}]
    for number in range(1, 4):
        gateway: Gateway = launch(workers=2, routes=[respond("/", str(number))], listeners=listeners, wait=False)
        until(lambda: "serves with" in gateway.log, what=f"instance {number} to serve")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(tmp_path / "gateway.sock"))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            assert sock.makefile("rb").read().endswith(f"\r\n\r\n{number}".encode())
        gateway.signal(signal.SIGKILL)
        gateway.wait_exit()


def test_while_it_starts(launch) -> None:
    for pause in (0.002, 0.005, 0.01, 0.02):
        gateway: Gateway = launch(workers=3, routes=[respond("/")], wait=False)
        time.sleep(pause)
        workers = gateway.workers
        gateway.signal(signal.SIGKILL)
        gateway.wait_exit()
        until(lambda: not any(map(proc.alive, workers)), 5, "the workers to go")


def test_while_it_reloads(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    gateway.signal(signal.SIGHUP)
    workers = until(lambda: gateway.workers if len(gateway.workers) > 2 else None, what="the new generation", pause=0.0005)
    gateway.signal(signal.SIGKILL)
    gateway.wait_exit()
    until(lambda: not any(map(proc.alive, workers)), 5, "the workers to go")
