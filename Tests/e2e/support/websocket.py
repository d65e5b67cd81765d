"""WebSockets: a raw client that sends exact bytes and checks every frame, and a backend made of the `websockets` library."""

from __future__ import annotations

import base64
import hashlib
import socket as sockets
import struct
import threading
import zlib
from collections.abc import Callable
from typing import Any

from websockets.sync.server import Server, ServerConnection, serve

from .client import Client, request
from .configuration import upstream
from .message import Response, read_head

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")



def accept_of(key: str = KEY) -> str:
    """What proves that a server has read `key` (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def frame(opcode: int, payload: bytes | str = b"", *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """A frame, as a client sends it unless told otherwise. `reserved`: the three bits, RSV1 = 4."""
    data = payload.encode() if isinstance(payload, str) else payload
    mask = 0x80 if masked else 0
    head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    if len(data) < 126:
        head += bytes([len(data) | mask])
    elif len(data) < 65536:
        head += bytes([126 | mask]) + struct.pack(">H", len(data))
    else:
        head += bytes([127 | mask]) + struct.pack(">Q", len(data))
    if not masked:
        return head + data
    key = b"\x37\xfa\x21\x3d"
    whole = (key * (len(data) // 4 + 1))[: len(data)]
    return head + key + (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(len(data), "big")


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack(">H", code) + reason)


def deflated(data: bytes, bits: int = 15) -> bytes:
    """One message's payload, compressed without a kept window (RFC 7692 §7.2.1)."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, -bits)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


class WebSocket:
    """One connection; the constructor does the handshake and checks it."""

    def __init__(self, port: int, path: str = "/ws", *lines: str, behind: bytes = b"", timeout: float = 10, **options: Any) -> None:
        self.client = Client(port, timeout=timeout, **options)
        self.client.send(request("GET", path, *HANDSHAKE, *lines) + behind)
        self.response: Response = read_head(self.client.reader)
        assert self.response.status == 101, self.response
        assert self.response.header("sec-websocket-accept") == accept_of()
        assert self.response.header("upgrade") == "websocket" and "upgrade" in self.response.header("connection").lower()

    def __enter__(self) -> "WebSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def send(self, data: bytes) -> None:
        self.client.send(data)

    def frame(self) -> tuple[int, bytes, bool]:
        """The next frame: opcode, payload, and whether it is the last of its message."""
        reader = self.client.reader
        first, second = reader.exactly(2)
        assert second & 0x80 == 0, "a server masks nothing (RFC 6455 §5.1)"
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", reader.exactly(2))
            assert length >= 126
        elif length == 127:
            (length,) = struct.unpack(">Q", reader.exactly(8))
            assert length >= 65536
        self.compressed = bool(first & 0x40)
        return first & 15, reader.exactly(length), bool(first & 0x80)

    def message(self) -> tuple[int, bytes]:
        """The next whole message, or control frame."""
        opcode, payload, final = self.frame()
        compressed = self.compressed
        while not final:
            following, part, final = self.frame()
            assert following == 0
            payload += part
        if compressed:
            inflater = zlib.decompressobj(-15)
            payload = inflater.decompress(payload + b"\x00\x00\xff\xff")
        return opcode, payload

    def closed_with(self) -> int | None:
        """Reads up to the Close frame and the end of the connection; the code, None for an empty Close, 1006 for none at all."""
        code: int | None = 1006
        reader = self.client.reader
        while reader.buffer or reader.fill():
            opcode, payload, _ = self.frame()
            if opcode == CLOSE:
                code = struct.unpack(">H", payload[:2])[0] if payload else None
        return code


class WebSocketBackend:
    """A server of the `websockets` library in a thread. `handler` is called for each connection; the default echoes."""

    def __init__(self, handler: Callable[[ServerConnection], None] | None = None, **options: Any) -> None:
        self.connections: list[ServerConnection] = []
        self.handler = handler or self.echo
        self.server: Server = serve(self._handle, "127.0.0.1", 0, **{"max_size": None, "ping_interval": None, **options})
        self.port: int = self.server.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def _handle(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        self.handler(connection)

    @staticmethod
    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join(5)


SWITCH = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_of()}\r\n"


class RawTunnel:
    """A backend's end of one tunnel, by hand."""

    def __init__(self, launch: Callable[..., Any], behind: bytes = b"", early: bytes = b"", **keys: Any) -> None:
        self.listener = sockets.create_server(("127.0.0.1", 0))
        self.gateway = launch(access_log=True, upstreams=[upstream(self.listener.getsockname()[1], "/ws")], **keys)
        self.client = Client(self.gateway.port)
        self.client.send(request("GET", "/ws", *HANDSHAKE) + early)
        self.backend, _ = self.listener.accept()
        self.backend.settimeout(5)
        self.head = b""
        while b"\r\n\r\n" not in self.head:
            self.head += self.backend.recv(65536)
        self.backend.sendall((SWITCH + "X-Extra: kept\r\n\r\n").encode() + behind)
        self.response = self.client.read_head()
        assert self.response.status == 101

    def __enter__(self) -> "RawTunnel":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.backend.close()
        self.listener.close()

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count and (part := self.backend.recv(count - len(data))):
            data += part
        return data
