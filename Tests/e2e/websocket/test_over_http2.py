"""WebSockets on streams of HTTP/2 (RFC 8441): to an endpoint, and through the proxy to an HTTP/1.1 backend."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from support import proc
from support.backend import Backend, raw, reply
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.http2 import END_STREAM, DATA, Answer, Http2
from support.wait import until
from support.websocket import BINARY, CLOSE, PING, PONG, TEXT, WebSocketBackend, accept_of, close, deflated, frame

ENABLE_CONNECT_PROTOCOL = 8


@pytest.fixture
def backend_echo():
    backend = WebSocketBackend()
    yield backend
    backend.stop()


@pytest.fixture
def gateway(launch, backend_echo: WebSocketBackend) -> Gateway:
    return launch(access_log=True, routes=[{"path": "/ws", "echo": {"subprotocols": ["chat"]}}, respond("/")], upstreams=[upstream(backend_echo.port, "/api")],
                  shutdown_drain_timeout_sec=1)


class Stream:
    """A WebSocket on a stream of its own; several may share a connection."""

    def __init__(self, client: Http2, path: str, *fields: tuple[str, str], version: str | None = "13", protocol: str = "websocket") -> None:
        self.client = client
        more = [("sec-websocket-version", version)] if version else []
        self.id = client.headers([(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path), (":authority", "test"),
                                  *more, *fields], end=False)
        self.taken = 0

    @property
    def answer(self) -> Answer:
        return self.client.answers[self.id]

    def opened(self) -> "Stream":
        self.client.until(lambda: self.answer.fields is not None or self.answer.reset is not None, "the answer")
        assert self.answer.status == 200 and not self.answer.ended
        for name in ("sec-websocket-accept", "upgrade", "connection", "transfer-encoding", "content-length"):
            assert self.answer.header(name) is None
        return self

    def send(self, data: bytes, end: bool = False) -> None:
        """In small DATA frames, within the window that is given back."""
        for start in range(0, len(data), 16_384):
            self.client.data(self.id, data[start:start + 16_384], end=end and start + 16_384 >= len(data))

    def take(self, count: int) -> bytes:
        self.client.until(lambda: len(self.answer.body) >= self.taken + count, f"{count} bytes")
        self.taken += count
        return bytes(self.answer.body[self.taken - count:self.taken])

    def message(self) -> tuple[int, bytes]:
        opcode, payload, final = 0, b"", False
        while not final:
            first, second = self.take(2)
            length = second & 127
            if length >= 126:
                length = int.from_bytes(self.take(2 if length == 126 else 8), "big")
            opcode, final = opcode or first & 15, bool(first & 0x80)
            payload += self.take(length)
        return opcode, payload


@pytest.mark.parametrize("path", ["/ws", "/api"])
def test_messages(gateway: Gateway, path: str) -> None:
    with Http2(gateway.port) as client:
        client.until(lambda: client.settings.get(ENABLE_CONNECT_PROTOCOL) == 1, "the setting")
        socket = Stream(client, path).opened()
        for data in (b"", b"hello", os.urandom(30_000)):
            socket.send(frame(BINARY, data))
            assert socket.message() == (BINARY, data)
        socket.send(frame(PING, "p"))
        assert socket.message() == (PONG, b"p")
        socket.send(frame(TEXT, "in ", final=False) + frame(0, "pieces"))
        assert socket.message() == (TEXT, b"in pieces")
        # The connection serves other requests meanwhile.
        assert client.get("/").body == b"ok"
        socket.send(close(1000), end=True)
        assert socket.message() == (CLOSE, b"\x03\xe8")
        client.answer(socket.id)
        assert client.get("/").status == 200
    entry = [entry for entry in gateway.access_entries(3) if entry["url.path"] == path][0]
    assert entry["http.response.status_code"] == 200 and entry["network.protocol.version"] == "2" and "error.type" not in entry
    assert entry["http.request.size"] > 30_000 and entry["http.response.body.size"] > 30_000


def test_many_streams(gateway: Gateway) -> None:
    with Http2(gateway.port) as client:
        sockets = [Stream(client, path) for path in ("/ws", "/api") for _ in range(25)]
        for socket in sockets:
            socket.opened()
        for turn in range(3):
            for number, socket in enumerate(sockets):
                socket.send(frame(TEXT, f"{turn} for {number}"))
            for number, socket in enumerate(sockets):
                assert socket.message() == (TEXT, f"{turn} for {number}".encode())


@pytest.mark.parametrize("path", ["/ws", "/api"])
def test_a_large_message(gateway: Gateway, path: str) -> None:
    data = os.urandom(600_000)
    with Http2(gateway.port) as client:
        socket = Stream(client, path).opened()
        whole, sent = frame(BINARY, data), 0
        while sent < len(whole):
            # What the windows hold, and what has been given back.
            room = min(65_535 + client.updates.get(socket.id, 0), 65_535 + client.updates.get(0, 0)) - sent
            if room <= 0:
                client.read(1)
                continue
            piece = whole[sent:sent + min(room, 16_384)]
            client.frame(DATA, 0, socket.id, piece)
            sent += len(piece)
        assert socket.message() == (BINARY, data)


def test_subprotocol_and_compression(gateway: Gateway) -> None:
    with Http2(gateway.port) as client:
        socket = Stream(client, "/ws", ("sec-websocket-protocol", "chat"), ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")).opened()
        assert socket.answer.header("sec-websocket-protocol") == "chat"
        assert socket.answer.header("sec-websocket-extensions") == "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"
        socket.send(frame(TEXT, deflated(b"short", 12), reserved=4))
        assert socket.message() == (TEXT, b"short")


def test_what_the_backend_is_asked(launch, backend: Backend) -> None:
    """It is HTTP/1.1, with a key of the gateway's, of which the answer is verified."""
    backend.answer = reply(403, body=b"no")
    gateway: Gateway = launch(upstreams=[upstream(backend.port, "/api")])
    with Http2(gateway.port) as client:
        keys = set()
        for _ in range(2):
            answer = client.answer(Stream(client, "/api/x?y", ("origin", "http://test"), ("sec-websocket-protocol", "chat"), ("cookie", "a=1"), ("cookie", "b=2")).id)
            assert answer.status == 403 and answer.body == b"no"
        for asked in backend.requests:
            assert (asked.method, asked.target, asked.version) == ("GET", "/api/x?y", "HTTP/1.1")
            assert asked.header("upgrade") == "websocket" and asked.header("connection") == "Upgrade" and asked.header("sec-websocket-version") == "13"
            assert asked.header("sec-websocket-protocol") == "chat" and asked.header("cookie") == "a=1; b=2"
            assert asked.header("transfer-encoding") is None and asked.header("content-length") is None
            assert asked.header("origin") == "http://test" and asked.header("via") == "2.0 gateway"
            keys.add(asked.header("sec-websocket-key"))
        assert len(keys) == 2 and all(len(key or "") == 24 for key in keys)


