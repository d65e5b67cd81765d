"""WebSockets over TLS: an endpoint and a tunnel, with a library that knows nothing of this gateway."""

from __future__ import annotations

import os
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from support import proc
from support.client import request
from support.configuration import upstream
from support.gateway import Gateway
from support.ports import free_port
from support.tls import Authority, SecureClient, listener
from support.wait import until
from support.websocket import BINARY, HANDSHAKE, WebSocketBackend, frame


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def backend():
    backend = WebSocketBackend()
    yield backend
    backend.stop()


@pytest.fixture
def gateway(launch, authority: Authority, backend: WebSocketBackend) -> Gateway:
    port = free_port()
    return launch(bind_port=port, listeners=[listener(port, authority.issue("site.test"))], routes=[{"path": "/ws", "echo": {}}], access_log=True,
                  upstreams=[upstream(backend.port, "/api")], shutdown_drain_timeout_sec=1)


def opened(gateway: Gateway, authority: Authority, path: str) -> ClientConnection:
    return connect(f"wss://127.0.0.1:{gateway.port}{path}", ssl=authority.context(), server_hostname="site.test", max_size=None)


@pytest.mark.parametrize("path", ["/ws", "/api"])
def test_messages(gateway: Gateway, authority: Authority, path: str) -> None:
    with opened(gateway, authority, path) as socket:
        for message in ["", "hello", os.urandom(2_000_000), "text " * 100_000]:
            socket.send(message)
            assert socket.recv() == message
        assert socket.ping().wait(5)
    assert socket.close_code == 1000
    assert "error.type" not in gateway.access_entries()[0]


def test_the_backend_knows(gateway: Gateway, authority: Authority, backend: WebSocketBackend) -> None:
    with opened(gateway, authority, "/api"):
        assert backend.connections[0].request.headers["X-Forwarded-Proto"] == "https"


@pytest.mark.parametrize("path", ["/ws", "/api"])
def test_slow_reader(gateway: Gateway, authority: Authority, path: str) -> None:
    """What is sent back is not read; so what is sent is, after a while, not taken."""
    time.sleep(0.2)
    before = proc.memory(gateway.worker)
    with SecureClient(gateway.port, authority.context(), "site.test") as client:
        client.send(request("GET", path, *HANDSHAKE))
        assert client.read_head().status == 101
        message = frame(BINARY, os.urandom(60_000))
        sent, position = 0, 0
        client.sock.settimeout(0.5)
        try:
            while sent < 200 << 20:
                count = client.sock.send(message[position:])
                sent, position = sent + count, (position + count) % len(message)
        except TimeoutError:
            pass
        assert sent < 100 << 20 and proc.memory(gateway.worker) - before < 8 << 20


@pytest.mark.parametrize("path", ["/ws", "/api"])
def test_drain(gateway: Gateway, authority: Authority, path: str) -> None:
    with opened(gateway, authority, path) as socket:
        gateway.reload()
        socket.send("meanwhile")
        assert socket.recv() == "meanwhile"
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)
        assert socket.close_code == 1001
    until(lambda: len(gateway.workers) == 1, what="the old worker to go")
