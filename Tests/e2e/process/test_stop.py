"""Stopping: gracefully within the deadline, and at once on the second signal."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from support import proc
from support.backend import Backend, hang, head
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.wait import until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_signals(launch, number: signal.Signals) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    gateway.get("/")
    workers = gateway.workers
    gateway.signal(number)
    assert gateway.wait_exit(3) == 0
    assert not any(map(proc.alive, workers))
    assert not gateway.pid_file.exists()


def test_before_the_workers_are_ready(launch) -> None:
    gateway: Gateway = launch(wait=False, routes=[respond("/")])
    time.sleep(0.003)
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit(5) in (0, -signal.SIGTERM)


def test_requests_in_flight_are_finished(launch, backend: Backend) -> None:
    go = threading.Event()

    def answer(connection, asked) -> None:
        go.wait(5)
        connection.send(head(200, "Content-Length: 4") + b"done")

    backend.answer = answer
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests()
        gateway.signal(signal.SIGTERM)
        with pytest.raises(OSError):
            until(lambda: not Client(gateway.port, timeout=0.5), 2)
        go.set()
        response = client.read()
        assert response.text == "done" and response.closes and client.at_end()
    assert gateway.wait_exit(3) == 0


def test_an_idle_connection_may_send_what_was_under_way(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    with Client(gateway.port) as client:
        client.request()
        gateway.signal(signal.SIGTERM)
        time.sleep(0.1)
        response = client.request()
        assert response.status == 200 and response.closes and client.at_end()
    assert gateway.wait_exit(2) == 0


def test_a_silent_connection_is_let_go(launch) -> None:
    gateway: Gateway = launch(shutdown_drain_timeout_sec=1, routes=[respond("/")])
    with Client(gateway.port) as client:
        client.request()
        gateway.signal(signal.SIGTERM)
        assert client.at_end(3)
    assert gateway.wait_exit(2) == 0


def test_a_request_being_sent_is_finished(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
        backend.wait_requests()
        gateway.signal(signal.SIGTERM)
        time.sleep(0.2)
        client.send("world")
        response = client.read("POST")
        assert response.status == 200 and response.closes
    assert backend.last.body == b"helloworld"
    assert gateway.wait_exit(3) == 0


def test_the_deadline_holds(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway: Gateway = launch(access_log=True, shutdown_drain_timeout_sec=1, upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests()
        begun = time.monotonic()
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_exit(4) == 0
        assert 0.8 < time.monotonic() - begun < 3
        rest = client.reader.to_end()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 503")
    assert gateway.access_entries()[0]["error.type"] == "drain_deadline"


def test_deadline_of_zero(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway: Gateway = launch(shutdown_drain_timeout_sec=0, upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests()
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_exit(2) == 0


def test_second_signal_stops_at_once(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway: Gateway = launch(shutdown_drain_timeout_sec=60, upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests()
        workers = gateway.workers
        gateway.signal(signal.SIGTERM)
        time.sleep(0.3)
        assert gateway.process is not None and gateway.process.poll() is None
        gateway.signal(signal.SIGTERM)
        gateway.wait_exit(2)
    until(lambda: not any(map(proc.alive, workers)), 2)


def test_gatewayctl_stop_waits_for_the_end(launch, backend: Backend) -> None:
    def slow(connection, asked) -> None:
        time.sleep(0.7)
        connection.send(head(200, "Content-Length: 0"))

    backend.answer = slow
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests()
        begun = time.monotonic()
        assert gateway.ctl("stop").returncode == 0
        assert time.monotonic() - begun > 0.4
        assert gateway.wait_exit(1) == 0
        assert client.read().status == 200


def test_stop_of_what_does_not_run(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    assert gateway.ctl("stop").returncode == 0
    gateway.wait_exit()
    again = gateway.ctl("stop")
    assert again.returncode == 1 and "not running" in again.stdout + again.stderr


def test_sigpipe_is_ignored(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    gateway.signal(signal.SIGPIPE)
    time.sleep(0.1)
    assert gateway.get("/").status == 200
