"""Windows are given back as bodies are passed on, and nothing piles up behind a slow side."""

from __future__ import annotations

import json
import time

import pytest

from support import proc
from support.backend import Backend, Connection, Request, head, reply
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.http2 import CANCEL, ENHANCE_YOUR_CALM, Http2
from support.wait import until

MIB = 1 << 20


def endless(size: int):  # type: ignore[no-untyped-def]
    def answer(connection: Connection, request: Request) -> None:
        connection.send(head(200, f"Content-Length: {size}"))
        piece, left = b"x" * 65_536, size
        while left > 0:
            connection.send(piece[:left])
            left -= len(piece)

    return answer


def resident(gateway: Gateway) -> int:
    """Bytes that the worker has in memory."""
    with open(f"/proc/{gateway.worker}/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.fixture
def gateway(launch, backend: Backend) -> Gateway:  # type: ignore[no-untyped-def]
    return launch(routes=[respond("/local")], upstreams=[upstream(backend.port), upstream(backend.port, "/buffered", "buffered", request_mode="buffered")],
                  max_body_size=64 * MIB, send_timeout_sec="1s")


def test_large_bodies_both_ways(gateway: Gateway, backend: Backend) -> None:
    body = bytes(range(256)) * (8 * MIB // 256)
    backend.answer = lambda connection, request: reply(body=connection.read_body(request))(connection, request)
    with Http2(gateway.port, settings={4: MIB}) as client:
        client.give(8 * MIB, 0)
        stream = client.request("POST", "/api", end=False)
        left = memoryview(body)
        # As the windows allow.
        while left:
            allowed = min(65_535 + client.updates.get(stream, 0), MIB - 65_535 + client.updates.get(0, 0) - (MIB - 65_535) + 65_535)
            room = allowed - (len(body) - len(left))
            if room <= 0:
                client.read(5)
                continue
            client.data(stream, bytes(left[:room]), end=room >= len(left))
            left = left[room:]
        answer = client.answer(stream)
        assert answer.status == 200 and answer.body == body
        assert backend.last.body == body


def test_a_slow_client_costs_no_memory(gateway: Gateway, backend: Backend) -> None:
    backend.answer = endless(64 * MIB)
    with Http2(gateway.port, settings={4: 2**31 - 1}, windows=False, receive_buffer=16_384) as client:
        client.give(2**31 - 1 - 65_535, 0)
        assert client.get("/local").status == 200
        before = resident(gateway)
        for _ in range(4):
            client.request("GET", "/api")
        time.sleep(0.7)
        assert resident(gateway) - before < 8 * MIB


def test_a_client_without_window_costs_no_memory(gateway: Gateway, backend: Backend) -> None:
    backend.answer = endless(64 * MIB)
    with Http2(gateway.port, settings={4: 0}, windows=False) as client:
        client.ping()
        before = resident(gateway)
        streams = [client.request("GET", "/api") for _ in range(8)]
        client.until(lambda: all(client.answers[stream].fields for stream in streams), "the heads")
        assert resident(gateway) - before < 16 * MIB
        # Held open like this they are cut off.
        client.until(lambda: all(client.answers[stream].reset == CANCEL for stream in streams), "the resets")
    until(lambda: "client_stalled" in gateway.log, what="the fault in the log")


@pytest.mark.parametrize("then", ["cancels", "stalls", "reads"])
def test_what_waits_for_a_stream_belongs_to_its_exchange(launch, backend: Backend, then: str) -> None:  # type: ignore[no-untyped-def]
    """The backend has sent everything, and is free again; what becomes of the rest is in the log all the same."""
    gateway = launch(access_log=True, upstreams=[upstream(backend.port)], send_timeout_sec="1s")
    body = b"x" * 60_000
    backend.answer = reply(body=body)
    with Http2(gateway.port, settings={4: 20_000}, windows=False) as client:
        stream = client.request("GET", "/api")
        client.until(lambda: len(client.answers[stream].body) == 20_000, "the first window")
        until(lambda: json.loads(gateway.get("/stats").body)["upstream_connections"]["idle"] == 1, what="the backend's connection")
        if then == "cancels":
            client.reset(stream)
        elif then == "reads":
            client.give(40_000, stream)
            assert client.answer(stream).body == body
        entry = until(lambda: [one for one in gateway.access_entries(1) if one["url.path"] == "/api"], what="the line")[0]
    token = {"cancels": "client_aborted", "stalls": "client_stalled"}.get(then)
    assert entry.get("error.type") == token and entry["http.response.status_code"] == 200
    assert entry["http.response.body.size"] == (len(body) if then == "reads" else 20_000)


def test_a_slow_backend_holds_the_client_back(gateway: Gateway, backend: Backend) -> None:
    backend.answer = lambda connection, request: time.sleep(1.5)
    backend.listener.setsockopt(1, 8, 16_384)  # SO_RCVBUF, for connections made from now on
    with Http2(gateway.port) as client:
        stream = client.request("POST", "/api", end=False)
        sent, deadline = 0, time.monotonic() + 1
        while time.monotonic() < deadline:
            room = 65_535 + client.updates.get(stream, 0) - sent
            if room > 0:
                client.data(stream, b"x" * room, end=False)
                sent += room
            else:
                client.read(0.05)
        # What the sockets hold, the high water mark, and one window.
        assert sent < 8 * MIB
        before = client.updates.get(0, 0)
        assert before <= MIB - 65_535 + sent


def test_more_than_the_window_is_an_error(gateway: Gateway, backend: Backend) -> None:
    backend.answer = lambda connection, request: time.sleep(2)
    with Http2(gateway.port) as client:
        stream = client.request("POST", "/api", end=False)
        client.data(stream, b"x" * 16_384 * 40, end=False)
        client.drain()
        assert client.answers[stream].reset == 3 or client.goaways and client.goaways[-1][1] == 3


def test_windows_are_those_configured(launch, backend: Backend) -> None:  # type: ignore[no-untyped-def]
    gateway = launch(upstreams=[upstream(backend.port)], http2={
        "initial_window_size": 100_000, "connection_window_size": 200_000, "max_frame_size": 32_768, "max_header_list_size": 8192, "max_concurrent_streams": 7})
    with Http2(gateway.port) as client:
        client.ping()
        assert client.settings == {3: 7, 4: 100_000, 5: 32_768, 6: 8192, 2: 0, 8: 1, 9: 1}
        assert client.updates[0] == 200_000 - 65_535
        body = b"x" * 30_000
        assert client.answer(client.request("POST", "/api", body=body)).status == 200
        assert backend.last.body == body


def test_windows_given_back_by_the_byte_are_a_flood(gateway: Gateway, backend: Backend) -> None:
    backend.answer = endless(MIB)
    with Http2(gateway.port, settings={4: 1}, windows=False) as client:
        stream = client.request("GET", "/api")
        client.until(lambda: client.answers[stream].fields, "the head")
        for _ in range(3000):
            try:
                client.give(1, stream)
            except OSError:
                break
            if client.read(0.0005) and client.goaways:
                break
        client.until(lambda: client.goaways, "GOAWAY")
        assert client.goaways[-1][1] == ENHANCE_YOUR_CALM


def test_urgent_streams_go_first(gateway: Gateway, backend: Backend) -> None:
    backend.answer = endless(200_000)
    with Http2(gateway.port, settings={4: MIB}, windows=False) as client:
        # The window of the connection is used up first, so that everything waits for it.
        first = client.request("GET", "/api")
        client.until(lambda: len(client.answers[first].body) == 65_535, "a window's worth")
        low = client.request("GET", "/api", ("priority", "u=6"))
        high = client.request("GET", "/api", ("priority", "u=1"))
        client.until(lambda: client.answers[low].fields and client.answers[high].fields, "the heads")
        client.reset(first)
        time.sleep(0.2)
        client.order.clear()
        client.give(MIB, 0)
        client.until(lambda: client.answers[low].ended and client.answers[high].ended, "both")
        assert client.order.index(low) > len(client.order) - 1 - client.order[::-1].index(high), "the urgent one was not first"


def test_one_connection_does_not_keep_others_waiting(launch, backend: Backend) -> None:  # type: ignore[no-untyped-def]
    gateway = launch(routes=[respond("/local")], upstreams=[upstream(backend.port)])
    backend.answer = endless(48 * MIB)
    with Http2(gateway.port, settings={4: 2**31 - 1}) as greedy, Http2(gateway.port) as modest:
        greedy.give(2**31 - 1 - 65_535, 0)
        streams = [greedy.request("GET", "/api") for _ in range(3)]
        longest = 0.0
        while not all(greedy.answers[stream].ended for stream in streams):
            for _ in range(20):
                greedy.read(5)
            began = time.monotonic()
            assert modest.get("/local").status == 200
            longest = max(longest, time.monotonic() - began)
        assert longest < 2
        assert json.loads(modest.get("/stats").body)["http2"]["streams"] > 4
    assert proc is not None