@pytest.mark.parametrize("answer", [
    f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_of()}\r\n\r\n",
    # The client would take any 2xx for the WebSocket it has asked for.
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\n\r\nhello",
])
def test_answers_of_the_backend_that_are_not_believed(launch, backend: Backend, answer: str) -> None:
    backend.answer = raw(answer)
    gateway: Gateway = launch(access_log=True, upstreams=[upstream(backend.port, "/api")])
    with Http2(gateway.port) as client:
        assert client.answer(Stream(client, "/api").id).status == 502
    assert gateway.access_entries(1)[0]["error.type"] == "http_upgrade_failed"


@pytest.mark.parametrize("path, version, protocol, status", [
    ("/fixed", "13", "websocket", 501), ("/nowhere", "13", "websocket", 404), ("/moved", "13", "websocket", 308), ("/health", "13", "websocket", 501),
    ("/api", "12", "websocket", 426), ("/api", None, "websocket", 400), ("/ws", "8", "websocket", 426), ("/ws", None, "websocket", 400),
    ("/api", "13", "connect-udp", 501), ("/ws", "13", "connect-udp", 501),
])
def test_what_cannot_become_a_websocket(launch_shared, path: str, version: str | None, protocol: str, status: int) -> None:
    gateway = launch_shared(
        upstreams=[upstream(1, "/api")],
        routes=[{"path": "/ws", "echo": {}}, respond("/fixed"), {"path": "/moved", "redirect": {"to": "/ws"}}])
    with Http2(gateway.port) as client:
        answer = client.answer(Stream(client, path, version=version, protocol=protocol).id)
        assert answer.status == status
        assert status != 426 or answer.header("sec-websocket-version") == "13"
        assert client.get("/ws").status == 426 and client.get("/fixed").status == 200


