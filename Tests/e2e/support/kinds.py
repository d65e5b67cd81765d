"""The four ways to speak HTTP, with one face for clients: HTTP/1.1 and HTTP/2, in the clear and over TLS.

A `Call` is one request and its response. Whatever a conforming peer could misread fails the test, and a response that is cut off
raises `Cut`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from . import message
from .client import Client
from .configuration import Json
from .http2_link import Link, Reset, Stream
from .message import Closed, Fields, values
from .tls import SecureClient

#: Name: HTTP/2, TLS.
KINDS = {"h1": (False, False), "h1s": (False, True), "h2c": (True, False), "h2s": (True, True)}


def speaking(kind: str, port: int, cafile: str, prefix: str) -> Json:
    """An upstream that is spoken to in this way."""
    http2, tls = KINDS[kind]
    entry: Json = {"name": kind, "host": "127.0.0.1", "port": port, "proxy": {"route_prefix": prefix, "forward_trailers": True}}
    if tls:
        entry["tls"] = {"enabled": True, "ca_file": cafile, "sni_hostname": "localhost"}
    if http2:
        entry["http2"] = {"enabled": True, **({} if tls else {"prefer": "always"})}
    return entry


class Cut(Exception):
    """The peer ended the exchange before its end; `code` is that of RST_STREAM."""

    def __init__(self, cause: object, code: int | None = None) -> None:
        super().__init__(repr(cause))
        self.code = code


@dataclass
class Head:
    status: int
    fields: Fields

    def header(self, name: str) -> str | None:
        found = values(self.fields, name)
        assert len(found) <= 1, f"{name} stands {len(found)} times: {found}"
        return found[0] if found else None


class Call:
    """A request and its response."""

    trailers: Fields

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    def finish(self, trailers: Iterable[tuple[str, str]] = ()) -> None:
        """Ends the request."""
        raise NotImplementedError

    def interim(self) -> Head:
        """The next 1xx response."""
        raise NotImplementedError

    def head(self) -> Head:
        raise NotImplementedError

    def body(self) -> Iterator[bytes]:
        """The body as it comes, once; `trailers` holds what came behind it."""
        raise NotImplementedError

    def abort(self) -> None:
        """Gives the exchange up: RST_STREAM, or the connection's end."""
        raise NotImplementedError

    def whole(self) -> bytes:
        self.head()
        return b"".join(self.body())


