"""Frames that cost their sender nothing: cut off with ENHANCE_YOUR_CALM, named in the log, counted."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import pytest

from support.backend import Backend, hang
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.http2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PING, PRIORITY, PRIORITY_UPDATE, RST_STREAM, SETTINGS,
                           WINDOW_UPDATE, Http2, block, frame)
from support.wait import until

GET = block([(":method", "GET"), (":scheme", "http"), (":path", "/api"), (":authority", "a")])


def rapid_reset(number: int) -> bytes:
    stream = 2 * number + 1
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, GET) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))


def reset_by_mistake(number: int) -> bytes:
    """Malformed requests make the gateway reset streams itself."""
    return frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, GET + block([("connection", "x")]))


def empty_data(number: int) -> bytes:
    return frame(HEADERS, END_HEADERS, 1, GET) if number == 0 else frame(DATA, 0, 1)


def continuations(number: int) -> bytes:
    return frame(HEADERS, END_STREAM, 1, GET) if number == 0 else frame(CONTINUATION, 0, 1, block([("x", "y")]))


FLOODS: dict[str, tuple[Callable[[int], bytes], str, str]] = {
    "rapid reset": (rapid_reset, "max_resets", "http2_rapid_reset"),
    "resets by mistake": (reset_by_mistake, "max_resets", "http2_rapid_reset"),
    "settings": (lambda _: frame(SETTINGS), "max_settings", "http2_settings_flood"),
    "pings": (lambda _: frame(PING, 0, 0, b"12345678"), "max_pings", "http2_ping_flood"),
    "empty data": (empty_data, "max_empty_frames", "http2_empty_frame_flood"),
    "window updates": (lambda _: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)), "max_window_updates", "http2_window_update_flood"),
    "priority": (lambda _: frame(PRIORITY, 0, 1, bytes([0, 0, 0, 0, 1])), "max_priorities", "http2_priority_flood"),
    "priority update": (lambda _: frame(PRIORITY_UPDATE, 0, 0, bytes([0, 0, 0, 1]) + b"u=1"), "max_priorities", "http2_priority_flood"),
    "continuations": (continuations, "max_continuations", "http2_continuation_flood"),
}

LIMIT = 30


def until_cut_off(client: Http2, flood: Callable[[int], bytes], most: int) -> int:
    """Sends frames until the connection ends; returns how many went out."""
    for number in range(most):
        try:
            client.send(flood(number))
        except OSError:
            return number
        if client.goaways or client.closed:
            return number
        client.read(0.002)
    return most


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_cut_off(launch, backend: Backend, name: str) -> None:  # type: ignore[no-untyped-def]
    flood, key, token = FLOODS[name]
    backend.answer = hang
    gateway: Gateway = launch(routes=[respond("/ok")], upstreams=[upstream(backend.port)], http2={"flood": {key: LIMIT}})
    with Http2(gateway.port) as client:
        client.ping()
        for stream in range(1, 2 * 400, 2):
            client.answers.setdefault(stream, __import__("support.http2", fromlist=["Answer"]).Answer(stream))
        sent = until_cut_off(client, flood, 300)
        client.until_closed()
        assert LIMIT - 2 <= sent < 300
        assert client.goaways and client.goaways[-1][1] == ENHANCE_YOUR_CALM
    until(lambda: token in gateway.log, what=f"{token} in the log")
    with Http2(gateway.port) as other:
        assert json.loads(other.get("/stats").body)["faults"][token] == 1
        assert other.get("/ok").status == 200


@pytest.mark.parametrize("name", [name for name in FLOODS if name != "continuations"])
def test_without_a_limit_there_is_none(launch, backend: Backend, name: str) -> None:  # type: ignore[no-untyped-def]
    flood, key, _ = FLOODS[name]
    gateway: Gateway = launch(routes=[respond("/ok")], upstreams=[upstream(backend.port)], http2={"flood": {key: 0}})
    with Http2(gateway.port) as client:
        for stream in range(1, 2 * 700, 2):
            client.answers.setdefault(stream, __import__("support.http2", fromlist=["Answer"]).Answer(stream))
        assert until_cut_off(client, flood, 200) == 200
        client._next = 2001
        assert client.get("/ok").status == 200


def test_rapid_reset_leaves_no_requests_behind(launch, backend: Backend) -> None:  # type: ignore[no-untyped-def]
    backend.answer = hang
    gateway: Gateway = launch(routes=[respond("/ok")], upstreams=[upstream(backend.port, pool={"max_connections": 4})])
    for _ in range(3):
        with Http2(gateway.port) as client:
            until_cut_off(client, rapid_reset, 150)
    with Http2(gateway.port) as client:
        until(lambda: json.loads(client.get("/stats").body)["http2"]["streams_active"] == 1, what="no streams left")
        stats = json.loads(client.get("/stats").body)
        assert stats["requests"]["active"] == 0 and stats["upstream_connections"]["waiting"] == 0
        assert stats["http2"]["resets_received"] >= 100


def test_headers_that_unpack_to_much(gateway_for_bombs: Gateway) -> None:
    """A field of the header table, named again and again."""
    with Http2(gateway_for_bombs.port) as client:
        big = b"\x40" + b"\x01x" + bytes([127, 0xa1, 0x1f - 1]) + b"v" * (127 + 0x21 + 0x1e * 128)
        # Enters the table, then 16,000 references to it.
        client.answers[1] = __import__("support.http2", fromlist=["Answer"]).Answer(1)
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, GET + big + b"\xbe" * 12_000))
        answer = client.answer(1)
        assert answer.reset == ENHANCE_YOUR_CALM
        client._next = 3
        assert client.get("/ok").status == 200


@pytest.fixture
def gateway_for_bombs(launch) -> Gateway:  # type: ignore[no-untyped-def]
    return launch(routes=[respond("/ok")])
