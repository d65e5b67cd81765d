"""A backend that speaks HTTP/1.1 and HTTP/2, in the clear and over TLS, in a process of its own so that long bodies have a core.

What it does is in the path: `/anything/<scenario>?size=...`. What happened to a request is kept under its `X-Request-Id` and can be
asked for; scenarios that wait go on when they are told.

    python -m support.polyglot CERTIFICATE KEY
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.backend import Connection, head as head1
from support.http2_link import Link, Reset, Stream
from support.kinds import KINDS
from support.message import Closed, Fields, pieces, values
from support.stream import blocks


@dataclass
class Record:
    """What happened to one request."""

    #: Times it has come.
    count: int = 0
    received: int = 0
    sent: int = 0
    #: Whether the request came to its end, and the response was sent to its end.
    whole: bool = False
    answered: bool = False
    #: How it was cut off: "closed", "reset", or the code of RST_STREAM.
    cut: str | int | None = None
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0), repr=False)

    def report(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "go"}


class Exchange:
    """One request, with one face for both versions."""

    method: str
    target: str
    fields: Fields
    trailers: Fields
    version: str

    def body(self) -> Iterator[bytes]:
        raise NotImplementedError

    def interim(self, status: int, *fields: tuple[str, str]) -> None:
        raise NotImplementedError

    def head(self, status: int, *fields: tuple[str, str], length: int | None = None) -> None:
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    def finish(self, trailers: Iterable[tuple[str, str]] = ()) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        raise NotImplementedError

    def wait_cut(self) -> None:
        """Returns or raises when the peer gives up."""
        raise NotImplementedError


class _Exchange1(Exchange):
    version = "1.1"

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        request = connection.read_head()
        self.method, self.target, self.fields, self.trailers = request.method, request.target, request.fields, []
        self.chunked = False
        self.complete = not values(self.fields, "content-length") and not values(self.fields, "transfer-encoding")

    def body(self) -> Iterator[bytes]:
        yield from pieces(self.connection.reader, self.fields, self.trailers)
        self.complete = True

    def interim(self, status: int, *fields: tuple[str, str]) -> None:
        self.connection.send(head1(status, *(f"{name}: {value}" for name, value in fields), reason="Interim"))

    def head(self, status: int, *fields: tuple[str, str], length: int | None = None) -> None:
        self.chunked = length is None and status not in (204, 304)
        framing = ["Transfer-Encoding: chunked"] if self.chunked else [] if status in (204, 304) else [f"Content-Length: {length}"]
        self.connection.send(head1(status, *(f"{name}: {value}" for name, value in fields), *framing))

    def send(self, data: bytes) -> None:
        if self.chunked:
            self.connection.send(b"%x\r\n" % len(data))
        self.connection.send(data)
        if self.chunked:
            self.connection.send(b"\r\n")

    def finish(self, trailers: Iterable[tuple[str, str]] = ()) -> None:
        if self.chunked:
            self.connection.send("0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in trailers) + "\r\n")
        if not self.complete:
            # The rest of the request may not be taken for another one; it is read, so that no reset takes the answer along.
            self.connection.sock.shutdown(socket.SHUT_WR)
            self.connection.wait_end(5)
            self.connection.close()

    def abort(self) -> None:
        time.sleep(0.05)  # RST overtakes what is queued
        self.connection.reset()

    def wait_cut(self) -> None:
        if self.connection.wait_end(20):
            raise Closed()


class _Exchange2(Exchange):
    version = "2"

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        fields = stream.head()
        self.method = values(fields, ":method")[0]
        self.target = values(fields, ":path")[0]
        self.fields = fields

    @property
    def trailers(self) -> Fields:  # type: ignore[override]
        return self.stream.trailers

    def body(self) -> Iterator[bytes]:
        yield from self.stream.body()

    def interim(self, status: int, *fields: tuple[str, str]) -> None:
        self.stream.headers([(":status", str(status)), *((name.lower(), value) for name, value in fields)])

    def head(self, status: int, *fields: tuple[str, str], length: int | None = None) -> None:
        framing = [] if length is None or status in (204, 304) else [("content-length", str(length))]
        self.bodyless = self.method == "HEAD" or status in (204, 304)
        self.stream.headers([(":status", str(status)), *((name.lower(), value) for name, value in fields), *framing], end=self.bodyless)

    def send(self, data: bytes) -> None:
        self.stream.send(data)

    def finish(self, trailers: Iterable[tuple[str, str]] = ()) -> None:
        if self.bodyless:
            return
        if kept := list(trailers):
            self.stream.headers([(name.lower(), value) for name, value in kept], end=True)
        else:
            self.stream.send(b"", end=True)
        if not self.stream.ended:
            # RFC 9113 §8.1: the rest of the request is not wanted.
            try:
                self.stream.abort(0)
            except Reset:
                pass

    def abort(self) -> None:
        self.stream.abort(2)

    def wait_cut(self) -> None:
        stream = self.stream
        stream.link.wait(lambda: stream.gone, "the peer's giving up")
        raise Reset(stream.reset)


class Server:
    """Listens on four ports."""

    def __init__(self, certificate: str, key: str) -> None:
        self.records: dict[str, Record] = {}
        self.lock = threading.Lock()
        self.errors: list[str] = []
        self.connections = dict.fromkeys(KINDS, 0)
        self.ports: dict[str, int] = {}
        self.streams = 100
        for kind, (http2, tls) in KINDS.items():
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen(512)
            self.ports[kind] = listener.getsockname()[1]
            context = None
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate, key)
                context.set_alpn_protocols(["h2"] if http2 else ["http/1.1"])
            threading.Thread(target=self._accept, args=(kind, listener, context, http2), daemon=True).start()

    def record(self, name: str) -> Record:
        with self.lock:
            return self.records.setdefault(name, Record())

    def _accept(self, kind: str, listener: socket.socket, context: ssl.SSLContext | None, http2: bool) -> None:
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections[kind] += 1
            threading.Thread(target=self._serve, args=(sock, context, http2), daemon=True).start()

    def _serve(self, sock: socket.socket, context: ssl.SSLContext | None, http2: bool) -> None:
        try:
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
            if http2:
                link = Link(sock, client=False, opened=lambda stream: self._handle(_Exchange2(stream)))
                link.thread.join()
                if link.error:
                    self.errors.append(repr(link.error))
                return
            connection = Connection(sock, 0)
            while not connection.closed:
                self._handle(_Exchange1(connection), connection)
        except (Closed, ConnectionError, ssl.SSLError):
            pass
        except Exception as error:
            self.errors.append(repr(error))
        finally:
            if not http2:
                sock.close()

    def _handle(self, exchange: Exchange, connection: Connection | None = None) -> None:
        names = values(exchange.fields, "x-request-id")
        record = self.record(names[0] if names else "")
        record.count += 1
        path, _, query = exchange.target.partition("?")
        try:
            SCENARIOS[path.rsplit("/", 1)[-1]](exchange, record, {key: found[0] for key, found in parse_qs(query, keep_blank_values=True).items()})
        except Reset as error:
            record.cut = "closed" if error.code is None else error.code
        except (Closed, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            record.cut = "closed"
        except ConnectionError:
            record.cut = "reset"
        except Exception as error:
            self.errors.append(f"{exchange.target}: {error!r}")
        if record.cut is not None and connection is not None and not connection.closed:
            connection.close()


# Scenarios


def _taken(exchange: Exchange, record: Record) -> dict[str, Any]:
    sha = hashlib.sha256()
    for piece in exchange.body():
        record.received += len(piece)
        sha.update(piece)
    record.whole = True
    return {"method": exchange.method, "target": exchange.target, "version": exchange.version, "received": record.received, "sha256": sha.hexdigest(),
            "fields": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in exchange.fields],
            "trailers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in exchange.trailers]}


def _tell(exchange: Exchange, record: Record, what: dict[str, Any], *fields: tuple[str, str], status: int = 200) -> None:
    body = json.dumps(what).encode()
    exchange.head(status, ("Content-Type", "application/json"), *fields, length=len(body))
    if exchange.method != "HEAD":
        exchange.send(body)
    exchange.finish()
    record.answered = True


def small(exchange: Exchange, record: Record, query: dict[str, str]) -> None:
    """Answers with what has come."""
    _tell(exchange, record, _taken(exchange, record), ("X-Kept", "a"), ("X-Kept", "b"))


def empty(exchange: Exchange, record: Record, query: dict[str, str]) -> None:
    _taken(exchange, record)
    exchange.head(204)
    exchange.finish()
    record.answered = True


def down(exchange: Exchange, record: Record, query: dict[str, str]) -> None:
    """Answers with `size` bytes; of unknown length with `unframed`."""
    _taken(exchange, record)
    size = int(query["size"])
    exchange.head(200, length=None if "unframed" in query else size)
    for block in blocks(size):
        for start in range(0, len(block), 1 << 18):
            piece = block[start:start + (1 << 18)]
            exchange.send(piece)
            record.sent += len(piece)
    exchange.finish()
    record.answered = True


def trailers(exchange: Exchange, record: Record, query: dict[str, str]) -> None:
    what = _taken(exchange, record)
    exchange.head(200, ("Trailer", "X-Sum, X-More"))
    exchange.send(json.dumps(what).encode())
    exchange.finish([("X-Sum", what["sha256"]), ("X-More", "1")])
    record.answered = True


def hints(exchange: Exchange, record: Record, query: dict[str, str]) -> None:
    """103, and the final response once the request's body has come, which the client sends when it has seen the hints."""
    exchange.interim(103, ("Link", "</a.css>; rel=preload"), ("Link", "</b.js>; rel=preload"))
    _tell(exchange, record, _taken(exchange, record))


