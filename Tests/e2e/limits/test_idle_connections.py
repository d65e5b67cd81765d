"""10,000 idle connections cost little memory and no time, and others are served beside them."""

from __future__ import annotations

import resource
import socket
import time

import pytest

from support import proc
from support.client import request
from support.configuration import respond
from support.gateway import Gateway

COUNT = 10_000


@pytest.fixture
def descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = COUNT + 2000
    if soft >= need:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, max(hard, need)))
    except (ValueError, OSError):
        pytest.skip(f"{need} descriptors are needed, the hard limit is {hard}")


@pytest.mark.timeout(90)
def test_many(launch, descriptors: None) -> None:
    gateway: Gateway = launch(workers=2, max_connections=COUNT + 100, routes=[respond("/")])
    gateway.get("/")
    before = sum(proc.memory(worker) for worker in gateway.workers)
    asked, kept = request(), []
    for number in range(COUNT):
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((f"127.0.0.{2 + number % 8}", 0))
        sock.settimeout(10)
        sock.connect(("127.0.0.1", gateway.port))
        sock.sendall(asked)
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        kept.append(sock)
    grown = sum(proc.memory(worker) for worker in gateway.workers) - before
    busy = sum(proc.cpu_seconds(worker) for worker in gateway.workers)
    time.sleep(1)
    busy = sum(proc.cpu_seconds(worker) for worker in gateway.workers) - busy
    assert gateway.get("/").status == 200
    for sock in kept[:: COUNT // 50]:
        sock.sendall(asked)
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    for sock in kept:
        sock.close()
    assert grown / COUNT < 1000, f"{grown / COUNT:.0f} bytes per idle connection"
    assert busy < 0.2, "idle connections keep the workers busy"
