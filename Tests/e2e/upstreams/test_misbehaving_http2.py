"""A backend that breaks in every way HTTP/2 allows: one fault, status and log line for each, and nothing is sent twice that may have
had an effect."""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from collections.abc import Callable

import pytest

from support import http2
from support.client import Client, request
from support.http2 import CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PUSH_PROMISE, SETTINGS, WINDOW_UPDATE
from support.misbehaving import BODY, Peer, Peer2, Request2, Scenario
from support.wait import until

from .conftest import Behind, Setting, documented

INTERNAL_ERROR, REFUSED_STREAM, HTTP_1_1_REQUIRED = 2, 7, 13
H2 = {"http2": {"enabled": True, "prefer": "always"}}

Act = Callable[[Peer2, Request2], None]
OK: http2.Field = (":status", "200")
LENGTH: http2.Field = ("content-length", str(len(BODY)))


def on_request(*acts: Act, settings: dict[int, int] | None = None, then: str = "drain") -> Scenario:
    """Takes a request with its body, does `acts`, and then goes on acting on frames, or ends: `close`, `reset`."""

    def scenario(peer: Peer) -> None:
        server = Peer2(peer, settings)
        asked = server.request()
        peer.taken(asked)
        for act in acts:
            act(server, asked)
        if then == "close":
            peer.close()
        elif then == "reset":
            peer.end_with_reset()
        else:
            server.drain()

    return scenario


def headers(*fields: http2.Field, end: bool = False) -> Act:
    return lambda server, asked: server.headers(asked.stream, fields, end)


def data(payload: bytes, end: bool = True) -> Act:
    return lambda server, asked: server.data(asked.stream, payload, end)


def reset(code: int) -> Act:
    return lambda server, asked: server.reset(asked.stream, code)


def frame(kind: int, flags: int = 0, payload: bytes = b"", stream: int | None = None) -> Act:
    return lambda server, asked: server.frame(kind, flags, asked.stream if stream is None else stream, payload)


def serve(peer: Peer) -> None:
    Peer2(peer).serve()


def raw(text: bytes) -> Scenario:
    def scenario(peer: Peer) -> None:
        peer.send(text)
        peer.wait_end(5)

    return scenario


def silent(peer: Peer) -> None:
    peer.wait_end(10)


def ends(how: str) -> Scenario:
    return lambda peer: peer.end_with_reset() if how == "reset" else peer.shut() if how == "half-close" else peer.close()


