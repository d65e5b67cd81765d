"""A backend that breaks in every way HTTP/1.1 and TCP allow: one fault, status and log line for each."""

from __future__ import annotations

import os
import time

import pytest

from support.backend import full_endpoint, head, unused_endpoint
from support.misbehaving import BODY, CHUNKED, GOOD, Peer, Scenario

from .conftest import Behind, documented


def after_request(data: bytes, end: str) -> Scenario:
    """Takes a request, sends `data` and ends: `close`, `reset`, `half-close` or `hang`."""

    def scenario(peer: Peer) -> None:
        request = peer.request()
        peer.taken(request)
        if data:
            peer.send(data)
        finish(peer, end)

    return scenario


def finish(peer: Peer, end: str) -> None:
    if end == "close":
        peer.close()
    elif end == "reset":
        peer.end_with_reset()
    elif end == "half-close":
        peer.shut()
    elif end == "hang":
        peer.wait_end(10)


def at_once(end: str) -> Scenario:
    """Ends before a request is read."""

    def scenario(peer: Peer) -> None:
        # A reset that comes sooner is one of the connect.
        finish(peer, end)

    return scenario


HEAD = len(GOOD) - len(BODY)
OUTCOMES = [
    ("closes at once", at_once("close"), 502, "connection_terminated"),
    ("resets at once", at_once("reset"), 502, "connection_terminated"),
    ("half-closes at once", at_once("half-close"), 502, "connection_terminated"),
    ("never reads", at_once("hang"), 504, "http_response_timeout"),
    ("closes after the request", after_request(b"", "close"), 502, "connection_terminated"),
    ("resets after the request", after_request(b"", "reset"), 502, "connection_terminated"),
    ("half-closes after the request", after_request(b"", "half-close"), 502, "connection_terminated"),
    ("never answers", after_request(b"", "hang"), 504, "http_response_timeout"),
    ("hangs in the status line", after_request(GOOD[:12], "hang"), 504, "http_response_timeout"),
    ("hangs in the head", after_request(GOOD[:HEAD - 3], "hang"), 504, "http_response_timeout"),
    ("hangs before the body", after_request(GOOD[:HEAD], "hang"), 504, "http_response_stalled"),
    ("hangs in the body", after_request(GOOD[:-1], "hang"), 504, "http_response_stalled"),
    ("hangs after a 100", after_request(b"HTTP/1.1 100 Continue\r\n\r\n", "hang"), 504, "http_response_timeout"),
    ("closes after a 100", after_request(b"HTTP/1.1 100 Continue\r\n\r\n", "close"), 502, "connection_terminated"),
    ("sends garbage", after_request(b"\x00\xff\x16garbage" * 100, "hang"), 502, "http_protocol_error"),
    ("sends noise", after_request(bytes(range(128, 256)) * 3000, "close"), 502, "http_protocol_error"),
    ("speaks TLS", after_request(b"\x15\x03\x03\x00\x02\x02\x28", "close"), 502, "http_protocol_error"),
    ("speaks HTTP/2", after_request(b"\0\0\0\4\0\0\0\0\0", "close"), 502, "http_protocol_error"),
    ("closes within the body", after_request(GOOD[:-1], "close"), 502, "http_response_incomplete"),
    ("resets within the body", after_request(GOOD[:-1], "reset"), 502, "http_response_incomplete"),
    ("an endless head", after_request(head(200)[:-2] + b"X-A: b\r\n" * 100_000, "hang"), 502, "http_response_header_section_size"),
    ("an endless line", after_request(b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 300_000, "hang"), 502, "http_response_header_section_size"),
]


@pytest.mark.parametrize("scenario,status,token", [row[1:] for row in OUTCOMES], ids=[row[0] for row in OUTCOMES])
def test_outcome(behind: Behind, scenario: Scenario, status: int, token: str) -> None:
    """As docs/faults.md says, once in each log and once in the counters."""
    setting = behind(scenario)
    outcome = setting.ask()
    assert (outcome.status, outcome.token) == (status, token)
    assert outcome.entry["http.response.status_code"] == status
    lines = setting.lines(token)
    assert len(lines) == 1 and "[error]" in lines[0] and "backend" in lines[0], lines
    assert documented(token) == (status, "error")
    assert setting.stats()["faults"] == {token: 1}
    assert len(setting.backend.connections) == 1, "nothing was configured to be tried again"
    assert setting.stats()["upstream_connections"]["active"] == 0