def test_switched_off(launch, backend_echo: WebSocketBackend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend_echo.port, "/api", websocket=False)])
    with Http2(gateway.port) as client:
        assert client.answer(Stream(client, "/api").id).status == 501


@pytest.mark.parametrize("path", ["/ws", "/api"])
def test_data_before_the_answer(gateway: Gateway, path: str) -> None:
    with Http2(gateway.port) as client:
        socket = Stream(client, path)
        socket.send(frame(TEXT, "early"))
        assert socket.opened().message() == (TEXT, b"early")


@pytest.mark.parametrize("path", ["/ws", "/api"])
def test_reset_by_the_client(gateway: Gateway, backend_echo: WebSocketBackend, path: str) -> None:
    with Http2(gateway.port) as client:
        socket = Stream(client, path).opened()
        client.reset(socket.id)
        assert gateway.access_entries()[0]["error.type"] == "client_aborted"
        if path == "/api":
            until(lambda: backend_echo.connections[0].close_code == 1006)
        assert client.get("/").status == 200


def test_the_backend_closes(launch) -> None:
    backend = WebSocketBackend(lambda connection: connection.close(4321, "enough"))
    gateway: Gateway = launch(access_log=True, upstreams=[upstream(backend.port, "/api")])
    with Http2(gateway.port) as client:
        socket = Stream(client, "/api").opened()
        assert socket.message() == (CLOSE, b"\x10\xe1enough")
        socket.send(close(4321), end=True)
        assert client.answer(socket.id).ended
        assert client.get("/health").status == 200
    assert "error.type" not in gateway.access_entries()[0]
    backend.stop()


@pytest.mark.parametrize("path", ["/ws", "/api"])
def test_broken_rules(gateway: Gateway, path: str) -> None:
    with Http2(gateway.port) as client:
        socket = Stream(client, path).opened()
        socket.send(frame(TEXT, "x", masked=False))
        assert socket.message()[0] == CLOSE
        assert client.get("/").status == 200


def test_slow_reader(launch) -> None:
    """A stream whose window is not given back: its backend is read no further than the limits, and others are served."""
    stop = threading.Event()

    def flood(connection) -> None:
        block = os.urandom(1 << 20)
        try:
            while not stop.is_set():
                connection.send(block)
        except Exception:  # noqa: BLE001 - the end of the test
            pass

    backend = WebSocketBackend(flood)
    gateway: Gateway = launch(routes=[respond("/")], upstreams=[upstream(backend.port, "/api", relay_buffer_limit_bytes=262_144)])
    time.sleep(0.3)
    before = proc.memory(gateway.worker)
    with Http2(gateway.port, windows=False, settings={4: 65_535}) as client:
        socket = Stream(client, "/api")
        client.until(lambda: len(socket.answer.body) == 65_535, "a window's worth")
        time.sleep(0.5)
        assert proc.memory(gateway.worker) - before < 4 << 20
        client.give(1 << 20, 0)
        assert client.get("/").body == b"ok"
    stop.set()
    backend.stop()


def test_1001_when_it_stops(gateway: Gateway) -> None:
    with Http2(gateway.port) as client:
        socket = Stream(client, "/api").opened()
        gateway.signal(signal.SIGTERM)
        assert socket.message() == (CLOSE, b"\x03\xe9")
        client.until_closed()
        assert client.goaways


@pytest.mark.parametrize("path", ["/ws", "/api"])
def test_1001_at_the_deadline(gateway: Gateway, path: str) -> None:
    with Http2(gateway.port) as client:
        socket = Stream(client, path).opened()
        gateway.reload()
        socket.send(frame(TEXT, "meanwhile"))
        assert socket.message() == (TEXT, b"meanwhile")
        assert socket.message() == (CLOSE, b"\x03\xe9")
        # There is a moment to answer.
        client.drain(0.2)
        assert not client.closed
        client.frame(DATA, END_STREAM, socket.id, close(1001))
        assert client.answer(socket.id).ended
        client.until_closed()
        assert client.goaways and not client.was_reset
    until(lambda: len(gateway.workers) == 1, what="the old worker to go")
    assert gateway.access_entries()[0]["error.type"] == "drain_deadline"