class _Call1(Call):
    def __init__(self, client: Client, method: str, chunked: bool) -> None:
        self.client, self.method, self.chunked = client, method, chunked
        self.trailers = []
        self._head: Head | None = None

    def send(self, data: bytes) -> None:
        with _cuts():
            if self.chunked:
                self.client.send(b"%x\r\n" % len(data))
            self.client.send(data)
            if self.chunked:
                self.client.send(b"\r\n")

    def finish(self, trailers: Iterable[tuple[str, str]] = ()) -> None:
        with _cuts():
            if self.chunked:
                self.client.send("0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in trailers) + "\r\n")

    def interim(self) -> Head:
        with _cuts():
            head = self.client.read_head()
        assert 100 <= head.status < 200, f"{head.status} instead of an interim response"
        return Head(head.status, head.fields)

    def head(self) -> Head:
        if self._head is None:
            with _cuts():
                while (head := self.client.read_head()).status < 200:
                    pass
            self._head = Head(head.status, head.fields)
        return self._head

    def body(self) -> Iterator[bytes]:
        head = self.head()
        if self.method == "HEAD" or head.status in (204, 304):
            return
        with _cuts():
            yield from message.pieces(self.client.reader, head.fields, self.trailers)

    def abort(self) -> None:
        self.client.close()


class _Call2(Call):
    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._interims = 0

    @property
    def trailers(self) -> Fields:  # type: ignore[override]
        return self.stream.trailers

    def send(self, data: bytes) -> None:
        with _cuts():
            self.stream.send(data)

    def finish(self, trailers: Iterable[tuple[str, str]] = ()) -> None:
        with _cuts():
            if kept := list(trailers):
                self.stream.headers([(name.lower(), value) for name, value in kept], end=True)
            else:
                try:
                    self.stream.send(b"", end=True)
                except Reset as reset:
                    # After a whole response, the peer may say that it needs no more of the request (RFC 9113 §8.1).
                    if reset.code != 0 or not self.stream.ended:
                        raise

    def interim(self) -> Head:
        stream = self.stream
        stream.link.wait(lambda: len(stream.interims) > self._interims or stream.fields is not None or stream.gone, "an interim response")
        assert len(stream.interims) > self._interims, "no interim response"
        self._interims += 1
        return self._head(stream.interims[self._interims - 1])

    def head(self) -> Head:
        with _cuts():
            return self._head(self.stream.head())

    def body(self) -> Iterator[bytes]:
        with _cuts():
            yield from self.stream.body()

    def abort(self) -> None:
        self.stream.abort()

    @staticmethod
    def _head(fields: Fields) -> Head:
        assert fields[0][0] == b":status", fields
        return Head(int(fields[0][1]), fields[1:])


class _cuts:
    """Turns the end of a connection or stream into `Cut`."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Reset):
            raise Cut(error, error.code) from None
        if isinstance(error, (Closed, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            raise Cut(error) from None


class Caller:
    """A connection of one of the four kinds to `port`, or to `secure_port` for those with TLS."""

    def __init__(self, kind: str, port: int, secure_port: int, context: ssl.SSLContext, timeout: float = 20,
                 settings: dict[int, int] | None = None, receive_buffer: int | None = None) -> None:
        self.kind, self.timeout = kind, timeout
        self.http2, self.secure = KINDS[kind]
        name = "localhost"
        self.link: Link | None = None
        self.client: Client | None = None
        if not self.http2:
            self.client = (SecureClient(secure_port, context, name, timeout=timeout, receive_buffer=receive_buffer) if self.secure
                           else Client(port, timeout=timeout, receive_buffer=receive_buffer))
            return
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        sock.connect(("127.0.0.1", secure_port if self.secure else port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.secure:
            sock = context.wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=False)
            assert sock.selected_alpn_protocol() == "h2"
        self.link = Link(sock, client=True, timeout=timeout, settings=settings)

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, method: str, path: str, fields: Iterable[tuple[str, str]] = (), body: bytes | None = None, length: int | None = None,
              open: bool = False) -> Call:
        """Begins a request. With `open`, its body is sent by the call (of `length` bytes, or of unknown length); else it is `body`."""
        fields = list(fields)
        if body is not None:
            length = len(body)
        if length is not None:
            fields.append(("content-length", str(length)))
        if self.link is not None:
            scheme = "https" if self.secure else "http"
            head = [(":method", method), (":scheme", scheme), (":authority", "test"), (":path", path), *fields]
            with _cuts():
                stream = self.link.open([(name.lower(), value) for name, value in head], end=not open and not body)
                call: Call = _Call2(stream)
                if body:
                    stream.send(body, end=True)
            return call
        assert self.client is not None
        chunked = open and length is None
        if chunked:
            fields.append(("Transfer-Encoding", "chunked"))
        lines = [f"{method} {path} HTTP/1.1", "Host: test", *(f"{name}: {value}" for name, value in fields), "", ""]
        with _cuts():
            self.client.send("\r\n".join(lines).encode() + (body or b""))
        return _Call1(self.client, method, chunked)

    def close(self) -> None:
        if self.link is not None:
            self.link.close()
        if self.client is not None:
            self.client.close()

    def vanish(self) -> None:
        """Ends the connection with RST."""
        if self.link is not None:
            self.link.close(reset=True)
        if self.client is not None:
            self.client.reset()


def client_context(cafile: str, http2: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=cafile)
    if http2:
        context.set_alpn_protocols(["h2"])
    return context
