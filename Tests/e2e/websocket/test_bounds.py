"""What WebSockets cost: memory with slow readers, large messages and many idle connections; nothing after they are gone."""

from __future__ import annotations

import asyncio
import os
import time
from socket import create_server

from websockets.asyncio.client import connect

from support import proc
from support.client import Client, request
from support.configuration import upstream
from support.gateway import Gateway
from support.wait import until
from support.websocket import BINARY, HANDSHAKE, TEXT, WebSocket, WebSocketBackend, accept_of, deflated, frame

MIB = 1 << 20


def settled(worker: int) -> int:
    """The worker's memory once it has stood still for a moment."""
    time.sleep(0.3)
    return proc.memory(worker)


def test_a_large_message_is_not_held(launch) -> None:
    """It is sent back while it comes: 64 MiB pass through a few buffers."""
    gateway: Gateway = launch(routes=[{"path": "/ws", "echo": {}}], max_ws_message_size=0)
    before = settled(gateway.worker)
    proc.reset_peak(gateway.worker)
    data = os.urandom(MIB)
    with WebSocket(gateway.port, timeout=30) as socket:
        received = 0
        for part in range(64):
            socket.send(frame(BINARY if part == 0 else 0, data, final=part == 63))
            while received < part * MIB:
                received += len(socket.frame()[1])
        while received < 64 * MIB:
            received += len(socket.frame()[1])
    assert proc.memory(gateway.worker, "VmHWM") - before < 6 * MIB