def early(exchange: Exchange, record: Record, query: dict[str, str]) -> None:
    """Answers at once, whatever the body."""
    _tell(exchange, record, {"early": True}, status=int(query.get("status", "403")))


def hang(exchange: Exchange, record: Record, query: dict[str, str]) -> None:
    """Takes the request and never answers."""
    _taken(exchange, record)
    exchange.wait_cut()


def abort(exchange: Exchange, record: Record, query: dict[str, str]) -> None:
    """Ends the exchange before the response (`size` absent) or after `size` bytes of its body."""
    _taken(exchange, record)
    if "size" in query:
        exchange.head(200, length=None if "unframed" in query else 2 * int(query["size"]))
        exchange.send(b"x" * int(query["size"]))
        record.go.acquire(timeout=10)
    exchange.abort()


def slow(exchange: Exchange, record: Record, query: dict[str, str]) -> None:
    """Reads 64 KiB of the body, and the rest when it is told to."""
    body = exchange.body()
    sha = hashlib.sha256()
    for piece in body:
        record.received += len(piece)
        sha.update(piece)
        if record.received >= 65_536:
            break
    record.go.acquire(timeout=20)
    for piece in body:
        record.received += len(piece)
        sha.update(piece)
    record.whole = True
    _tell(exchange, record, {"sha256": sha.hexdigest(), "received": record.received})