@pytest.mark.parametrize("end,token", [("close", "http_response_incomplete"), ("reset", "http_response_incomplete"), ("hang", "http_response_stalled")])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_after_the_response_has_begun(behind: Behind, end: str, token: str, framing: str) -> None:
    """It cannot be answered any more: the client sees that it was cut off."""
    part = (head(200, "Content-Length: 1000000") if framing == "length" else head(200, "Transfer-Encoding: chunked") + b"f4240\r\n") + b"x" * 400_000
    setting = behind(after_request(part, end))
    outcome = setting.ask()
    assert outcome.cut and outcome.token == token and outcome.entry["http.response.status_code"] == 200
    assert len(setting.lines(token)) == 1 and setting.stats()["faults"] == {token: 1}


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("response", [GOOD, CHUNKED], ids=["length", "chunked"])
def test_every_byte_of_the_response(behind: Behind, response: bytes, end: str) -> None:
    """Ends after each number of bytes: never a whole response, never two faults, and the gateway goes on."""
    setting = behind(*[after_request(response[:count], end) for count in range(len(response))], lambda peer: peer.serve(), proxy={"buffering": "always"})
    for count in range(len(response)):
        outcome = setting.ask()
        expected = "connection_terminated" if count == 0 else "http_response_incomplete"
        assert (outcome.status, outcome.token) == (502, expected), f"after {count} bytes"
    assert setting.ask().status == 200
    assert setting.stats()["faults"] == {"connection_terminated": 1, "http_response_incomplete": len(response) - 1}


@pytest.mark.parametrize("end", ["close", "reset"])
def test_every_byte_of_a_streamed_response(behind: Behind, end: str) -> None:
    start = CHUNKED.index(b"\r\n\r\n") + 4
    setting = behind(*[after_request(CHUNKED[:count], end) for count in range(start, len(CHUNKED))], lambda peer: peer.serve(), proxy={"buffering": "never"})
    for count in range(start, len(CHUNKED)):
        outcome = setting.ask()
        assert outcome.token == "http_response_incomplete" and (outcome.cut or outcome.status == 502), f"after {count} bytes"
    assert setting.ask().status == 200


def test_refuses(behind: Behind) -> None:
    kept, port = unused_endpoint()
    setting = behind(lambda peer: peer.serve(), upstream={"port": port})
    outcome = setting.ask("POST", body=b"x")
    assert (outcome.status, outcome.token) == (502, "connection_refused")
    assert len(setting.lines("connection_refused")) == 1
    kept.close()


def test_never_accepts(behind: Behind) -> None:
    kept, port = full_endpoint()
    setting = behind(lambda peer: peer.serve(), upstream={"port": port, "pool": {"connect_timeout_ms": 200}})
    outcome = setting.ask()
    assert (outcome.status, outcome.token) == (502, "connection_timeout")
    assert len(setting.lines("connection_timeout")) == 1
    for sock in kept:
        sock.close()


def test_never_reads_the_body(behind: Behind) -> None:
    def scenario(peer: Peer) -> None:
        peer.read_head()
        peer.ended.wait(10)

    setting = behind(scenario, receive_buffer=4096, max_body_size=0)
    outcome = setting.ask("PUT", body=b"x" * 20_000_000)
    assert outcome.token == "connection_write_timeout" and outcome.entry["http.response.status_code"] == 504
    assert len(setting.lines("connection_write_timeout")) == 1


def test_more_than_was_asked_for(behind: Behind) -> None:
    """What comes behind a response is never taken for another one."""

    def scenario(peer: Peer) -> None:
        peer.taken(peer.request())
        peer.send(GOOD + GOOD.replace(b"0123", b"evil"))
        peer.wait_end(5)

    setting = behind(scenario, scenario, lambda peer: peer.serve())
    for _ in range(3):
        outcome = setting.ask()
        assert outcome.status == 200 and outcome.response and outcome.response.body == BODY
    assert len(setting.backend.connections) == 3


def test_a_response_before_the_request(behind: Behind) -> None:
    """Bytes on an unused connection are nobody's response."""

    def scenario(peer: Peer) -> None:
        peer.serve(1)
        peer.send(GOOD.replace(b"0123", b"evil"))
        peer.wait_end(5)

    setting = behind(scenario, lambda peer: peer.serve())
    assert setting.ask().status == 200
    time.sleep(0.1)
    outcome = setting.ask()
    assert outcome.status == 200 and outcome.response and outcome.response.body == BODY


def test_random_bytes_at_random_places(behind: Behind) -> None:
    """Two hundred responses with noise in them: something definite happens to each, and the worker lives."""
    import random

    dice = random.Random(os.environ.get("GATEWAY_TEST_SEED", "4"))
    broken: list[bytes] = []
    for _ in range(200):
        response = bytearray(dice.choice([GOOD, CHUNKED]))
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(response))
            response[at:at + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
        broken.append(bytes(response))
    setting = behind(*[after_request(response, "close") for response in broken], lambda peer: peer.serve())
    worker = setting.gateway.worker
    for response in broken:
        outcome = setting.ask()
        assert outcome.cut or outcome.status is not None, response
        if outcome.entry["http.response.status_code"] >= 500 and outcome.response is not None and outcome.response.header("server") == "gateway":
            assert outcome.token in ("http_protocol_error", "http_response_incomplete", "http_upgrade_failed", "connection_terminated"), response
    assert setting.gateway.worker == worker
