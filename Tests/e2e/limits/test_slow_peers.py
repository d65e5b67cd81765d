"""Memory per exchange is bounded whatever the speeds of the two sides."""

from __future__ import annotations

import threading
import time

from support import proc
from support.backend import Backend, head
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway

MIB = 1 << 20


def test_slow_reader(launch, backend: Backend) -> None:
    """A backend that sends as fast as it can, clients that read nothing for a while."""
    sent = [0] * 10
    size = 60 * MIB

    def flood(connection, asked) -> None:
        connection.send(head(200, f"Content-Length: {size}"))
        for _ in range(size // MIB):
            connection.send(b"x" * MIB)
            sent[int(asked.target[-1])] += MIB

    backend.answer = flood
    gateway: Gateway = launch(upstreams=[upstream(backend.port, relay_buffer_limit_bytes=MIB)])
    gateway.get("/missing")
    before = proc.memory(gateway.worker)
    proc.reset_peak(gateway.worker)
    clients = [Client(gateway.port, receive_buffer=65_536) for _ in range(10)]
    for number, client in enumerate(clients):
        client.send(request("GET", f"/api/{number}"))
    time.sleep(1.5)
    assert max(sent) < size, "the backend was not held back"
    assert proc.memory(gateway.worker, "VmHWM") - before < 10 * 2 * MIB
    clients[0].sock.settimeout(20)
    assert len(clients[0].read().body) == size
    for client in clients[1:]:
        client.reset()


def test_slow_writer(launch) -> None:
    """Clients that send as fast as they can, a backend that reads nothing for a while."""
    backend = Backend(receive_buffer=65_536)
    go = threading.Event()

    def answer(connection, asked) -> None:
        go.wait(10)
        connection.read_body(asked)
        connection.send(head(200, "Content-Length: 0"))

    backend.answer = answer
    gateway: Gateway = launch(max_body_size=0, http1={"streaming": {"high_water_bytes": 262_144, "low_water_bytes": 65_536}},
                              upstreams=[upstream(backend.port)])
    gateway.get("/missing")
    before = proc.memory(gateway.worker)
    proc.reset_peak(gateway.worker)
    sent = [0] * 5
    size = 64 * MIB  # more than the kernel holds on both sides (tcp_rmem and tcp_wmem reach 32 and 4 MiB)

    def upload(number: int) -> None:
        with Client(gateway.port, timeout=30) as client:
            client.send(request("POST", "/api", f"Content-Length: {size}"))
            for _ in range(size // MIB):
                client.send(b"x" * MIB)
                sent[number] += MIB
            statuses.append(client.read("POST").status)

    statuses: list[int] = []
    threads = [threading.Thread(target=upload, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    held = max(sent)
    peak = proc.memory(gateway.worker, "VmHWM")
    go.set()
    for thread in threads:
        thread.join(30)
    backend.stop()
    assert held < size, "the clients were not held back"
    assert peak - before < 10 * MIB
    assert statuses == [200] * 5


def test_pipelining_client_that_reads_nothing(launch) -> None:
    """Requests are not answered into memory for a client that does not read."""
    gateway: Gateway = launch(routes=[respond("/", "x" * 10_000)])
    gateway.get("/")
    before = proc.memory(gateway.worker)
    with Client(gateway.port, receive_buffer=4096) as client:
        client.sock.settimeout(1)
        try:
            while True:
                client.send(request() * 1000)
        except TimeoutError:
            pass
        assert proc.memory(gateway.worker) - before < 4 * MIB