INCOMPLETE = "http_response_incomplete"
TERMINATED = "connection_terminated"
PROTOCOL = "http_protocol_error"
OUTCOMES: list[tuple[str, Scenario, int, str]] = [
    ("closes at once", ends("close"), 502, TERMINATED),
    ("resets at once", ends("reset"), 502, TERMINATED),
    ("half-closes at once", ends("half-close"), 502, TERMINATED),
    ("says nothing", silent, 504, "http_response_timeout"),
    ("speaks HTTP/1.1", raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), 502, PROTOCOL),
    ("sends garbage", raw(b"\xff" * 2000), 502, PROTOCOL),
    ("does not begin with SETTINGS", raw(http2.frame(DATA, 0, 1, b"x")), 502, PROTOCOL),
    ("has impossible settings", lambda peer: Peer2(peer, {4: 1 << 31}).drain(), 502, PROTOCOL),
    ("never answers", on_request(), 504, "http_response_timeout"),
    ("closes after the request", on_request(then="close"), 502, TERMINATED),
    ("resets the connection after the request", on_request(then="reset"), 502, TERMINATED),
    ("INTERNAL_ERROR", on_request(reset(INTERNAL_ERROR)), 502, "http2_stream_reset"),
    ("CANCEL", on_request(reset(CANCEL)), 502, "http2_stream_reset"),
    ("HTTP_1_1_REQUIRED", on_request(reset(HTTP_1_1_REQUIRED)), 502, "http2_http11_required"),
    ("hangs before the body", on_request(headers(OK, LENGTH)), 504, "http_response_stalled"),
    ("hangs in the body", on_request(headers(OK, LENGTH), data(BODY[:-1], False)), 504, "http_response_stalled"),
    ("never ends the stream", on_request(headers(OK, LENGTH), data(BODY, False)), 504, "http_response_stalled"),
    ("closes in the body", on_request(headers(OK, LENGTH), data(BODY[:-1], False), then="close"), 502, INCOMPLETE),
    ("resets the stream in the body", on_request(headers(OK, LENGTH), data(BODY[:-1], False), reset(INTERNAL_ERROR)), 502, INCOMPLETE),
    ("resets it with NO_ERROR in the body", on_request(headers(OK, LENGTH), data(BODY[:-1], False), reset(0)), 502, INCOMPLETE),
    ("sends less than it says", on_request(headers(OK, LENGTH), data(BODY[:-1])), 502, PROTOCOL),
    ("sends more than it says", on_request(headers(OK, LENGTH), data(BODY + b"x")), 502, PROTOCOL),
    ("no status", on_request(headers(LENGTH), data(BODY)), 502, PROTOCOL),
    ("two statuses", on_request(headers(OK, OK, LENGTH), data(BODY)), 502, PROTOCOL),
    ("status abc", on_request(headers((":status", "abc")), data(BODY)), 502, PROTOCOL),
    ("status 99", on_request(headers((":status", "099")), data(BODY)), 502, PROTOCOL),
    ("status 600", on_request(headers((":status", "600")), data(BODY)), 502, PROTOCOL),
    ("an unknown pseudo-header", on_request(headers(OK, (":what", "x")), data(BODY)), 502, PROTOCOL),
    ("a pseudo-header at the end", on_request(headers(("x-a", "b"), OK), data(BODY)), 502, PROTOCOL),
    ("upper case", on_request(headers(OK, ("X-A", "b")), data(BODY)), 502, PROTOCOL),
    ("a line end in a value", on_request(headers(OK, ("x-a", "b\r\nset-cookie: evil=1")), data(BODY)), 502, PROTOCOL),
    ("connection", on_request(headers(OK, ("connection", "close")), data(BODY)), 502, PROTOCOL),
    ("transfer-encoding", on_request(headers(OK, ("transfer-encoding", "chunked")), data(BODY)), 502, PROTOCOL),
    ("different lengths", on_request(headers(OK, LENGTH, ("content-length", "1")), data(BODY)), 502, PROTOCOL),
    ("101", on_request(headers((":status", "101")), headers(OK), data(BODY)), 502, PROTOCOL),
    ("DATA before HEADERS", on_request(data(BODY)), 502, PROTOCOL),
    ("an interim response ends the stream", on_request(headers((":status", "103"), end=True)), 502, PROTOCOL),
    ("trailers that end nothing", on_request(headers(OK, LENGTH), data(BODY, False), headers(("x-a", "b"))), 502, PROTOCOL),
    ("a status in trailers", on_request(headers(OK, LENGTH), data(BODY, False), headers(OK, end=True)), 502, PROTOCOL),
    ("a push", on_request(frame(PUSH_PROMISE, END_HEADERS, struct.pack(">I", 2) + http2.block([OK]))), 502, PROTOCOL),
    ("DATA on stream 0", on_request(frame(DATA, 0, b"x", 0)), 502, PROTOCOL),
    ("a frame that is too long", on_request(headers(OK, ("content-length", "16385")), data(b"x" * 16_385)), 502, PROTOCOL),
    ("broken HPACK", on_request(frame(HEADERS, END_HEADERS, b"\xff\xff\xff\xff\xff\xff")), 502, PROTOCOL),
    ("an interrupted header section", on_request(frame(HEADERS, 0, http2.block([OK])), data(BODY)), 502, PROTOCOL),
    ("a window beyond the limit", on_request(frame(WINDOW_UPDATE, 0, struct.pack(">I", (1 << 31) - 1))), 502, PROTOCOL),
    ("a WINDOW_UPDATE of nothing", on_request(frame(WINDOW_UPDATE, 0, struct.pack(">I", 0), 0)), 502, PROTOCOL),
]


def start(behind: Behind, *scenarios: Scenario, **more) -> Setting:  # type: ignore[no-untyped-def]
    upstream = {**H2, **more.pop("upstream", {})}
    return behind(*scenarios, upstream=upstream, **more)


@pytest.mark.parametrize("scenario,status,token", [row[1:] for row in OUTCOMES], ids=[row[0] for row in OUTCOMES])
def test_outcome(behind: Behind, scenario: Scenario, status: int, token: str) -> None:
    """As docs/faults.md says, once in each log and once in the counters."""
    setting = start(behind, scenario, serve)
    outcome = setting.ask("POST", body=b"x" * 100)
    assert (outcome.status, outcome.token) == (status, token)
    assert outcome.entry["http.response.status_code"] == status
    lines = setting.lines(token)
    assert len(lines) == 1 and "[error]" in lines[0] and "backend" in lines[0], lines
    assert documented(token) == (status, "error")
    assert setting.stats()["faults"] == {token: 1}
    assert max(setting.backend.heads.values(), default=0) <= 1, "a POST was sent twice"


