"""A backend with a scenario per connection, in HTTP/1.1 or HTTP/2, in the clear or over TLS, that does on purpose what backends do when
they break, and counts by `X-Request-Id` what has reached it.

A scenario is a function of the connection. It says with `taken` when it may have acted on a request: from then on nobody may send the
same request again, unless it is idempotent.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

from hpack import Decoder

from . import http2
from .backend import Connection, Request, head
from .http2 import ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE
from .message import Closed, Malformed

Scenario = Callable[["Peer"], None]

#: What a good response looks like, byte for byte.
BODY = b"0123456789" * 3
GOOD = head(200, f"Content-Length: {len(BODY)}", "Content-Type: text/plain") + BODY
CHUNKED = head(200, "Transfer-Encoding: chunked") + b"a\r\n0123456789\r\na\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"


class Peer(Connection):
    """One connection."""

    def __init__(self, sock: socket.socket, index: int, backend: "Misbehaving") -> None:
        super().__init__(sock, index)
        self.backend = backend

    # HTTP/1.1

    def request(self) -> Request:
        """Reads a request with its body."""
        request = self.read_head()
        self.backend.arrived(request.header("x-request-id") or "", request.method)
        self.read_body(request)
        return request

    def part_of_request(self, count: int) -> Request:
        """Reads a request and no more than `count` bytes of its body."""
        request = self.read_head()
        self.backend.arrived(request.header("x-request-id") or "", request.method)
        self.reader.exactly(min(count, int(request.header("content-length") or 0)))
        return request

    def taken(self, request: "Request | Request2") -> None:
        """From now on the request may have had an effect."""
        name = request.header("x-request-id") or ""
        if self.backend.body_of is not None and request.body != self.backend.body_of(name):
            raise Malformed(f"{name} has a body of {len(request.body)} bytes that is not its own")
        self.backend.take(name)

    def serve(self, count: int = 1 << 30) -> None:
        """Answers `count` requests as one should."""
        for _ in range(count):
            request = self.request()
            self.taken(request)
            self.send(head(200, f"Content-Length: {len(BODY)}") + (b"" if request.method == "HEAD" else BODY))

    def shut(self) -> None:
        """Ends this side and waits for the other's end."""
        self.sock.shutdown(socket.SHUT_WR)
        self.wait_end(5)
        self.close()

    def end_with_reset(self) -> None:
        """RST, after what was sent has arrived."""
        time.sleep(0.03)
        self.reset()


class Request2:
    """A request over HTTP/2."""

    def __init__(self, stream: int, fields: list[tuple[bytes, bytes]], ended: bool) -> None:
        self.stream, self.fields, self.ended = stream, fields, ended
        self.body = b""
        self.trailers: list[tuple[bytes, bytes]] = []
        self.reset: int | None = None

    def header(self, name: str) -> str | None:
        return next((value.decode() for key, value in self.fields if key == name.encode()), None)


