"""A worker without free descriptors refuses politely, wastes no time and recovers."""

from __future__ import annotations

import os
import resource
import time

from support import proc
from support.backend import Backend
from support.client import Client
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.wait import until


def limit(gateway: Gateway, spare: int) -> None:
    """Leaves the worker `spare` descriptors beyond those it has."""
    worker = gateway.worker
    time.sleep(0.2)  # for connections that are just being closed
    used = {int(name) for name in os.listdir(f"/proc/{worker}/fd")}
    bound = [number for number in range(len(used) + spare + 1) if number not in used][spare]
    _, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (bound, hard))


def test_no_descriptor_for_a_client(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    gateway.get("/")
    limit(gateway, 10)
    clients = [Client(gateway.port) for _ in range(30)]
    for client in clients:
        try:
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        except OSError:
            pass
    time.sleep(0.3)
    before = proc.cpu_seconds(gateway.worker)
    time.sleep(1)
    assert proc.cpu_seconds(gateway.worker) - before < 0.2, "the worker is busy at its limit"
    answered = 0
    for client in clients:
        client.sock.settimeout(0.2)
        try:
            answered += client.read().status == 200
        except Exception:  # refused, closed or still waiting: all are fair
            pass
    assert answered >= 5
    for client in clients:
        client.close()
    until(lambda: gateway.get("/").status == 200, what="recovery")


def test_no_descriptor_for_a_backend(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.request("GET", "/missing")
        limit(gateway, 0)
        assert client.request("GET", "/api").status in (502, 503)
        _, hard = resource.prlimit(gateway.worker, resource.RLIMIT_NOFILE)
        resource.prlimit(gateway.worker, resource.RLIMIT_NOFILE, (hard, hard))
        assert client.request("GET", "/api").status == 200