def drip(exchange: Exchange, record: Record, query: dict[str, str]) -> None:
    """Sends ten pieces, each when it is told to."""
    _taken(exchange, record)
    exchange.head(200)
    for index in range(10):
        record.go.acquire(timeout=10)
        exchange.send(b"piece %d;" % index)
        record.sent += 1
    exchange.finish()
    record.answered = True


SCENARIOS: dict[str, Callable[[Exchange, Record, dict[str, str]], None]] = {
    function.__name__: function for function in (small, empty, down, trailers, hints, early, hang, abort, slow, drip)}


class Polyglot:
    """The program, started and asked by tests."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.process = subprocess.Popen([sys.executable, __file__, str(certificate), str(key)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        cwd=Path(__file__).resolve().parent.parent)
        self.ports: dict[str, int] = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the backend's program has ended"
        return json.loads(line)

    def _ask(self, **what: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what).encode() + b"\n")
        self.process.stdin.flush()
        return self._answer()

    def record(self, name: str) -> dict[str, Any]:
        """What happened to the request of this id."""
        found: dict[str, Any] = self._ask(record=name)
        return found

    def go(self, name: str, count: int = 1) -> None:
        """Lets a waiting request go on."""
        self._ask(go=name, count=count)

    def errors(self) -> list[str]:
        """What peers did against the rules since this was asked last, and mistakes of the program."""
        found: list[str] = self._ask(errors=True)
        return found

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def main() -> None:
    server = Server(*sys.argv[1:3])
    print(json.dumps(server.ports), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        answer: Any = None
        if "record" in asked:
            answer = server.record(asked["record"]).report()
        elif "go" in asked:
            server.record(asked["go"]).go.release(asked["count"])
        elif "errors" in asked:
            answer, server.errors = server.errors, []
        print(json.dumps(answer), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