def test_a_bomb_is_not_held(launch) -> None:
    """50 MB of zeros in 50 KB, allowed by the limit, to a client that reads slowly."""
    gateway: Gateway = launch(routes=[{"path": "/ws", "echo": {}}], max_ws_message_size=0)
    before = settled(gateway.worker)
    proc.reset_peak(gateway.worker)
    with WebSocket(gateway.port, "/ws", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", receive_buffer=4096) as socket:
        socket.send(frame(BINARY, deflated(b"\0" * 50_000_000, 12), reserved=4))
        opcode, data = socket.message()
        assert len(data) == 50_000_000 and not any(data[::4096])
    assert proc.memory(gateway.worker, "VmHWM") - before < 6 * MIB


def fill(socket: WebSocket, data: bytes) -> int:
    """Sends until nothing is taken any more; how much was."""
    socket.client.sock.settimeout(0.5)
    sent = 0
    try:
        while True:
            sent += socket.client.sock.send(data[sent % len(data):])
    except TimeoutError:
        return sent


def test_slow_readers_of_an_endpoint(launch) -> None:
    gateway: Gateway = launch(routes=[{"path": "/ws", "echo": {}}])
    before = settled(gateway.worker)
    proc.reset_peak(gateway.worker)
    payload = os.urandom(60_000)
    message = frame(BINARY, payload)
    sockets = [WebSocket(gateway.port, receive_buffer=4096) for _ in range(8)]
    sent = [fill(socket, message) for socket in sockets]
    assert proc.memory(gateway.worker, "VmHWM") - before < 8 * MIB
    for socket, count in zip(sockets, sent):
        socket.client.sock.settimeout(10)
        for _ in range(count // len(message)):
            assert socket.message() == (BINARY, payload)
        socket.client.close()


def test_slow_reader_behind_the_proxy(launch) -> None:
    stop = []

    def flood(connection) -> None:
        block = os.urandom(MIB)
        while not stop:
            connection.send(block)

    backend = WebSocketBackend(flood)
    gateway: Gateway = launch(upstreams=[upstream(backend.port, "/ws", relay_buffer_limit_bytes=262144)])
    before = settled(gateway.worker)
    proc.reset_peak(gateway.worker)
    with WebSocket(gateway.port, receive_buffer=4096) as socket:
        time.sleep(1)
        assert proc.memory(gateway.worker, "VmHWM") - before < 4 * MIB
        # It is not cut off: what comes is whole.
        for _ in range(3):
            assert len(socket.message()[1]) == MIB
        stop.append(True)
    backend.stop()


def test_backend_that_does_not_read(launch) -> None:
    """The client of a tunnel is read no faster than its backend reads."""
    listener = create_server(("127.0.0.1", 0))
    gateway: Gateway = launch(upstreams=[upstream(listener.getsockname()[1], "/ws")])
    before = settled(gateway.worker)
    proc.reset_peak(gateway.worker)
    with Client(gateway.port) as client:
        client.send(request("GET", "/ws", *HANDSHAKE))
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_of()}\r\n\r\n".encode())
        assert client.read_head().status == 101
        client.sock.settimeout(0.5)
        block = frame(BINARY, os.urandom(MIB))
        sent = 0
        try:
            while sent < 200 * MIB:
                sent += client.sock.send(block[sent % len(block):])
        except TimeoutError:
            pass
        assert sent < 100 * MIB and proc.memory(gateway.worker, "VmHWM") - before < 4 * MIB
        # And all of it arrives.
        connection.settimeout(10)
        got = 0
        while got < sent:
            data = connection.recv(1 << 20)
            assert data
            got += len(data)
        assert got == sent
    connection.close()
    listener.close()


async def many(port: int, path: str, count: int, worker: int, **options) -> int:
    """Opens `count` connections, has each echo something twice, and gives the worker's memory while they are idle."""
    sockets = []
    for start in range(0, count, 100):
        sockets += await asyncio.gather(*(connect(f"ws://127.0.0.1:{port}{path}", max_size=None, ping_interval=None, **options) for _ in range(start, min(count, start + 100))))

    async def talk(number: int, socket) -> None:
        for text in (f"hello from {number} " * 20, "once more"):
            await socket.send(text)
            assert await socket.recv() == text

    await asyncio.gather(*(talk(number, socket) for number, socket in enumerate(sockets)))
    await asyncio.sleep(0.5)
    size = proc.memory(worker)
    await asyncio.gather(*(talk(number, socket) for number, socket in enumerate(sockets)))
    await asyncio.gather(*(socket.close() for socket in sockets))
    return size


def test_a_thousand_connections(launch) -> None:
    gateway: Gateway = launch(access_log=True, routes=[{"path": "/ws", "echo": {"compression": False}}])
    before = settled(gateway.worker)
    size = asyncio.run(many(gateway.port, "/ws", 1000, gateway.worker, compression=None))
    assert (size - before) / 1000 < 4096, f"{(size - before) / 1000} bytes for each"
    assert len(gateway.access_entries(1000)) == 1000


def test_a_thousand_connections_with_compression(launch) -> None:
    gateway: Gateway = launch(routes=[{"path": "/ws", "echo": {"context_takeover": False}}])
    before = settled(gateway.worker)
    size = asyncio.run(many(gateway.port, "/ws", 1000, gateway.worker))
    assert (size - before) / 1000 < 64 << 10, f"{(size - before) / 1000} bytes for each"


def test_a_thousand_tunnels(launch) -> None:
    backend = WebSocketBackend()
    gateway: Gateway = launch(upstreams=[upstream(backend.port, "/ws", pool={"max_connections": 2000})])
    before = settled(gateway.worker)
    size = asyncio.run(many(gateway.port, "/ws", 1000, gateway.worker, compression=None))
    assert (size - before) / 1000 < 4096, f"{(size - before) / 1000} bytes for each"
    backend.stop()


def test_nothing_is_left_behind(launch) -> None:
    backend = WebSocketBackend()
    gateway: Gateway = launch(routes=[{"path": "/ws", "echo": {}}], upstreams=[upstream(backend.port, "/api")])

    def use() -> None:
        for path in ("/ws", "/api"):
            for how in ("close", "reset"):
                for _ in range(50):
                    socket = WebSocket(gateway.port, path)
                    socket.send(frame(TEXT, "x" * 100))
                    assert socket.message()[0] == TEXT
                    getattr(socket.client, how)()

    use()
    until(lambda: '"websockets":{"active":0' in gateway.get("/stats").text and '"tunnels_active":0' in gateway.get("/stats").text)
    descriptors, size = proc.descriptors(gateway.worker), settled(gateway.worker)
    for _ in range(3):
        use()
    until(lambda: '"tunnels_active":0' in gateway.get("/stats").text)
    until(lambda: proc.descriptors(gateway.worker) <= descriptors)
    assert settled(gateway.worker) - size < MIB
    backend.stop()
