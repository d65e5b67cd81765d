"""Reload, stop and death of workers with WebSockets open."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from support.client import request
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.wait import until
from support.websocket import HANDSHAKE, TEXT, RawTunnel, WebSocket, WebSocketBackend, close, frame


@pytest.fixture
def backend():
    backend = WebSocketBackend()
    yield backend
    backend.stop()


def both(launch, backend: WebSocketBackend, **keys) -> Gateway:
    return launch(access_log=True, routes=[{"path": "/ws", "echo": {}}, respond("/")], upstreams=[upstream(backend.port, "/api")], **keys)


def say(socket: WebSocket, text: str) -> None:
    socket.send(frame(TEXT, text))
    assert socket.message() == (TEXT, text.encode())


def test_the_old_worker_keeps_them(launch, backend: WebSocketBackend) -> None:
    gateway = both(launch, backend, shutdown_drain_timeout_sec=30)
    with WebSocket(gateway.port) as socket, WebSocket(gateway.port, "/api") as tunnel:
        for _ in range(2):
            gateway.reload()
            for connection in (socket, tunnel):
                say(connection, "through the reload")
        assert len(gateway.workers) == 2
        socket.send(close(1000))
        assert socket.closed_with() == 1000
        tunnel.send(close(1000))
        assert tunnel.closed_with() == 1000
    until(lambda: len(gateway.workers) == 1, what="the old worker to go")


@pytest.mark.parametrize("how", ["reload", "stop"])
def test_1001_at_the_deadline(launch, backend: WebSocketBackend, how: str) -> None:
    gateway = both(launch, backend, shutdown_drain_timeout_sec=1)
    sockets = [WebSocket(gateway.port, path) for path in ("/ws", "/api") for _ in range(3)]
    for socket in sockets:
        say(socket, "before")
    begun = time.monotonic()
    if how == "reload":
        gateway.reload()
    else:
        gateway.signal(signal.SIGTERM)
        time.sleep(0.2)
    for socket in sockets:
        say(socket, "meanwhile")
    for socket in sockets:
        opcode, payload, _ = socket.frame()
        assert (opcode, payload) == (8, b"\x03\xe9")
        socket.send(close(1001))
    assert time.monotonic() - begun > 0.9
    for socket in sockets:
        assert socket.client.at_end()
        socket.client.close()
    entries = gateway.access_entries(6)
    assert [entry["error.type"] for entry in entries] == ["drain_deadline"] * 6
    until(lambda: [connection.close_code for connection in backend.connections] == [1001] * 3)
    if how == "stop":
        assert gateway.wait_exit() == 0
    else:
        until(lambda: len(gateway.workers) == 1, what="the old worker to go")


def test_independent_client_at_the_deadline(launch, backend: WebSocketBackend) -> None:
    gateway = both(launch, backend, shutdown_drain_timeout_sec="500ms")
    with connect(f"ws://127.0.0.1:{gateway.port}/ws") as socket, connect(f"ws://127.0.0.1:{gateway.port}/api") as tunnel:
        gateway.reload()
        for connection in (socket, tunnel):
            with pytest.raises(ConnectionClosed):
                connection.recv(timeout=5)
            assert connection.close_code == 1001


def test_within_a_frame_at_the_deadline(launch) -> None:
    """Both sides are half-way through a frame: nothing of ours may stand in it. What comes in time is passed on up to its end."""
    with RawTunnel(launch, shutdown_drain_timeout_sec="500ms") as tunnel:
        down = frame(TEXT, "x" * 1000, masked=False) + frame(TEXT, "not this one", masked=False)
        up = frame(TEXT, "y" * 1000) + frame(TEXT, "nor this")
        tunnel.backend.sendall(down[:500])
        tunnel.client.send(up[:500])
        assert tunnel.client.reader.exactly(500) == down[:500] and tunnel.read(500) == up[:500]
        tunnel.gateway.reload()
        assert tunnel.client.silent(0.7)
        tunnel.backend.sendall(down[500:])
        tunnel.client.send(up[500:])
        assert tunnel.client.reader.to_end() == down[500:1004] + b"\x88\x02\x03\xe9"
        rest = tunnel.read(5000)
        assert rest[:508] == up[500:1008] and rest[508:510] == b"\x88\x82" and len(rest) == 516


def test_deadline_without_time(launch, backend: WebSocketBackend) -> None:
    gateway = both(launch, backend, shutdown_drain_timeout_sec=0)
    with WebSocket(gateway.port) as socket, WebSocket(gateway.port, "/api") as tunnel:
        gateway.reload()
        assert socket.closed_with() == 1001 and tunnel.closed_with() == 1001


def test_none_is_begun_while_stopping(launch, backend: WebSocketBackend) -> None:
    gateway = both(launch, backend, shutdown_drain_timeout_sec=10)
    clients = [gateway.connect() for _ in range(2)]
    for client in clients:
        assert client.request("GET", "/").status == 200
    gateway.signal(signal.SIGTERM)
    time.sleep(0.2)
    for client, path in zip(clients, ("/ws", "/api")):
        client.send(request("GET", path, *HANDSHAKE))
        response = client.read()
        assert response.status == 503 and response.closes and client.at_end()
        client.close()
    assert {entry.get("error.type") for entry in gateway.access_entries(4)} == {None, "websocket_draining"}


def test_a_worker_that_is_killed(launch, backend: WebSocketBackend) -> None:
    """Its WebSockets are gone; those of the other workers, and new ones, are not; the gauges are true again."""
    gateway = both(launch, backend, workers=2)
    sockets = [WebSocket(gateway.port, path) for path in ("/ws", "/api") for _ in range(20)]
    for socket in sockets:
        say(socket, "before")
    os.kill(gateway.workers[0], signal.SIGKILL)
    lost = 0
    for socket in sockets:
        try:
            say(socket, "after")
        except Exception:  # noqa: BLE001 - a lost connection shows itself in several ways
            lost += 1
    assert 0 < lost < len(sockets)
    until(lambda: len(gateway.workers) == 2, what="a new worker")
    for path in ("/ws", "/api"):
        with WebSocket(gateway.port, path) as socket:
            say(socket, "anew")
            socket.send(close(1000))
            assert socket.closed_with() == 1000
    alive = len(sockets) - lost

    def counts() -> bool:
        text = gateway.get("/stats").text
        part = text[text.index('"websockets"'):]
        active = int(part.split('"active":')[1].split(",")[0]) + int(part.split('"tunnels_active":')[1].split(",")[0])
        return active == alive

    until(counts, what="the gauges")
    for socket in sockets:
        socket.client.close()


def test_reloads_under_load(launch, backend: WebSocketBackend) -> None:
    """Clients that talk all the time lose nothing while generations come and go within the deadline."""
    gateway = both(launch, backend, workers=2, shutdown_drain_timeout_sec=60, max_draining_generations=16)
    failures: list[str] = []
    stop = threading.Event()
    counts: list[int] = []

    def talk(path: str) -> None:
        count = 0
        try:
            while not stop.is_set():
                with WebSocket(gateway.port, path) as socket:
                    for _ in range(20):
                        say(socket, f"message {count} " * (count % 50))
                        count += 1
                    socket.send(close(1000))
                    code = socket.closed_with()
                    assert code == 1000, code
        except Exception as error:  # noqa: BLE001
            failures.append(f"{path} after {count}: {error!r}")
        counts.append(count)

    threads = [threading.Thread(target=talk, args=(path,)) for path in ("/ws", "/api") for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(6):
        gateway.reload()
        time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not failures, failures
    assert min(counts) > 20
