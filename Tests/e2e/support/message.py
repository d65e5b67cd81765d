"""Reading HTTP/1.1 messages strictly: whatever a conforming peer could misread fails the test."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

Fields = list[tuple[bytes, bytes]]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) ([\t \x21-\x7e\x80-\xff]*)")


class Malformed(Exception):
    """The peer sent something that is not HTTP/1.1."""


class Closed(Exception):
    """The peer closed the connection; `received` holds what it had sent of the present message."""

    def __init__(self, received: bytes = b"") -> None:
        super().__init__(f"closed after {received[:200]!r}")
        self.received = received


class Reader:
    """Buffered reading from a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray()

    def fill(self) -> bool:
        """Reads once; false at the end of the stream."""
        data = self.sock.recv(262_144)
        self.buffer += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        """Bytes up to and including `mark`."""
        start = 0
        while (end := self.buffer.find(mark, start)) < 0:
            start = max(0, len(self.buffer) - len(mark) + 1)
            if not self.fill():
                raise Closed(bytes(self.buffer))
        return self.take(end + len(mark))

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if not self.fill():
                raise Closed(bytes(self.buffer))
        return self.take(count)

    def some(self, limit: int) -> bytes:
        """At least one byte and at most `limit`; empty at the end of the stream."""
        if not self.buffer and not self.fill():
            return b""
        return self.take(min(limit, len(self.buffer)))

    def to_end(self) -> bytes:
        while self.fill():
            pass
        return self.take(len(self.buffer))

    def take(self, count: int) -> bytes:
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data


def parse_fields(block: bytes) -> Fields:
    """The fields of `block`, which ends with an empty line."""
    fields: Fields = []
    for line in block.split(b"\r\n"):
        if not line:
            continue
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or b"\n" in value or b"\r" in value or b"\0" in value:
            raise Malformed(f"field line {line!r}")
        fields.append((name, value.strip(b" \t")))
    return fields


def values(fields: Fields, name: str) -> list[str]:
    """All values of `name`, in order."""
    wanted = name.lower().encode()
    return [value.decode("latin-1") for key, value in fields if key.lower() == wanted]


def read_chunks(reader: Reader) -> tuple[bytes, Fields]:
    """A chunked body and its trailers."""
    body = bytearray()
    while True:
        line = reader.until(b"\r\n")[:-2]
        size = line.split(b";")[0]
        if not re.fullmatch(rb"[0-9A-Fa-f]+", size):
            raise Malformed(f"chunk size {line!r}")
        if int(size, 16) == 0:
            break
        body += reader.exactly(int(size, 16))
        if reader.exactly(2) != b"\r\n":
            raise Malformed("no CRLF after chunk data")
    trailers = b""
    while (line := reader.until(b"\r\n")) != b"\r\n":
        trailers += line
    return bytes(body), parse_fields(trailers)


def pieces(reader: Reader, fields: Fields, trailers: Fields, to_end: bool = False) -> Iterator[bytes]:
    """A body as it comes, framed as `fields` say; its trailers are put into `trailers`. Without framing there is none, or it ends with
    the connection."""
    coding, length = values(fields, "transfer-encoding"), values(fields, "content-length")
    if coding and length:
        raise Malformed("Content-Length beside Transfer-Encoding")
    if coding:
        if [one.lower() for one in coding] != ["chunked"]:
            raise Malformed(f"Transfer-Encoding {coding}")
        while True:
            size = reader.until(b"\r\n")[:-2].split(b";")[0]
            if not re.fullmatch(rb"[0-9A-Fa-f]+", size):
                raise Malformed(f"chunk size {size!r}")
            left = int(size, 16)
            if left == 0:
                break
            yield from _counted(reader, left)
            if reader.exactly(2) != b"\r\n":
                raise Malformed("no CRLF after chunk data")
        block = b""
        while (line := reader.until(b"\r\n")) != b"\r\n":
            block += line
        trailers += parse_fields(block)
    elif length:
        if len(length) != 1 or not length[0].isdigit():
            raise Malformed(f"Content-Length {length}")
        yield from _counted(reader, int(length[0]))
    elif to_end:
        while piece := reader.some(1 << 18):
            yield piece


def _counted(reader: Reader, left: int) -> Iterator[bytes]:
    while left:
        piece = reader.some(min(left, 1 << 18))
        if not piece:
            raise Closed()
        left -= len(piece)
        yield piece


@dataclass
class Response:
    minor: int
    status: int
    reason: str
    fields: Fields
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    #: 1xx responses that came before.
    interim: list["Response"] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """The value of a field that may be there once."""
        found = values(self.fields, name)
        assert len(found) <= 1, f"{name} stands {len(found)} times: {found}"
        return found[0] if found else None

    def all(self, name: str) -> list[str]:
        return values(self.fields, name)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def closes(self) -> bool:
        """Whether the sender says that it will close the connection."""
        options = ",".join(self.all("connection")).lower()
        return "close" in options or (self.minor == 0 and "keep-alive" not in options)


def read_head(reader: Reader) -> Response:
    """Status line and fields."""
    status_line = reader.until(b"\r\n")[:-2]
    match = _STATUS_LINE.fullmatch(status_line)
    if not match:
        raise Malformed(f"status line {status_line!r}")
    block = b""
    while (line := reader.until(b"\r\n")) != b"\r\n":
        block += line
    return Response(int(match[1]), int(match[2]), match[3].decode("latin-1"), parse_fields(block))


def read_response(reader: Reader, method: str = "GET") -> Response:
    """One final response to a request with `method`, after any interim ones."""
    interim: list[Response] = []
    while (head := read_head(reader)).status < 200 and head.status != 101:
        assert not head.all("content-length") and not head.all("transfer-encoding"), "framing in a 1xx response"
        interim.append(head)
    head.interim = interim
    coding, length = head.header("transfer-encoding"), head.header("content-length")
    if coding is not None and length is not None:
        raise Malformed("Content-Length beside Transfer-Encoding")
    if method == "HEAD" or head.status in (204, 304):
        if head.status == 204 and (coding or length):
            raise Malformed("framing in a 204 response")
    elif coding is not None:
        if coding.lower() != "chunked" or head.minor == 0:
            raise Malformed(f"Transfer-Encoding {coding} in HTTP/1.{head.minor}")
        head.body, head.trailers = read_chunks(reader)
    elif length is not None:
        head.body = reader.exactly(int(length))
    else:
        if not head.closes:
            raise Malformed("a body without end on a connection that stays open")
        head.body = reader.to_end()
    return head