def endless_section(server: Peer2, asked: Request2) -> None:
    server.frame(HEADERS, 0, asked.stream, http2.block([OK]))
    while True:
        server.frame(CONTINUATION, 0, asked.stream, http2.block([("x-a", "b" * 8000)]))


def empty_continuations(server: Peer2, asked: Request2) -> None:
    server.frame(HEADERS, 0, asked.stream, http2.block([OK]))
    while True:
        server.send(http2.frame(CONTINUATION, 0, asked.stream) * 1000)


def endless_interims(server: Peer2, asked: Request2) -> None:
    while True:
        server.headers(asked.stream, [(":status", "103"), ("link", "</a>")])


@pytest.mark.parametrize("act", [endless_section, empty_continuations, endless_interims])
def test_without_end(behind: Behind, act: Act) -> None:
    """Bounded, and an end is put to it."""
    setting = start(behind, on_request(act), serve)
    outcome = setting.ask()
    assert outcome.status == 502 and outcome.token in (PROTOCOL, "http_response_header_section_size")
    assert len(setting.lines(outcome.token)) == 1
    assert setting.backend.connections[0].ended.wait(5)
    assert setting.ask().status == 200


@pytest.mark.parametrize("method,status", [("HEAD", "200"), ("GET", "204"), ("GET", "304")])
def test_a_body_where_there_is_none(behind: Behind, method: str, status: str) -> None:
    setting = start(behind, on_request(headers((":status", status)), data(b"body")))
    outcome = setting.ask(method)
    # The head alone is a whole response for the client; whatever it gets, the body is not part of it.
    assert outcome.token == PROTOCOL or (outcome.response is not None and outcome.response.body == b"")


@pytest.mark.parametrize("end,token", [("close", INCOMPLETE), ("reset", INCOMPLETE), ("stream", INCOMPLETE), ("hang", "http_response_stalled")])
def test_after_the_response_has_begun(behind: Behind, end: str, token: str) -> None:
    """It cannot be answered any more: the client sees that it was cut off."""
    pieces = [data(b"x" * 16_000, False)] * 4
    acts: list[Act] = [headers(OK), *pieces]
    if end == "stream":
        acts.append(reset(INTERNAL_ERROR))
    setting = start(behind, on_request(*acts, then=end), proxy={"buffering": "never"})
    outcome = setting.ask()
    assert outcome.cut and outcome.token == token and outcome.entry["http.response.status_code"] == 200
    assert len(setting.lines(token)) == 1 and setting.stats()["faults"] == {token: 1}


WHOLE = http2.settings_frame({}) + http2.frame(SETTINGS, 1) + http2.frame(HEADERS, END_HEADERS, 1, http2.block([OK, LENGTH])) + \
    http2.frame(DATA, 0, 1, BODY[:10]) + http2.frame(DATA, END_STREAM, 1, BODY[10:])


def cut_at(count: int, end: str) -> Scenario:
    def scenario(peer: Peer) -> None:
        server = Peer2(peer, begin=False)
        server.reader.exactly(len(http2.PREFACE))
        # Its own frames are part of WHOLE.
        server.send = lambda data: None  # type: ignore[method-assign]
        peer.taken(server.request())
        peer.send(WHOLE[:count])
        peer.close() if end == "close" else peer.end_with_reset()

    return scenario


@pytest.mark.parametrize("end", ["close", "reset"])
def test_every_byte_of_the_response(behind: Behind, end: str) -> None:
    setting = start(behind, *[cut_at(count, end) for count in range(len(WHOLE))], serve, proxy={"buffering": "always"})
    for count in range(len(WHOLE)):
        outcome = setting.ask("POST", body=b"x")
        assert outcome.status == 502 and outcome.token in (TERMINATED, INCOMPLETE), f"after {count} bytes"
    assert setting.ask().status == 200
    assert max(setting.backend.heads.values()) == 1


