"""A raw client: sends exact bytes and reads strictly."""

from __future__ import annotations

import socket
import struct
from types import TracebackType

from .message import Closed, Reader, Response, read_head, read_response


class Client:
    """One connection."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout: float = 10.0, source: str | None = None,
                 receive_buffer: int | None = None) -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            self.sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            self.sock.bind((source, 0))
        self.sock.settimeout(timeout)
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader(self.sock)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def send(self, data: bytes | str) -> None:
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def read(self, method: str = "GET") -> Response:
        return read_response(self.reader, method)

    def read_head(self) -> Response:
        """A response's head alone, as before bytes of another protocol."""
        return read_head(self.reader)

    def request(self, method: str = "GET", path: str = "/", *lines: str, body: bytes = b"") -> Response:
        """Sends a request and reads its response."""
        self.send(request(method, path, *lines, body=body))
        return self.read(method)

    def half_close(self) -> None:
        """Says that nothing more will be sent."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Closes with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def at_end(self, timeout: float = 5.0) -> bool:
        """Whether the peer closes within `timeout` seconds without sending another byte."""
        self.sock.settimeout(timeout)
        try:
            return self.reader.some(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def silent(self, duration: float) -> bool:
        """Whether the peer neither sends nor closes for `duration` seconds."""
        if self.reader.buffer:
            return False
        before = self.sock.gettimeout()
        self.sock.settimeout(duration)
        try:
            self.reader.fill()
            return False
        except TimeoutError:
            return True
        except ConnectionResetError:
            return False
        finally:
            self.sock.settimeout(before)

    def close(self) -> None:
        self.sock.close()


def request(method: str = "GET", path: str = "/", *lines: str, body: bytes = b"", host: str = "test") -> bytes:
    """A well-formed HTTP/1.1 request; `Content-Length` is added when there is a body and no line frames it."""
    names = [line.split(":")[0].lower() for line in lines]
    head = [f"{method} {path} HTTP/1.1"]
    if "host" not in names:
        head.append(f"Host: {host}")
    head += lines
    if body and "content-length" not in names and "transfer-encoding" not in names:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


def send_raw(port: int, data: bytes | str, method: str = "GET") -> Response:
    """Sends `data` on a new connection and reads one response."""
    with Client(port) as client:
        client.send(data)
        return client.read(method)


def get(port: int, path: str = "/", *lines: str) -> Response:
    """One GET on a new connection."""
    with Client(port) as client:
        return client.request("GET", path, "Connection: close", *lines)


__all__ = ["Client", "Closed", "get", "request", "send_raw"]
