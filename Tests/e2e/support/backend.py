"""A backend that records exactly what it is sent and answers as a scenario tells it to.

Every connection has a thread. For each request head that arrives, `answer(connection, request)` is called; it reads the
body if it wants it and sends whatever bytes it likes. A scenario that needs the connection itself sets `on_connection`.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .message import Closed, Fields, Malformed, Reader, parse_fields, read_chunks, values
from .wait import until


@dataclass
class Request:
    """A request as it came."""

    #: The head's bytes, with the empty line.
    raw: bytes
    connection: "Connection"
    method: str = ""
    target: str = ""
    version: str = ""
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    #: Whether the body was read to its end.
    complete: bool = False

    def header(self, name: str) -> str | None:
        found = values(self.fields, name)
        assert len(found) <= 1, f"{name} stands {len(found)} times: {found}"
        return found[0] if found else None

    def all(self, name: str) -> list[str]:
        return values(self.fields, name)

    @property
    def names(self) -> list[str]:
        """Field names in order, lower case."""
        return [name.decode().lower() for name, _ in self.fields]


class Connection:
    """One connection that the gateway made."""

    def __init__(self, sock: socket.socket, index: int) -> None:
        self.sock = sock
        self.index = index
        self.reader = Reader(sock)
        self.requests: list[Request] = []
        #: Whether this side has closed it.
        self.closed = False
        #: Set when the peer's end was seen.
        self.ended = threading.Event()
        #: Whether the peer ended it with RST.
        self.was_reset = False

    def read_head(self) -> Request:
        raw = self.reader.until(b"\r\n\r\n")
        line, _, block = raw.partition(b"\r\n")
        parts = line.decode("latin-1").split(" ")
        if len(parts) != 3:
            raise Malformed(f"request line {line!r}")
        return Request(raw, self, parts[0], parts[1], parts[2], parse_fields(block))

    def read_body(self, request: Request) -> bytes:
        """Reads the body and keeps it in the request."""
        if request.complete:
            return request.body
        if request.header("transfer-encoding") is not None:
            request.body, request.trailers = read_chunks(self.reader)
        else:
            request.body = self.reader.exactly(int(request.header("content-length") or 0))
        request.complete = True
        return request.body

    def send(self, data: bytes | str) -> None:
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def close(self) -> None:
        self.closed = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def reset(self) -> None:
        """Closes with RST."""
        self.closed = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_end(self, timeout: float = 5.0) -> bool:
        """Reads and drops until the peer ends the connection; false if it does not within `timeout` seconds."""
        self.sock.settimeout(timeout)
        try:
            while self.reader.some(65_536):
                pass
        except ConnectionResetError:
            self.was_reset = True
        except TimeoutError:
            return False
        self.ended.set()
        return True


Answer = Callable[[Connection, Request], None]


class Backend:
    """Listens on a loopback address until `stop`."""

    def __init__(self, answer: Answer | None = None, host: str = "127.0.0.1", port: int = 0, backlog: int = 512,
                 receive_buffer: int | None = None) -> None:
        self.answer: Answer = answer or reply(body=b"hello from the backend")
        self.on_connection: Callable[[Connection], None] | None = None
        self.requests: list[Request] = []
        self.connections: list[Connection] = []
        #: What went wrong in the threads of connections, beside the peer's going away.
        self.errors: list[BaseException] = []
        self.listener = self._listen(host, port, receive_buffer)
        self.listener.listen(backlog)
        self.host = host
        self.port: int = self.listener.getsockname()[1] if self.listener.family != socket.AF_UNIX else 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _listen(self, host: str, port: int, receive_buffer: int | None) -> socket.socket:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        listener.bind((host, port))
        return listener

    def stop(self) -> None:
        self.stop_listening()
        for connection in self.connections:
            connection.close()

    def stop_listening(self) -> None:
        """From now on connections are refused."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def wait_requests(self, count: int = 1, timeout: float = 5.0) -> Request:
        """Waits until `count` request heads have come and returns the last of these."""
        until(lambda: len(self.requests) >= count, timeout, f"{count} requests at the backend")
        return self.requests[count - 1]

    def wait_connections(self, count: int = 1, timeout: float = 5.0) -> Connection:
        until(lambda: len(self.connections) >= count, timeout, f"{count} connections at the backend")
        return self.connections[count - 1]

    @property
    def last(self) -> Request:
        return self.requests[-1]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock, len(self.connections))
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        try:
            if self.on_connection is not None:
                self.on_connection(connection)
                return
            while not connection.closed:
                request = connection.read_head()
                connection.requests.append(request)
                self.requests.append(request)
                self.answer(connection, request)
        except (Closed, BrokenPipeError):
            pass
        except ConnectionResetError:
            connection.was_reset = True
        except OSError as error:
            if not connection.closed:
                self.errors.append(error)
        except Exception as error:  # kept for the report of the scenario
            self.errors.append(error)
        finally:
            connection.ended.set()
            if not connection.closed:
                connection.close()


