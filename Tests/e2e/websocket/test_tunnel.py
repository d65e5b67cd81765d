"""What client and backend see of each other through the proxy."""

from __future__ import annotations

import json
import os
import socket as sockets
import threading
import time

import pytest
from websockets.sync.client import connect

from support.backend import Backend, raw, reply
from support.client import request
from support.configuration import upstream
from support.gateway import Gateway
from support.wait import until
from support.websocket import BINARY, HANDSHAKE, KEY, SWITCH, TEXT, RawTunnel, WebSocket, WebSocketBackend, close, frame


@pytest.fixture
def echo():
    backend = WebSocketBackend()
    yield backend
    backend.stop()


def through(launch, port: int, **more) -> Gateway:
    return launch(access_log=True, upstreams=[upstream(port, "/ws", **more)])


def stats(gateway: Gateway) -> dict:
    return json.loads(gateway.get("/stats").text)["websockets"]


# With a library on both sides


@pytest.mark.parametrize("compression", ["deflate", None])
def test_everything_passes(launch, echo: WebSocketBackend, compression: str | None) -> None:
    gateway = through(launch, echo.port)
    with connect(f"ws://127.0.0.1:{gateway.port}/ws", compression=compression, max_size=None) as socket:
        assert bool(socket.response.headers.get("Sec-WebSocket-Extensions")) == (compression is not None)
        for message in ["", "hello", "grüße ❤" * 1000, os.urandom(3_000_000), b"\0" * 3_000_000]:
            socket.send(message)
            assert socket.recv() == message
        assert socket.ping(b"through").wait(5)
        assert stats(gateway)["tunnels_active"] == 1
    assert socket.close_code == 1000
    until(lambda: echo.connections[0].close_code == 1000)
    # The line comes at the end of the tunnel, so the request for /stats was first.
    entry = gateway.access_entries(2)[1]
    assert (entry["http.response.status_code"], entry["gateway.upstream"]) == (101, "backend") and "error.type" not in entry
    assert entry["http.response.body.size"] > 3_000_000 and entry["http.request.size"] > 3_000_000
    until(lambda: stats(gateway)["tunnels_active"] == 0)
    assert stats(gateway)["tunnels"] == 1


def test_subprotocols_pass(launch) -> None:
    backend = WebSocketBackend(subprotocols=["soap", "chat"])
    gateway = through(launch, backend.port)
    with connect(f"ws://127.0.0.1:{gateway.port}/ws", subprotocols=["chat", "wamp"]) as socket:
        assert socket.subprotocol == "chat"
    backend.stop()


def test_the_backend_closes(launch) -> None:
    backend = WebSocketBackend(lambda connection: connection.close(4321, "enough"))
    gateway = through(launch, backend.port)
    with WebSocket(gateway.port) as socket:
        assert socket.frame()[:2] == (8, b"\x10\xe1enough")
        socket.send(close(4321))
        assert socket.client.at_end()
    assert "error.type" not in gateway.access_entries()[0]
    backend.stop()


# What the backend is asked


def test_the_request(launch, backend: Backend) -> None:
    backend.answer = reply(403, body=b"no")
    gateway = through(launch, backend.port)
    with gateway.connect() as client:
        response = client.request("GET", "/ws/room?x=1", *HANDSHAKE, "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate",
                                  "Origin: http://test", "Keep-Alive: 5")
        assert response.status == 403 and response.body == b"no" and not response.closes
        # The connection lives on.
        assert client.request("GET", "/ws").status == 403
    asked = backend.requests[0]
    assert (asked.method, asked.target, asked.version) == ("GET", "/ws/room?x=1", "HTTP/1.1")
    assert asked.header("upgrade") == "websocket" and asked.header("connection") == "Upgrade"
    assert asked.header("sec-websocket-key") == KEY and asked.header("sec-websocket-version") == "13"
    assert asked.header("sec-websocket-protocol") == "chat" and asked.header("sec-websocket-extensions") == "permessage-deflate"
    assert asked.header("origin") == "http://test" and asked.header("keep-alive") is None
    assert asked.header("x-forwarded-for") == "127.0.0.1" and asked.header("via") == "1.1 gateway"
    assert backend.requests[1].header("upgrade") is None


