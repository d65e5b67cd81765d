"""What the service manager is told: ready, reloading, stopping, status, failure."""

from __future__ import annotations

import socket
import threading
import time

from support.backend import Backend, hang
from support.client import Client, request
from support.configuration import respond, upstream
from support.wait import until


def test_ready_when_all_workers_serve(service, manager) -> None:
    gateway = service(workers=3, routes=[respond("/")])
    first = next(message for message in manager.messages if "READY" in message)
    assert first["STATUS"] == "3 workers, generation 1"
    assert not any("READY" in message for message in manager.messages[: manager.messages.index(first)])
    for _ in range(12):
        assert gateway.get("/").status == 200
    assert len(gateway.workers) == 3


def test_reload_is_announced_in_one_datagram(service, manager) -> None:
    gateway = service(routes=[respond("/")])
    begun, before = len(manager.messages), time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    gateway.reload(routes=[respond("/", body="new")])
    after, reloading = manager.wait("RELOADING", "1", begun)
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    _, ready = manager.wait("READY", "1", after)
    assert "generation 2" in ready["STATUS"]


def test_a_failed_reload_is_ready_again_and_says_why(service, manager) -> None:
    gateway = service(routes=[respond("/")])
    begun = len(manager.messages)
    gateway.write(workers="many")
    failed = gateway.ctl("reload")
    assert failed.returncode == 1 and "workers" in failed.stderr
    after, _ = manager.wait("RELOADING", "1", begun)
    _, ready = manager.wait("READY", "1", after)
    assert "generation 1" in ready["STATUS"] and "the last reload failed" in ready["STATUS"] and "workers" in ready["STATUS"]
    assert gateway.get("/").status == 200


def test_stopping_asks_for_time_while_it_drains(service, manager, backend: Backend) -> None:
    gateway = service(upstreams=[upstream(backend.port)])
    backend.answer = hang
    client = Client(gateway.port)
    client.send(request("GET", "/api"))
    backend.wait_requests(1)
    begun = len(manager.messages)
    stop = threading.Thread(target=lambda: gateway.ctl("stop"))
    stop.start()
    after, _ = manager.wait("STOPPING", "1", begun)
    for _ in range(3):
        after, more = manager.wait("EXTEND_TIMEOUT_USEC", after=after)
        assert int(more["EXTEND_TIMEOUT_USEC"]) >= 5_000_000
    status = [message["STATUS"] for message in manager.messages[begun:] if "STATUS" in message]
    assert any("draining 1 connection of generation 1" in text for text in status), status
    backend.connections[0].send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert client.read().status == 200
    stop.join(10)
    assert gateway.wait_exit() == 0


def test_what_drains_is_in_the_status(service, manager, backend: Backend) -> None:
    gateway = service(upstreams=[upstream(backend.port)])
    backend.answer = hang
    client = Client(gateway.port)
    client.send(request("GET", "/api"))
    backend.wait_requests(1)
    begun = len(manager.messages)
    gateway.reload()
    until(lambda: any("generation 2, draining 1 connection of generation 1" in message.get("STATUS", "") for message in manager.messages[begun:]),
          what="the draining generation in the status")
    backend.connections[0].send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert client.read().status == 200
    until(lambda: manager.messages[-1].get("STATUS") == "1 worker, generation 2" or None, what="the status without it")


def test_a_start_that_fails_says_why(service, manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = service(wait=False, bind_port=taken.getsockname()[1], routes=[respond("/")])
        _, message = manager.wait("ERRNO")
        assert message["ERRNO"] == "98" and "Address already in use" in message["STATUS"]
        assert gateway.wait_exit() == 1
    assert not any("READY" in message for message in manager.messages)


def test_a_wrong_configuration_says_where(service, manager) -> None:
    gateway = service(wait=False, workers="many")
    _, message = manager.wait("ERRNO")
    assert message["ERRNO"] == "22" and "gateway.json:" in message["STATUS"] and "workers" in message["STATUS"]
    assert gateway.wait_exit() == 1