class Peer2:
    """The server's side of HTTP/2 on a connection, frame by frame."""

    def __init__(self, peer: Peer, settings: dict[int, int] | None = None, windows: bool = True, begin: bool = True) -> None:
        self.peer, self.reader, self.windows = peer, peer.reader, windows
        self.requests: dict[int, Request2] = {}
        self.order: list[int] = []
        self.decoder = Decoder(max_header_list_size=1 << 20)
        self.settings: dict[int, int] = {}
        self.goaways: list[tuple[int, int]] = []
        self.pings = 0
        self._given = 0
        self._section: tuple[int, int, bytes] | None = None
        if begin:
            if self.reader.exactly(len(PREFACE)) != PREFACE:
                raise Malformed("no preface")
            self.send(http2.settings_frame(settings or {}))

    def send(self, data: bytes) -> None:
        self.peer.send(data)

    def frame(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        self.send(http2.frame(kind, flags, stream, payload))

    def step(self) -> int:
        """Reads a frame, acts on it and returns its kind."""
        start = self.reader.exactly(9)
        length, kind, flags = int.from_bytes(start[:3], "big"), start[3], start[4]
        stream = int.from_bytes(start[5:9], "big")
        payload = self.reader.exactly(length)
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, length, 6):
                key, value = struct.unpack(">HI", payload[at:at + 6])
                self.settings[key] = value
            self.frame(SETTINGS, ACK)
        elif kind == PING and not flags & ACK:
            self.pings += 1
            self.frame(PING, ACK, 0, payload)
        elif kind == HEADERS:
            self._section = (stream, flags, payload)
        elif kind == CONTINUATION and self._section:
            self._section = (stream, self._section[1] | flags, self._section[2] + payload)
        elif kind == DATA and stream in self.requests:
            request = self.requests[stream]
            request.body += payload
            request.ended = bool(flags & END_STREAM)
            if self.windows and payload:
                update = struct.pack(">I", len(payload))
                self.send(http2.frame(WINDOW_UPDATE, 0, 0, update) + (b"" if request.ended else http2.frame(WINDOW_UPDATE, 0, stream, update)))
        elif kind == RST_STREAM and stream in self.requests:
            self.requests[stream].reset = int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self.goaways.append((int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")))
        if kind in (HEADERS, CONTINUATION) and self._section and self._section[1] & END_HEADERS:
            stream, flags, payload = self._section
            self._section = None
            fields = [(http2.octets(name), http2.octets(value)) for name, value in self.decoder.decode(payload, raw=True)]
            if stream in self.requests:
                self.requests[stream].trailers, self.requests[stream].ended = fields, True
            else:
                request = self.requests[stream] = Request2(stream, fields, bool(flags & END_STREAM))
                self.order.append(stream)
                self.peer.backend.arrived(request.header("x-request-id") or "", request.header(":method") or "")
        return kind

    def head(self) -> Request2:
        """The next request, as soon as its fields are there."""
        while self._given >= len(self.order):
            self.step()
        self._given += 1
        return self.requests[self.order[self._given - 1]]

    def request(self) -> Request2:
        """The next request, with its body."""
        request = self.head()
        while not request.ended and request.reset is None:
            self.step()
        return request

    def headers(self, stream: int, fields: Iterable[http2.Field], end: bool = False) -> None:
        self.frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, http2.block(list(fields)))

    def data(self, stream: int, data: bytes, end: bool = True) -> None:
        self.frame(DATA, END_STREAM if end else 0, stream, data)

    def answer(self, request: Request2, body: bytes = BODY) -> None:
        self.peer.taken(request)
        bodyless = request.header(":method") == "HEAD"
        self.headers(request.stream, [(":status", "200"), ("content-length", str(len(body)))], end=bodyless)
        if not bodyless:
            self.data(request.stream, body)

    def reset(self, stream: int, code: int) -> None:
        self.frame(RST_STREAM, 0, stream, struct.pack(">I", code))

    def goaway(self, last: int, code: int = 0) -> None:
        self.frame(GOAWAY, 0, 0, struct.pack(">II", last, code))

    def serve(self, count: int = 1 << 30) -> None:
        for _ in range(count):
            self.answer(self.request())

    def drain(self) -> None:
        """Acts on frames until the gateway ends the connection."""
        while True:
            self.step()


class Misbehaving:
    """Listens on a loopback port; the n-th connection gets `scenarios[n]`, and after the last one it begins again (or the last one is
    repeated, with `cycle=False`)."""

    def __init__(self, *scenarios: Scenario, cycle: bool = False, tls: ssl.SSLContext | None = None, receive_buffer: int | None = None) -> None:
        self.scenarios: list[Scenario] = list(scenarios)
        self.cycle, self.tls = cycle, tls
        self.lock = threading.Lock()
        #: Times that a request has come, by its id; and those of them after which the backend may have acted on it.
        self.heads: Counter[str] = Counter()
        self.acts: Counter[str] = Counter()
        self.methods: dict[str, str] = {}
        #: The body that a request of this id must have when it is taken.
        self.body_of: Callable[[str], bytes] | None = None
        self.connections: list[Peer] = []
        self.errors: list[BaseException] = []
        self.handshakes: list[str] = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer is not None:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(512)
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def arrived(self, name: str, method: str) -> None:
        with self.lock:
            self.heads[name] += 1
            self.methods[name] = method

    def take(self, name: str) -> None:
        with self.lock:
            self.acts[name] += 1

    def stop(self) -> None:
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for peer in self.connections:
            peer.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            index = len(self.connections)
            peer = Peer(sock, index, self)
            self.connections.append(peer)
            chosen = self.scenarios[index % len(self.scenarios) if self.cycle else min(index, len(self.scenarios) - 1)]
            threading.Thread(target=self._serve, args=(peer, chosen), daemon=True).start()

    def _serve(self, peer: Peer, scenario: Scenario) -> None:
        try:
            if self.tls is not None:
                try:
                    peer.sock = self.tls.wrap_socket(peer.sock, server_side=True)
                except (OSError, ssl.SSLError) as error:
                    self.handshakes.append(repr(error))
                    return
                peer.reader.sock = peer.sock
                self.handshakes.append(peer.sock.version() or "")
            scenario(peer)
        except (Closed, ConnectionError, ssl.SSLError):
            pass
        except OSError as error:
            if not peer.closed:
                self.errors.append(error)
        except Exception as error:
            self.errors.append(error)
        finally:
            peer.ended.set()
            if not peer.closed:
                peer.close()