def test_other_upgrades_are_not_passed_on(launch, backend: Backend) -> None:
    gateway = through(launch, backend.port)
    with gateway.connect() as client:
        assert client.request("GET", "/ws", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk").status == 200
    asked = backend.requests[0]
    assert asked.header("upgrade") is None and asked.header("connection") is None and asked.header("http2-settings") is None


def test_switched_off(launch, backend: Backend) -> None:
    gateway = through(launch, backend.port, websocket=False)
    with gateway.connect() as client:
        assert client.request("GET", "/ws", *HANDSHAKE).status == 200
    assert backend.requests[0].header("upgrade") is None


# What the backend may answer

ANSWERS = {
    "no accept": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "wrong accept": SWITCH.replace("s3pP", "S3pP") + "\r\n",
    "other protocol": SWITCH.replace("Upgrade: websocket", "Upgrade: h2c") + "\r\n",
    "no connection option": SWITCH.replace("Connection: Upgrade\r\n", "") + "\r\n",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_101_that_is_not_agreed(launch, backend: Backend, name: str) -> None:
    backend.answer = raw(ANSWERS[name].encode())
    gateway = through(launch, backend.port)
    with gateway.connect() as client:
        assert client.request("GET", "/ws", *HANDSHAKE).status == 502
    assert gateway.access_entries()[0]["error.type"] == "http_upgrade_failed"


def test_a_101_that_was_not_asked_for(launch, backend: Backend) -> None:
    backend.answer = raw((SWITCH + "\r\n").encode())
    gateway = through(launch, backend.port)
    assert gateway.get("/ws").status == 502


@pytest.mark.parametrize("status", [200, 302, 401, 404, 426, 503])
def test_refused_by_the_backend(launch, backend: Backend, status: int) -> None:
    backend.answer = reply(status, body=b"sorry")
    gateway = through(launch, backend.port)
    with gateway.connect() as client:
        response = client.request("GET", "/ws", *HANDSHAKE)
        assert response.status == status and response.body == b"sorry"
    assert gateway.access_entries()[0]["http.response.status_code"] == status


def test_no_backend(launch) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gateway = through(launch, port)
    with gateway.connect() as client:
        assert client.request("GET", "/ws", *HANDSHAKE).status == 502


# Byte by byte


def test_bytes_behind_either_head(launch) -> None:
    with RawTunnel(launch, behind=b"\x81\x05hello", early=frame(TEXT, "early")) as raw_tunnel:
        assert raw_tunnel.client.reader.exactly(7) == b"\x81\x05hello"
        rest = raw_tunnel.head.split(b"\r\n\r\n", 1)[1]
        assert rest + raw_tunnel.read(11 - len(rest)) == frame(TEXT, "early")
        assert raw_tunnel.response.header("x-extra") == "kept" and raw_tunnel.response.header("via") == "1.1 gateway"


def test_bytes_pass_as_they_are(launch) -> None:
    """Even those that are no frames: the tunnel judges nothing."""
    with RawTunnel(launch) as raw_tunnel:
        down, up = os.urandom(1_000_000), os.urandom(1_000_000)
        writer = threading.Thread(target=raw_tunnel.backend.sendall, args=(down,))
        writer.start()
        assert raw_tunnel.client.reader.exactly(len(down)) == down
        writer.join()
        writer = threading.Thread(target=raw_tunnel.client.send, args=(up,))
        writer.start()
        assert raw_tunnel.read(len(up)) == up
        writer.join()


def test_half_close_of_the_client(launch) -> None:
    with RawTunnel(launch) as raw_tunnel:
        raw_tunnel.client.send(frame(TEXT, "last"))
        raw_tunnel.client.half_close()
        assert raw_tunnel.read(100) == frame(TEXT, "last")
        raw_tunnel.backend.sendall(b"\x81\x03yes")
        assert raw_tunnel.client.reader.exactly(5) == b"\x81\x03yes"
        raw_tunnel.backend.close()
        assert raw_tunnel.client.at_end()
        assert "error.type" not in raw_tunnel.gateway.access_entries()[0]


def test_half_close_of_the_backend(launch) -> None:
    with RawTunnel(launch) as raw_tunnel:
        raw_tunnel.backend.sendall(b"\x81\x04last")
        raw_tunnel.backend.shutdown(sockets.SHUT_WR)
        assert raw_tunnel.client.reader.to_end() == b"\x81\x04last"
        raw_tunnel.client.send(frame(TEXT, "yes"))
        assert raw_tunnel.read(9) == frame(TEXT, "yes")
        raw_tunnel.client.close()
        assert raw_tunnel.read(1) == b""
        assert "error.type" not in raw_tunnel.gateway.access_entries()[0]


def test_the_client_aborts(launch) -> None:
    with RawTunnel(launch) as raw_tunnel:
        raw_tunnel.client.reset()
        try:
            assert raw_tunnel.read(1) == b""
        except ConnectionResetError:
            pass
        assert raw_tunnel.gateway.access_entries()[0]["error.type"] == "client_aborted"


def test_the_backend_aborts(launch) -> None:
    with RawTunnel(launch) as raw_tunnel:
        raw_tunnel.backend.sendall(b"\x81\x05whole")
        assert raw_tunnel.client.reader.exactly(7) == b"\x81\x05whole"
        raw_tunnel.backend.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw_tunnel.backend.close()
        assert raw_tunnel.client.at_end()
        assert raw_tunnel.gateway.access_entries()[0]["error.type"] == "http_response_incomplete"


def test_a_client_that_goes_while_the_backend_thinks(launch) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        gateway = through(launch, listener.getsockname()[1])
        client = gateway.connect()
        client.send(request("GET", "/ws", *HANDSHAKE))
        backend, _ = listener.accept()
        backend.settimeout(5)
        backend.recv(65536)
        client.reset()
        assert backend.recv(65536) == b""
        backend.close()
        assert gateway.access_entries()[0]["error.type"] == "client_aborted"


def test_large_blocks_both_ways_at_once(launch, echo: WebSocketBackend) -> None:
    gateway = through(launch, echo.port, relay_buffer_limit_bytes=65536, auto_stream_content_length_threshold_bytes=0)
    block = os.urandom(500_000)
    with WebSocket(gateway.port) as socket:
        writer = threading.Thread(target=lambda: [socket.send(frame(BINARY, block)) for _ in range(20)])
        writer.start()
        for _ in range(20):
            assert socket.message() == (BINARY, block)
        writer.join()


def test_a_tunnel_takes_a_place_in_the_pool(launch, echo: WebSocketBackend) -> None:
    gateway = through(launch, echo.port, pool={"max_connections": 1, "connect_timeout_ms": 300})
    with WebSocket(gateway.port):
        with gateway.connect() as client:
            assert client.request("GET", "/ws", *HANDSHAKE).status == 503
    time.sleep(0.1)
    with WebSocket(gateway.port) as socket:
        socket.send(frame(TEXT, "my turn"))
        assert socket.message() == (TEXT, b"my turn")
