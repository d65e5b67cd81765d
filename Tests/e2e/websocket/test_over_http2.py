"""WebSockets on streams of HTTP/2 (RFC 8441): to an endpoint here, and through the proxy to a backend that speaks HTTP/1.1."""

from __future__ import annotations

import os
import signal
import struct

import pytest

from support.backend import Backend, raw
from support.configuration import upstream
from support.gateway import Gateway
from support.http2 import CANCEL, NO_ERROR, Answer, Http2
from support.wait import until
from support.websocket import BINARY, CLOSE, PING, PONG, TEXT, WebSocketBackend, close, frame

ENABLE_CONNECT_PROTOCOL = 8


@pytest.fixture
def echo():
    backend = WebSocketBackend()
    yield backend
    backend.stop()


class Stream:
    """A WebSocket on one stream."""

    def __init__(self, connection: Http2, path: str = "/ws", *fields: tuple[str, str], protocol: str = "websocket", version: str | None = "13",
                 end: bool = False) -> None:
        self.connection = connection
        versions = [("sec-websocket-version", version)] if version else []
        self.id = connection.headers(
            [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path), (":authority", "test"), *versions, *fields], end=end)
        self.read = 0

    @property
    def answer(self) -> Answer:
        return self.connection.answers[self.id]

    def status(self) -> int:
        self.connection.until(lambda: self.answer.fields is not None or self.answer.reset is not None, "the response")
        return self.answer.status

    def send(self, data: bytes, *, end: bool = False) -> None:
        """Sends bytes as DATA, in pieces that fit the windows a connection begins with."""
        for start in range(0, max(1, len(data)), 16_000):
            piece = data[start:start + 16_000]
            sent = self.connection.updates
            self.connection.data(self.id, piece, end=end and start + 16_000 >= len(data))
            self.out = getattr(self, "out", 0) + len(piece)
            if self.out > 48_000:
                self.connection.until(lambda: sent.get(self.id, 0) + 65_535 - self.out > 16_000, "room in the window")

    def exactly(self, count: int) -> bytes:
        self.connection.until(lambda: len(self.answer.body) >= self.read + count, f"{count} bytes")
        data = bytes(self.answer.body[self.read:self.read + count])
        self.read += count
        return data

    def message(self) -> tuple[int, bytes]:
        """The next whole message, or control frame."""
        kind, data = 0, b""
        while True:
            first, second = self.exactly(2)
            assert second & 0x80 == 0
            length = second & 127
            if length == 126:
                (length,) = struct.unpack(">H", self.exactly(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self.exactly(8))
            kind, data = kind or first & 15, data + self.exactly(length)
            if first & 0x80:
                return kind, data


def both(launch, port: int, **keys) -> Gateway:
    return launch(
        access_log=True, upstreams=[upstream(port, "/ws")],
        routes=[{"path": "/echo", "echo": {"subprotocols": ["chat"]}}, {"path": "/fixed", "respond": {"body": "x"}},
                {"path": "/moved", "redirect": {"to": "/echo"}}], **keys)


@pytest.mark.parametrize("path", ["/ws", "/echo"])
def test_messages_go_both_ways(launch, echo: WebSocketBackend, path: str) -> None:
    gateway = both(launch, echo.port)
    with Http2(gateway.port) as connection:
        stream = Stream(connection, path)
        assert stream.status() == 200
        assert connection.settings[ENABLE_CONNECT_PROTOCOL] == 1
        names = {name for name, _ in stream.answer.fields or []}
        assert not names & {b"upgrade", b"connection", b"sec-websocket-accept", b"transfer-encoding", b"content-length"}
        for kind, message in [(TEXT, b""), (TEXT, "grüße".encode()), (BINARY, os.urandom(300_000))]:
            stream.send(frame(kind, message))
            assert stream.message() == (kind, message)
        stream.send(frame(PING, b"there?"))
        assert stream.message() == (PONG, b"there?")
        # Others of the same connection are not kept waiting by it.
        assert connection.get("/fixed").status == 200
        stream.send(close(1000))
        assert stream.message() == (CLOSE, struct.pack(">H", 1000))
        stream.send(b"", end=True)
        connection.until(lambda: stream.answer.ended, "the end of the stream")
        assert stream.answer.reset in (None, NO_ERROR)
        assert connection.get("/fixed").status == 200
    [entry] = [entry for entry in gateway.access_entries(3) if entry["url.path"] == path]
    assert (entry["http.response.status_code"], entry["network.protocol.version"]) == (200, "2") and "error.type" not in entry
    assert entry["http.request.size"] > 300_000 and entry["http.response.body.size"] > 300_000


def test_the_backend_sees_a_handshake_of_http1(launch) -> None:
    backend = Backend(raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-Why: because\r\n\r\nno"))
    gateway = both(launch, backend.port)
    with Http2(gateway.port) as connection:
        stream = Stream(connection, "/ws/room?x=1", ("origin", "https://a.test"), ("sec-websocket-protocol", "chat"), ("cookie", "a=1"), ("cookie", "b=2"))
        # What is no 101 is relayed as it is.
        connection.until(lambda: stream.answer.ended, "the answer")
        assert (stream.status(), stream.answer.header("x-why"), bytes(stream.answer.body)) == (403, "because", b"no")
    request = backend.requests[0]
    assert (request.method, request.target) == ("GET", "/ws/room?x=1")
    assert request.header("upgrade") == "websocket" and request.header("connection") == "Upgrade"
    assert len(request.header("sec-websocket-key")) == 24 and request.header("sec-websocket-version") == "13"
    assert request.header("sec-websocket-protocol") == "chat" and request.header("cookie") == "a=1; b=2"
    assert request.header("transfer-encoding") is None and request.header("content-length") is None
    backend.stop()


@pytest.mark.parametrize("body", [b"Content-Length: 5\r\n\r\nhello", b"\r\nhello"])
def test_an_ordinary_success_of_the_backend_is_not_passed_on(launch, body: bytes) -> None:
    # The client would take any 2xx for the WebSocket it has asked for.
    backend = Backend(raw(b"HTTP/1.1 200 OK\r\n" + body))
    gateway = both(launch, backend.port)
    with Http2(gateway.port) as connection:
        assert Stream(connection).status() == 502
    assert gateway.access_entries(1)[0]["error.type"] == "http_upgrade_failed"
    backend.stop()


def test_a_wrong_proof_of_the_backend_is_not_believed(launch) -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    backend = Backend(raw(answer))
    gateway = both(launch, backend.port)
    with Http2(gateway.port) as connection:
        assert Stream(connection).status() == 502
    assert gateway.access_entries(1)[0]["error.type"] == "http_upgrade_failed"
    backend.stop()


@pytest.mark.parametrize("path, fields, version, status", [
    ("/fixed", [], "13", 501), ("/nowhere", [], "13", 404), ("/moved", [], "13", 308), ("/health", [], "13", 501),
    ("/ws", [], "12", 426), ("/ws", [], None, 400), ("/echo", [], "8", 426), ("/echo", [], None, 400),
])
def test_what_cannot_become_a_websocket(launch_shared, path: str, fields: list, version: str | None, status: int) -> None:
    gateway = launch_shared(
        upstreams=[upstream(1, "/ws")],
        routes=[{"path": "/echo", "echo": {}}, {"path": "/fixed", "respond": {"body": "x"}}, {"path": "/moved", "redirect": {"to": "/echo"}}])
    with Http2(gateway.port) as connection:
        assert Stream(connection, path, *fields, version=version).status() == status


def test_other_protocols_are_not_known(launch, echo: WebSocketBackend) -> None:
    gateway = both(launch, echo.port)
    with Http2(gateway.port) as connection:
        assert Stream(connection, "/ws", protocol="connect-udp").status() == 501


def test_websockets_switched_off(launch, echo: WebSocketBackend) -> None:
    gateway = launch(upstreams=[upstream(echo.port, "/ws", websocket=False)])
    with Http2(gateway.port) as connection:
        assert Stream(connection).status() == 501


def test_the_client_resets_the_stream(launch, echo: WebSocketBackend) -> None:
    gateway = both(launch, echo.port)
    with Http2(gateway.port) as connection:
        stream = Stream(connection)
        assert stream.status() == 200
        connection.reset(stream.id, CANCEL)
        until(lambda: echo.connections and echo.connections[0].close_code == 1006)
        assert connection.get("/fixed").status == 200


def test_the_backend_goes(launch) -> None:
    backend = WebSocketBackend(lambda connection: connection.close(1011, "done"))
    gateway = both(launch, backend.port)
    with Http2(gateway.port) as connection:
        stream = Stream(connection)
        assert stream.status() == 200
        assert stream.message() == (CLOSE, struct.pack(">H", 1011) + b"done")
        stream.send(close(1011), end=True)
        connection.until(lambda: stream.answer.ended or stream.answer.reset is not None, "the end of the stream")
        assert connection.get("/fixed").status == 200
    backend.stop()


def test_a_slow_reader_holds_back_its_backend(launch) -> None:
    sent = []

    def flood(connection) -> None:  # type: ignore[no-untyped-def]
        for _ in range(600):
            connection.send(b"x" * 100_000)
            sent.append(1)

    backend = WebSocketBackend(flood)
    gateway = both(launch, backend.port)
    with Http2(gateway.port, windows=False) as connection:
        stream = Stream(connection)
        assert stream.status() == 200
        connection.drain(1.0)
        assert len(stream.answer.body) <= 65_535
        # 60 MB were offered; no more than buffers of the two sides and of the kernel were taken.
        assert len(sent) < 300
    backend.stop()


def test_the_worker_goes_away(launch, echo: WebSocketBackend) -> None:
    gateway = both(launch, echo.port, shutdown_drain_timeout_sec=1)
    with Http2(gateway.port) as connection:
        stream = Stream(connection)
        assert stream.status() == 200
        gateway.signal(signal.SIGTERM)
        assert stream.message() == (CLOSE, struct.pack(">H", 1001))
        connection.until_closed()
        assert connection.goaways


@pytest.mark.parametrize("path", ["/ws", "/echo"])
def test_there_is_a_moment_to_answer_the_close(launch, echo: WebSocketBackend, path: str) -> None:
    gateway = both(launch, echo.port, shutdown_drain_timeout_sec=1)
    with Http2(gateway.port) as connection:
        stream = Stream(connection, path)
        assert stream.status() == 200
        gateway.reload()
        assert stream.message() == (CLOSE, struct.pack(">H", 1001))
        connection.drain(0.2)
        assert not connection.closed
        stream.send(close(1001), end=True)
        assert connection.answer(stream.id).ended
        connection.until_closed()
        assert connection.goaways and not connection.was_reset


def test_many_on_one_connection(launch, echo: WebSocketBackend) -> None:
    gateway = both(launch, echo.port)
    with Http2(gateway.port) as connection:
        streams = [Stream(connection, path) for path in ("/ws", "/echo") for _ in range(25)]
        assert {stream.status() for stream in streams} == {200}
        for turn in range(3):
            for number, stream in enumerate(streams):
                stream.send(frame(TEXT, f"{turn} for {number}"))
            for number, stream in enumerate(streams):
                assert stream.message() == (TEXT, f"{turn} for {number}".encode())


@pytest.mark.parametrize("path", ["/ws", "/echo"])
def test_what_comes_before_the_answer_is_kept(launch, echo: WebSocketBackend, path: str) -> None:
    gateway = both(launch, echo.port)
    with Http2(gateway.port) as connection:
        stream = Stream(connection, path)
        stream.send(frame(TEXT, "early"))
        assert stream.status() == 200 and stream.message() == (TEXT, b"early")
