"""Every way to end a WebSocket has its code: on the wire, in the access log and in the counters."""

from __future__ import annotations

import json

import pytest

from support.gateway import Gateway
from support.wait import until
from support.websocket import BINARY, CLOSE, PING, TEXT, WebSocket, close, deflated, frame

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"

FAILED = {
    "not masked": (frame(TEXT, "x", masked=False), 1002),
    "RSV1 without extension": (frame(TEXT, "x", reserved=4), 1002),
    "RSV2": (frame(TEXT, "x", reserved=2), 1002),
    "RSV3": (frame(TEXT, "x", reserved=1), 1002),
    "reserved opcode 3": (frame(3), 1002),
    "reserved opcode 11": (frame(11), 1002),
    "ping in pieces": (frame(PING, final=False), 1002),
    "ping of 126 bytes": (frame(PING, b"p" * 126), 1002),
    "close of 126 bytes": (frame(CLOSE, b"\x03\xe8" + b"r" * 124), 1002),
    "length in more bytes than needed": (bytes([0x82, 0xFE, 0, 125]), 1002),
    "length in eight bytes for a short frame": (bytes([0x82, 0xFF]) + (126).to_bytes(8, "big"), 1002),
    "length with the highest bit": (bytes([0x82, 0xFF, 0x80]), 1002),
    "continuation of nothing": (frame(0, "x"), 1002),
    "message within a message": (frame(TEXT, "x", final=False) + frame(TEXT, "y"), 1002),
    "close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "not UTF-8": (frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80"), 1007),
    "not UTF-8, over fragments": (frame(TEXT, b"\xf4", final=False) + frame(0, b"\x90", final=False), 1007),
    "not UTF-8, in a frame that goes on": (frame(TEXT, b"abc\xff" + b"x" * 90_000)[:20], 1007),
    "text that ends within a character": (frame(TEXT, b"\xe2\x82"), 1007),
    "reason that is not UTF-8": (close(1000, b"\xff"), 1007),
}
COMPRESSED = {
    "RSV1 on a continuation": (frame(TEXT, b"", reserved=4, final=False) + frame(0, b"", reserved=4), 1002),
    "RSV1 on a ping": (frame(PING, b"", reserved=4), 1002),
    "not deflated": (frame(BINARY, b"\xff\xff\xff\xff", reserved=4), 1007),
    "inflates to no text": (frame(TEXT, deflated(b"\xff" * 100, 12), reserved=4), 1007),
}
TOKENS = {1002: ("websocket_protocol_error", "protocol_error"), 1007: ("websocket_invalid_data", "invalid_data"),
          1009: ("websocket_message_too_large", "too_big")}


@pytest.fixture
def gateway(launch) -> Gateway:
    return launch(access_log=True, routes=[{"path": "/ws", "echo": {}}], max_ws_message_size=100_000)


def closes(gateway: Gateway) -> dict[str, int]:
    return json.loads(gateway.get("/stats").text)["websockets"]["closes"]


def check(gateway: Gateway, socket: WebSocket, data: bytes, code: int) -> None:
    socket.send(data)
    assert socket.closed_with() == code
    token, counter = TOKENS[code]
    entry = gateway.access_entries()[0]
    assert entry["error.type"] == token and entry["http.response.status_code"] == 101
    until(lambda: closes(gateway)[counter] == 1)


@pytest.mark.parametrize("name", FAILED)
def test_failed(gateway: Gateway, name: str) -> None:
    data, code = FAILED[name]
    with WebSocket(gateway.port) as socket:
        check(gateway, socket, data, code)


@pytest.mark.parametrize("name", COMPRESSED)
def test_failed_with_compression(gateway: Gateway, name: str) -> None:
    data, code = COMPRESSED[name]
    with WebSocket(gateway.port, "/ws", DEFLATE) as socket:
        check(gateway, socket, data, code)


def test_good_messages_before_the_bad_one_are_answered(gateway: Gateway) -> None:
    with WebSocket(gateway.port) as socket:
        socket.send(frame(TEXT, "good") + frame(3))
        assert socket.message() == (TEXT, b"good")
        assert socket.closed_with() == 1002


TOO_LARGE = {
    "in its header": (frame(BINARY, b"x" * 100_001)[:14], []),
    "over fragments": (frame(BINARY, b"x" * 60_000, final=False) + frame(0, b"x" * 40_001)[:10], []),
    "after inflating": (frame(BINARY, deflated(b"\0" * 100_001, 12), reserved=4), [DEFLATE]),
    "far beyond, after inflating": (frame(BINARY, deflated(b"\0" * 50_000_000, 12), reserved=4), [DEFLATE]),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_too_large(gateway: Gateway, name: str) -> None:
    data, lines = TOO_LARGE[name]
    with WebSocket(gateway.port, "/ws", *lines) as socket:
        check(gateway, socket, data, 1009)


def test_as_large_as_may_be(gateway: Gateway) -> None:
    with WebSocket(gateway.port) as socket:
        socket.send(frame(BINARY, b"x" * 100_000))
        assert socket.message() == (BINARY, b"x" * 100_000)


GOOD = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
BAD = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", GOOD)
def test_codes_are_answered_with_themselves(gateway: Gateway, code: int) -> None:
    with WebSocket(gateway.port) as socket:
        socket.send(close(code, "Grüße".encode()) + frame(TEXT, "too late"))
        assert socket.closed_with() == code
    assert "error.type" not in gateway.access_entries()[0]


def test_missing_extension(gateway: Gateway) -> None:
    """Only clients can miss one: a server answers 1000."""
    with WebSocket(gateway.port) as socket:
        socket.send(close(1010))
        assert socket.closed_with() == 1000


@pytest.mark.parametrize("code", BAD)
def test_codes_that_cannot_be_sent(gateway: Gateway, code: int) -> None:
    with WebSocket(gateway.port) as socket:
        socket.send(close(code))
        assert socket.closed_with() == 1002


def test_empty_close(gateway: Gateway) -> None:
    with WebSocket(gateway.port) as socket:
        socket.send(frame(CLOSE))
        assert socket.closed_with() is None
    until(lambda: closes(gateway)["normal"] == 1)


@pytest.mark.parametrize("how", ["reset", "close", "half_close"])
def test_gone_without_a_word(gateway: Gateway, how: str) -> None:
    socket = WebSocket(gateway.port)
    socket.send(frame(TEXT, "begun", final=False))
    getattr(socket.client, how)()
    assert gateway.access_entries()[0]["error.type"] == "client_aborted"
    until(lambda: closes(gateway)["abnormal"] == 1)
    socket.client.close()


def test_the_line_in_the_access_log(gateway: Gateway) -> None:
    with WebSocket(gateway.port, "/ws", "User-Agent: tester") as socket:
        socket.send(frame(TEXT, b"x" * 1000) + close(1000))
        assert socket.closed_with() == 1000
    entry = gateway.access_entries()[0]
    assert (entry["http.response.status_code"], entry["http.route"], entry["user_agent.original"]) == (101, "/ws", "tester")
    assert "error.type" not in entry and "gateway.upstream" not in entry
    assert entry["http.request.size"] > 1016 and entry["http.response.size"] > 1008 and entry["http.response.body.size"] == 1004