def test_random_bytes_at_random_places(behind: Behind) -> None:
    """Two hundred responses with noise in them: something definite happens to each, and the worker lives."""
    dice = random.Random(os.environ.get("GATEWAY_TEST_SEED", "5"))

    def broken(response: bytes) -> Scenario:
        def scenario(peer: Peer) -> None:
            server = Peer2(peer, begin=False)
            server.reader.exactly(len(http2.PREFACE))
            server.send = lambda data: None  # type: ignore[method-assign]
            server.request()
            peer.send(response)
            time.sleep(0.01)
            peer.close()

        return scenario

    scenarios = []
    for _ in range(200):
        response = bytearray(WHOLE)
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(response))
            response[at:at + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
        scenarios.append(broken(bytes(response)))
    setting = start(behind, *scenarios, serve)
    worker = setting.gateway.worker
    for number in range(200):
        outcome = setting.ask("POST", body=b"x")
        assert outcome.cut or outcome.status is not None, number
        if outcome.response is not None and outcome.response.header("server") == "gateway":
            assert outcome.status in (502, 504) and outcome.token != "-", number
    assert setting.gateway.worker == worker
    assert max(setting.backend.heads.values()) == 1


def test_window_never_opened(behind: Behind) -> None:
    def scenario(peer: Peer) -> None:
        server = Peer2(peer, {4: 0})
        server.head()
        server.drain()

    setting = start(behind, scenario, serve)
    outcome = setting.ask("POST", body=b"x" * 100_000)  # the first 65,535 bytes go before the setting is known
    assert (outcome.status, outcome.token) == (504, "connection_write_timeout")
    assert len(setting.lines("connection_write_timeout")) == 1


def test_window_opened_late(behind: Behind) -> None:
    def scenario(peer: Peer) -> None:
        server = Peer2(peer, {4: 0}, windows=False)
        asked = server.head()
        time.sleep(0.15)
        assert asked.body == b""
        for count in (1, 1, 98):
            server.frame(WINDOW_UPDATE, 0, asked.stream, struct.pack(">I", count))
            time.sleep(0.05)
        while not asked.ended:
            server.step()
        server.answer(asked, asked.body)
        server.drain()

    setting = start(behind, scenario)
    outcome = setting.ask("POST", body=b"y" * 100)
    assert outcome.status == 200 and outcome.response is not None and outcome.response.body == b"y" * 100


def test_window_shrunk_below_zero(behind: Behind) -> None:
    """RFC 9113 §6.9.2."""

    def scenario(peer: Peer) -> None:
        server = Peer2(peer, {4: 1000}, windows=False)
        asked = server.head()
        while len(asked.body) < 1000:
            server.step()
        server.send(http2.settings_frame({4: 0}))
        server.frame(WINDOW_UPDATE, 0, asked.stream, struct.pack(">I", 1000))
        time.sleep(0.1)
        server.send(http2.settings_frame({4: 100_000}))
        while not asked.ended:
            server.step()
        server.answer(asked, asked.body)
        server.drain()

    setting = start(behind, scenario)
    body = b"z" * 5000
    outcome = setting.ask("POST", body=body)
    assert outcome.status == 200 and outcome.response is not None and outcome.response.body == body


# Surely unprocessed


def refuses(count: int) -> Scenario:
    """Refuses streams before it serves."""

    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        for _ in range(count):
            server.reset(server.head().stream, REFUSED_STREAM)
        server.serve()

    return scenario


def goaway_then(last: Callable[[Request2], int], then: str) -> Scenario:
    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        asked = server.head()
        server.goaway(last(asked))
        if then == "answer":
            while not asked.ended:
                server.step()
            server.answer(asked)
            server.drain()
        elif then == "close":
            if last(asked):
                peer.taken(asked)
            time.sleep(0.05)
            peer.close()
        else:
            server.drain()

    return scenario


RETRY = {"retry": {"max_retries": 3}}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name,scenario", [
    ("REFUSED_STREAM", refuses(1)),
    ("GOAWAY before", goaway_then(lambda asked: 0, "close")),
    ("GOAWAY before, held open", goaway_then(lambda asked: 0, "drain")),
], ids=lambda value: value if isinstance(value, str) else "")
def test_unprocessed_requests_are_sent_again(behind: Behind, name: str, scenario: Scenario, method: str) -> None:
    setting = start(behind, scenario, serve, proxy=RETRY)
    outcome = setting.ask(method, body=b"x" if method == "POST" else b"")
    assert outcome.status == 200, outcome.token
    assert setting.backend.heads["request-1"] == 2 and setting.backend.acts["request-1"] == 1


def test_goaway_at_the_beginning(behind: Behind) -> None:
    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        server.goaway(0)
        server.drain()

    setting = start(behind, scenario, serve, proxy=RETRY)
    assert setting.ask("POST", body=b"x").status == 200
    assert setting.backend.acts["request-1"] == 1


