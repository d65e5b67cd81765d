"""Idle limits and pings, of an endpoint and of a tunnel."""

from __future__ import annotations

import threading
import time

import pytest

from support.configuration import upstream
from support.gateway import Gateway
from support.websocket import PING, PONG, TEXT, WebSocket, WebSocketBackend, frame


def endpoint(launch, **echo) -> Gateway:
    return launch(access_log=True, routes=[{"path": "/ws", "echo": echo}])


@pytest.fixture
def backend():
    backend = WebSocketBackend()
    yield backend
    backend.stop()


def tunnelled(launch, backend: WebSocketBackend, **proxy) -> Gateway:
    return launch(access_log=True, upstreams=[upstream(backend.port, "/ws", **proxy)])


def test_idle_endpoint(launch) -> None:
    gateway = endpoint(launch, idle_timeout_sec="500ms")
    with WebSocket(gateway.port) as socket:
        for _ in range(4):
            time.sleep(0.25)
            socket.send(frame(TEXT, "still here"))
            assert socket.message() == (TEXT, b"still here")
        assert socket.closed_with() == 1001
    assert gateway.access_entries()[0]["error.type"] == "websocket_idle_timeout"


def test_general_timeouts_do_not_apply(launch, backend: WebSocketBackend) -> None:
    gateway: Gateway = launch(routes=[{"path": "/ws", "echo": {}}], upstreams=[upstream(backend.port, "/api")], idle_timeout_sec="300ms",
                              request_timeout_sec="300ms")
    with WebSocket(gateway.port) as socket, WebSocket(gateway.port, "/api") as other:
        time.sleep(1)
        for connection in (socket, other):
            connection.send(frame(TEXT, "awake"))
            assert connection.message() == (TEXT, b"awake")


def test_ping_of_an_endpoint(launch) -> None:
    gateway = endpoint(launch, ping_interval_sec="200ms", idle_timeout_sec="700ms")
    with WebSocket(gateway.port) as socket:
        for _ in range(5):
            assert socket.frame()[0] == PING
            socket.send(frame(PONG))
        # Unanswered, pings do not keep it alive.
        opcodes = []
        while (received := socket.frame())[0] == PING:
            opcodes.append(received[0])
        assert received[0] == 8 and 1 <= len(opcodes) <= 5


def test_idle_tunnel(launch, backend: WebSocketBackend) -> None:
    gateway = tunnelled(launch, backend, websocket_idle_timeout_sec="500ms")
    with WebSocket(gateway.port) as socket:
        for _ in range(4):
            time.sleep(0.25)
            socket.send(frame(TEXT, "still here"))
            assert socket.message() == (TEXT, b"still here")
        assert socket.closed_with() == 1001
        socket.send(frame(8, b"\x03\xe9"))
    assert gateway.access_entries()[0]["error.type"] == "websocket_idle_timeout"
    assert backend.connections[0].close_code == 1001


def test_one_direction_is_life(launch) -> None:
    def trickle(connection) -> None:
        for number in range(6):
            time.sleep(0.25)
            connection.send(str(number))

    backend = WebSocketBackend(trickle)
    gateway = tunnelled(launch, backend, websocket_idle_timeout_sec="600ms")
    with WebSocket(gateway.port) as socket:
        for number in range(6):
            assert socket.message() == (TEXT, str(number).encode())
    backend.stop()


def test_ping_through_a_tunnel(launch, backend: WebSocketBackend) -> None:
    """Both sides are pinged; the backend's library answers, and its pong reaches the client unasked."""
    gateway = tunnelled(launch, backend, websocket_ping_interval_sec="200ms", websocket_idle_timeout_sec=1)
    with WebSocket(gateway.port) as socket:
        opcodes = []
        for _ in range(12):
            opcodes.append(socket.frame()[0])
            if opcodes[-1] == PING:
                socket.send(frame(PONG))
        assert {PING, PONG} == set(opcodes)
        socket.send(frame(TEXT, "alive"))
        while (received := socket.message())[0] in (PING, PONG):
            pass
        assert received == (TEXT, b"alive")


def test_a_client_that_does_not_answer_pings(launch) -> None:
    """Though its backend talks on and on."""
    stop = threading.Event()

    def talk(connection) -> None:
        while not stop.wait(0.1):
            connection.send("...")

    backend = WebSocketBackend(talk)
    gateway = tunnelled(launch, backend, websocket_ping_interval_sec="200ms", websocket_idle_timeout_sec="800ms")
    with WebSocket(gateway.port) as socket:
        assert socket.closed_with() == 1001
    stop.set()
    assert gateway.access_entries()[0]["error.type"] == "websocket_idle_timeout"
    backend.stop()


def test_no_ping_within_a_frame(launch, backend: WebSocketBackend) -> None:
    """The client has sent half a frame: what goes to the backend may not be broken by a ping."""
    gateway = tunnelled(launch, backend, websocket_ping_interval_sec="100ms")
    with WebSocket(gateway.port) as socket:
        whole = frame(TEXT, "x" * 1000)
        socket.send(whole[:500])
        time.sleep(0.5)
        socket.send(whole[500:])
        while (received := socket.message())[0] in (PING, PONG):
            pass
        assert received == (TEXT, b"x" * 1000)
