"""WebSockets over TLS: an endpoint and a tunnel, with a library that knows nothing of this gateway."""

from __future__ import annotations

import os
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from support import proc
from support.configuration import upstream
from support.gateway import Gateway
from support.ports import free_port
from support.tls import Authority, listener
from support.wait import until
from support.websocket import WebSocketBackend


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
    block = os.urandom(500_000)
    with opened(gateway, authority, path) as socket:
        time.sleep(0.2)
        before = proc.memory(gateway.worker)
        writer = threading.Thread(target=lambda: [socket.send(block) for _ in range(40)])
        writer.start()
        time.sleep(1)
        assert proc.memory(gateway.worker) - before < 8 << 20
        for _ in range(40):
            assert socket.recv() == block
        writer.join()


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