def test_goaway_after_a_request_that_is_answered(behind: Behind) -> None:
    """Streams up to the last one go on; the next request has a connection of its own."""
    setting = start(behind, goaway_then(lambda asked: asked.stream, "answer"), serve)
    assert setting.ask("POST", body=b"x").status == 200
    assert setting.ask("POST", body=b"x").status == 200
    assert len(setting.backend.connections) == 2 and setting.backend.heads["request-1"] == 1


def test_goaway_with_the_highest_number_first(behind: Behind) -> None:
    """A graceful end, in two steps (RFC 9113 §6.8)."""

    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        server.goaway((1 << 31) - 1)
        asked = server.request()
        server.goaway(asked.stream)
        server.answer(asked)
        server.drain()

    setting = start(behind, scenario, serve)
    for _ in range(3):
        assert setting.ask("POST", body=b"x").status == 200


def test_goaway_then_the_end_may_have_been_processed(behind: Behind) -> None:
    setting = start(behind, goaway_then(lambda asked: asked.stream, "close"), serve, proxy=RETRY)
    outcome = setting.ask("POST", body=b"x")
    assert outcome.status == 502 and setting.backend.heads["request-1"] == 1
    assert len(setting.lines(outcome.token)) == 1


def test_goaway_between_responses_is_never_seen(behind: Behind) -> None:
    """The session is replaced before it is used again."""

    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        server.serve(1)
        server.goaway(1)
        server.drain()

    setting = start(behind, scenario, scenario, scenario, serve)
    for _ in range(4):
        assert setting.ask("POST", body=b"x").status == 200
        time.sleep(0.05)


def test_goaway_in_the_middle_of_a_response(behind: Behind) -> None:
    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        asked = server.request()
        peer.taken(asked)
        server.headers(asked.stream, [OK, LENGTH])
        server.goaway(asked.stream)
        time.sleep(0.05)
        server.data(asked.stream, BODY)
        server.drain()

    setting = start(behind, scenario, serve)
    outcome = setting.ask("POST", body=b"x")
    assert outcome.status == 200 and outcome.response is not None and outcome.response.body == BODY


def test_the_end_of_one_stream_is_not_that_of_others(behind: Behind) -> None:
    """Stream errors stay with their stream."""
    gate = threading.Event()

    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        first, second = server.request(), server.request()
        for asked in (first, second):
            peer.taken(asked)
        server.headers(first.stream, [OK, ("connection", "close")])
        until(lambda: True if server.step() is not None and first.reset is not None else False)
        server.answer(second)
        gate.set()
        server.serve()

    setting = start(behind, scenario)
    with Client(setting.gateway.port) as one, Client(setting.gateway.port) as two:
        one.send(request("GET", "/api", "X-Request-Id: one"))
        until(lambda: setting.backend.heads["one"])
        two.send(request("GET", "/api", "X-Request-Id: two"))
        assert one.read().status == 502
        assert two.read().status == 200
    assert gate.wait(5) and setting.ask().status == 200 and len(setting.backend.connections) == 1


def test_dead_connection_is_found_by_ping(behind: Behind) -> None:
    def scenario(peer: Peer) -> None:
        server = Peer2(peer)
        server.serve(1)
        # Reads and does not answer.
        while peer.reader.some(65_536):
            pass

    setting = start(behind, scenario, serve, upstream={"http2": {**H2["http2"], "ping_idle_sec": "200ms", "ping_timeout_sec": "200ms"}})
    assert setting.ask().status == 200
    assert setting.backend.connections[0].ended.wait(5), "the dead connection is kept"
    assert setting.ask("POST", body=b"x").status == 200
    assert len(setting.backend.connections) == 2


def test_fewer_streams_than_wanted(behind: Behind) -> None:
    """SETTINGS_MAX_CONCURRENT_STREAMS is kept; others wait or have connections of their own."""
    seen: list[int] = []

    def scenario(peer: Peer) -> None:
        server = Peer2(peer, {3: 2})
        open_streams: list[Request2] = []
        while True:
            open_streams.append(server.request())
            seen.append(len(open_streams))
            peer.sock.settimeout(0.05)
            try:
                while len(open_streams) < 3:
                    open_streams.append(server.request())
                    seen.append(len(open_streams))
            except TimeoutError:
                pass
            peer.sock.settimeout(None)
            for asked in open_streams:
                server.answer(asked)
            open_streams.clear()

    setting = start(behind, scenario)
    clients = [Client(setting.gateway.port) for _ in range(12)]
    for number, client in enumerate(clients):
        client.send(request("GET", "/api", f"X-Request-Id: many-{number}"))
    assert [client.read().status for client in clients] == [200] * len(clients)
    assert max(seen) <= 2
    for client in clients:
        client.close()