# What a backend may do with a request.


def head(status: int = 200, *lines: str, reason: str = "OK", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join([f"{version} {status} {reason}", *lines, "", ""]).encode("latin-1")


def reply(status: int = 200, *lines: str, body: bytes = b"", reason: str = "OK") -> Answer:
    """Reads the request, then answers with `Content-Length`."""

    def answer(connection: Connection, request: Request) -> None:
        connection.read_body(request)
        framing = () if status in (204, 304) else (f"Content-Length: {len(body)}",)
        connection.send(head(status, *lines, *framing, reason=reason) + (b"" if request.method == "HEAD" else body))

    return answer


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def reply_chunked(pieces: Iterable[bytes], *lines: str, trailers: Iterable[str] = (), pause: float = 0) -> Answer:
    """Answers with one chunk per piece, `pause` seconds apart, then the trailers."""
    kept = list(pieces)
    end = b"0\r\n" + "".join(line + "\r\n" for line in trailers).encode() + b"\r\n"

    def answer(connection: Connection, request: Request) -> None:
        connection.read_body(request)
        connection.send(head(200, "Transfer-Encoding: chunked", *lines))
        for piece in kept:
            connection.send(chunk(piece))
            time.sleep(pause)
        connection.send(end)

    return answer


def raw(data: bytes | str, then: str = "close") -> Answer:
    """Reads the request, sends exactly `data`, and then: `keep`, `close`, `reset` or `hang` (until the peer ends)."""

    def answer(connection: Connection, request: Request) -> None:
        connection.read_body(request)
        if data:
            connection.send(data)
        finish(connection, then)

    return answer


def finish(connection: Connection, then: str) -> None:
    if then == "close":
        connection.close()
    elif then == "reset":
        time.sleep(0.05)  # lets the bytes before it arrive; RST overtakes what is queued
        connection.reset()
    elif then == "hang":
        connection.wait_end(60)
        connection.close()


def hang(connection: Connection, request: Request) -> None:
    """Reads the request and never answers."""
    connection.read_body(request)
    finish(connection, "hang")


def close(connection: Connection, request: Request) -> None:
    """Reads the request and closes without an answer."""
    connection.read_body(request)
    connection.close()


def in_turn(*answers: Answer) -> Answer:
    """The first request gets the first answer, and so on; the last one is repeated."""
    lock, count = threading.Lock(), 0

    def answer(connection: Connection, request: Request) -> None:
        nonlocal count
        with lock:
            chosen = answers[min(count, len(answers) - 1)]
            count += 1
        chosen(connection, request)

    return answer


def unused_endpoint() -> tuple[socket.socket, int]:
    """A port that refuses connections for as long as the socket is kept."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, sock.getsockname()[1]


def full_endpoint() -> tuple[list[socket.socket], int]:
    """A port whose accept queue is full: further connections are neither accepted nor refused."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    kept = [listener]
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        kept.append(filler)
    time.sleep(0.1)
    return kept, port
