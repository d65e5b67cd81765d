"""Messages come back as they were sent, whatever their frames, their size and their compression."""

from __future__ import annotations

import os
import zlib

import pytest
from websockets.sync.client import connect

from support.gateway import Gateway
from support.websocket import BINARY, PING, PONG, TEXT, WebSocket, deflated, frame

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70_000, 1 << 20]


@pytest.fixture(scope="module")
def gateway(launch_shared) -> Gateway:
    return launch_shared(routes=[{"path": "/ws", "echo": {}}, {"path": "/wide", "echo": {"window_bits": 15}}, {"path": "/forgetful", "echo": {"context_takeover": False}}])


@pytest.mark.parametrize("size", SIZES)
def test_sizes(gateway: Gateway, size: int) -> None:
    data = os.urandom(size)
    with WebSocket(gateway.port) as socket:
        socket.send(frame(BINARY, data))
        assert socket.message() == (BINARY, data)


@pytest.mark.parametrize("path", ["/ws", "/wide", "/forgetful"])
@pytest.mark.parametrize("compression", ["deflate", None])
def test_independent_client(gateway: Gateway, path: str, compression: str | None) -> None:
    with connect(f"ws://127.0.0.1:{gateway.port}{path}", compression=compression, max_size=None) as socket:
        for message in ["", "hello", "grüße ❤ 😀" * 1000, b"", os.urandom(300_000), b"\0" * 2_000_000, "text " * 200_000]:
            socket.send(message)
            assert socket.recv() == message
        socket.send(["in ", "several ", "pieces"])
        assert socket.recv() == "in several pieces"
        for _ in range(200):
            socket.send("again and again and again and again and again")
        for _ in range(200):
            assert socket.recv() == "again and again and again and again and again"
        assert socket.ping(b"are you there").wait(5)
    assert socket.close_code == 1000


def test_byte_by_byte(gateway: Gateway) -> None:
    with WebSocket(gateway.port) as socket:
        for byte in frame(TEXT, "slowly") + frame(PING, "p") + frame(TEXT, "x", final=False) + frame(0, "y"):
            socket.send(bytes([byte]))
        assert socket.message() == (TEXT, b"slowly")
        assert socket.message() == (PONG, b"p")
        assert socket.message() == (TEXT, b"xy")


def test_control_frames_within_a_message(gateway: Gateway) -> None:
    with WebSocket(gateway.port) as socket:
        socket.send(frame(TEXT, "one ", final=False) + frame(PING, b"\xff" * 125) + frame(PONG, "nobody asked") + frame(0, "two"))
        assert socket.message() == (PONG, b"\xff" * 125)
        assert socket.message() == (TEXT, b"one two")


def test_many_in_one_piece(gateway: Gateway) -> None:
    with WebSocket(gateway.port) as socket:
        socket.send(b"".join(frame(TEXT, f"message {number}") for number in range(5000)))
        for number in range(5000):
            assert socket.message() == (TEXT, f"message {number}".encode())


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_compressed_fragments(gateway: Gateway, pieces: int) -> None:
    text = "fragments of a compressed message " * 300
    payload = deflated(text.encode(), 12)
    size = -(-len(payload) // pieces)
    parts = [payload[start:start + size] for start in range(0, len(payload), size)]
    with WebSocket(gateway.port, "/ws", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits") as socket:
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            socket.send(frame(TEXT if index == 0 else 0, part, final=last, reserved=4 if index == 0 else 0))
            if not last:
                socket.send(frame(PING, "between"))
                assert socket.message() == (PONG, b"between")
        assert socket.message() == (TEXT, text.encode())


def test_the_window_is_kept(gateway: Gateway) -> None:
    """The second of two equal messages refers to the first, both ways."""
    text = os.urandom(500).hex().encode()
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    inflater = zlib.decompressobj(-15)
    sizes = []
    with WebSocket(gateway.port, "/wide", "Sec-WebSocket-Extensions: permessage-deflate") as socket:
        for _ in range(2):
            socket.send(frame(TEXT, (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4], reserved=4))
            opcode, payload, final = socket.frame()
            assert opcode == TEXT and final and socket.compressed
            assert inflater.decompress(payload + b"\0\0\xff\xff") == text
            sizes.append(len(payload))
    assert sizes[1] < sizes[0] / 10


def test_short_messages_are_not_compressed(gateway: Gateway) -> None:
    with WebSocket(gateway.port, "/ws", "Sec-WebSocket-Extensions: permessage-deflate") as socket:
        socket.send(frame(TEXT, deflated(b"short", 12), reserved=4))
        assert socket.message() == (TEXT, b"short") and not socket.compressed
