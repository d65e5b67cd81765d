"""A raw HTTP/2 client: says exactly what a scenario wants, frame by frame, and reads strictly.

Header blocks are made of literals without Huffman code, so that any name and value can be said; `hpack` reads the answers.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from dataclasses import dataclass, field
from types import TracebackType

from hpack import Decoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 16
END_STREAM = ACK = 1
END_HEADERS = 4
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, _, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = range(9)
COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = 9, 10, 11

Field = tuple[bytes | str, bytes | str]
Fields = list[tuple[bytes, bytes]]


def octets(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text


def literal(text: bytes | str) -> bytes:
    data = octets(text)
    if len(data) < 127:
        return bytes([len(data)]) + data
    length, rest = bytearray([127]), len(data) - 127
    while rest >= 128:
        length.append(rest & 127 | 128)
        rest >>= 7
    return bytes(length) + bytes([rest]) + data


def block(fields: list[Field]) -> bytes:
    return b"".join(b"\0" + literal(name) + literal(value) for name, value in fields)


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings_frame(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", key, value) for key, value in values.items()))


@dataclass
class Answer:
    """What has come on one stream."""

    stream: int
    interims: list[Fields] = field(default_factory=list)
    fields: Fields | None = None
    body: bytearray = field(default_factory=bytearray)
    trailers: Fields = field(default_factory=list)
    ended: bool = False
    #: Whether END_STREAM stood on the HEADERS frame.
    ended_by_head: bool = False
    #: The error code of RST_STREAM.
    reset: int | None = None
    #: Sizes of DATA frames.
    pieces: list[int] = field(default_factory=list)

    @property
    def status(self) -> int:
        assert self.fields is not None, f"no response on stream {self.stream}; reset: {self.reset}"
        return int(self.header(":status") or 0)

    def header(self, name: str) -> str | None:
        found = self.all(name)
        assert len(found) <= 1, f"{name} stands {len(found)} times"
        return found[0] if found else None

    def all(self, name: str) -> list[str]:
        return [value.decode("latin-1") for key, value in self.fields or [] if key == name.encode()]


class Http2:
    """One connection. Gives windows back as it reads, unless `windows` is false."""

    def __init__(self, port: int, *, settings: dict[int, int] | None = None, windows: bool = True, timeout: float = 10.0,
                 receive_buffer: int | None = None, tls: ssl.SSLContext | None = None, begin: bool = True) -> None:
        raw = socket.socket()
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(timeout)
        raw.connect(("127.0.0.1", port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock: socket.socket = tls.wrap_socket(raw, server_hostname="localhost") if tls else raw
        self.timeout = timeout
        self.windows = windows
        self.decoder = Decoder(max_header_list_size=1 << 20)
        self.buffer = b""
        self.answers: dict[int, Answer] = {}
        self.settings: dict[int, int] = {}
        self.settings_acknowledged = 0
        #: Last stream and error code of each GOAWAY.
        self.goaways: list[tuple[int, int]] = []
        self.pings: list[bytes] = []
        #: Increments of WINDOW_UPDATE by stream.
        self.updates: dict[int, int] = {}
        #: Streams of DATA frames, in order.
        self.order: list[int] = []
        self.closed = False
        self.was_reset = False
        self._next = 1
        self._headers: tuple[int, int, bytes] | None = None
        #: What was promised: fields by stream, and in which answer.
        self.promises: dict[int, list[tuple[bytes, bytes]]] = {}
        self.promised_in: dict[int, int] = {}
        if begin:
            self.send(PREFACE + settings_frame(settings or {}))

    def __enter__(self) -> "Http2":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    # Saying

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def frame(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        self.send(frame(kind, flags, stream, payload))

    def new_stream(self) -> int:
        stream, self._next = self._next, self._next + 2
        return stream

    def headers(self, fields: list[Field], *, end: bool = True, stream: int | None = None) -> int:
        """Sends a header section as it is; returns its stream."""
        stream = stream or self.new_stream()
        self.answers.setdefault(stream, Answer(stream))
        payload = block(fields)
        first, rest = payload[:16_384], payload[16_384:]
        flags = END_STREAM if end else 0
        out = frame(HEADERS, flags | (0 if rest else END_HEADERS), stream, first)
        while rest:
            first, rest = rest[:16_384], rest[16_384:]
            out += frame(CONTINUATION, 0 if rest else END_HEADERS, stream, first)
        self.send(out)
        return stream

    def request(self, method: str = "GET", path: str = "/", *fields: Field, body: bytes | None = None, authority: str = "test",
                end: bool | None = None) -> int:
        """Sends a well-formed request; returns its stream."""
        ends = body is None if end is None else end
        stream = self.headers([(":method", method), (":scheme", "http"), (":path", path), (":authority", authority), *fields], end=ends)
        if body is not None:
            self.data(stream, body)
        return stream

    def data(self, stream: int, body: bytes, *, end: bool = True) -> None:
        """Sends a body in frames of at most 16 KiB, without regard to windows."""
        pieces = [body[start:start + 16_384] for start in range(0, len(body), 16_384)] or [b""]
        self.send(b"".join(frame(DATA, END_STREAM if end and piece is pieces[-1] else 0, stream, piece) for piece in pieces))

    def reset(self, stream: int, code: int = CANCEL) -> None:
        self.frame(RST_STREAM, 0, stream, struct.pack(">I", code))

    def give(self, count: int, *streams: int) -> None:
        """Gives windows back."""
        self.send(b"".join(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", count)) for stream in streams))

    def get(self, path: str = "/", *fields: Field) -> Answer:
        return self.answer(self.request("GET", path, *fields))

    # Hearing

    def answer(self, stream: int) -> Answer:
        """Waits until the stream is over."""
        self.until(lambda: self.answers[stream].ended or self.answers[stream].reset is not None, f"the end of stream {stream}")
        return self.answers[stream]

    def ping(self, data: bytes = b"12345678") -> None:
        """A round trip: everything said before has been dealt with."""
        self.frame(PING, 0, 0, data)
        self.until(lambda: data in self.pings, "a PING's answer")
        self.pings.remove(data)

    def until(self, condition, what: str) -> None:  # type: ignore[no-untyped-def]
        deadline = time.monotonic() + self.timeout
        while not condition():
            assert not self.closed, f"closed while waiting for {what}; GOAWAY: {self.goaways}"
            left = deadline - time.monotonic()
            assert left > 0, f"no {what} within {self.timeout} s"
            self.read(left)

    def until_closed(self) -> None:
        deadline = time.monotonic() + self.timeout
        while not self.closed:
            left = deadline - time.monotonic()
            assert left > 0, f"not closed within {self.timeout} s"
            self.read(left)

    def read(self, timeout: float) -> bool:
        """Reads once and acts on the frames that are complete; false after `timeout` seconds of silence."""
        self.sock.settimeout(timeout)
        try:
            data = self.sock.recv(65_536)
        except TimeoutError:
            return False
        except ConnectionResetError:
            self.closed = self.was_reset = True
            return True
        if not data:
            self.closed = True
            return True
        self.buffer += data
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            head, payload, self.buffer = self.buffer[:9], self.buffer[9:9 + length], self.buffer[9 + length:]
            self._act(head[3], head[4], int.from_bytes(head[5:9], "big"), payload)
        return True

    def drain(self, silence: float = 0.2) -> None:
        """Reads until nothing comes for a while."""
        while not self.closed and self.read(silence):
            pass

    def _act(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._headers is not None:
            assert kind == CONTINUATION and stream == self._headers[0], "a header section is interrupted"
        if kind == DATA:
            answer = self.answers[stream]
            assert answer.fields is not None and not answer.ended, "DATA out of place"
            answer.body += payload
            answer.pieces.append(len(payload))
            answer.ended = bool(flags & END_STREAM)
            self.order.append(stream)
            if self.windows and payload:
                self.give(len(payload), *([0] if answer.ended else [0, stream]))
        elif kind == HEADERS:
            self._headers = (stream, flags, payload)
            if flags & END_HEADERS:
                self._section()
        elif kind == CONTINUATION:
            assert self._headers is not None
            self._headers = (stream, self._headers[1] | flags, self._headers[2] + payload)
            if flags & END_HEADERS:
                self._section()
        elif kind == RST_STREAM:
            self.answers.setdefault(stream, Answer(stream)).reset = int.from_bytes(payload, "big")
        elif kind == SETTINGS:
            if flags & ACK:
                self.settings_acknowledged += 1
            else:
                for start in range(0, len(payload), 6):
                    key, value = struct.unpack(">HI", payload[start:start + 6])
                    self.settings[key] = value
                self.frame(SETTINGS, ACK)
        elif kind == PUSH_PROMISE:
            assert flags & END_HEADERS and self.answers[stream].fields is None, "a promise behind the head"
            promised = int.from_bytes(payload[:4], "big")
            assert promised % 2 == 0 and promised > max(self.promises, default=0)
            self.promises[promised] = [(octets(name), octets(value)) for name, value in self.decoder.decode(payload[4:], raw=True)]
            self.promised_in[promised] = stream
            self.answers[promised] = Answer(promised)
        elif kind == PING:
            if flags & ACK:
                self.pings.append(payload)
            else:
                self.frame(PING, ACK, 0, payload)
        elif kind == GOAWAY:
            self.goaways.append((int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")))
        elif kind == WINDOW_UPDATE:
            self.updates[stream] = self.updates.get(stream, 0) + int.from_bytes(payload, "big")
        else:
            raise AssertionError(f"a frame of type {kind}")

    def _section(self) -> None:
        assert self._headers is not None
        stream, flags, payload = self._headers
        self._headers = None
        fields = [(octets(name), octets(value)) for name, value in self.decoder.decode(payload, raw=True)]
        assert all(name == name.lower() for name, _ in fields), f"upper case in {fields}"
        answer = self.answers[stream]
        assert not answer.ended
        if answer.fields is not None:
            assert flags & END_STREAM
            answer.trailers = fields
        elif fields[0][0] == b":status" and fields[0][1].startswith(b"1"):
            answer.interims.append(fields)
        else:
            assert fields[0][0] == b":status"
            for name in (b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"proxy-connection"):
                assert name not in [key for key, _ in fields], f"{name!r} in an HTTP/2 response"
            answer.fields = fields
            answer.ended_by_head = bool(flags & END_STREAM)
        answer.ended = bool(flags & END_STREAM)
