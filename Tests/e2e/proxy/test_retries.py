"""Requests that are sent again: when, how often, after what pause; and those that must never be."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from support.backend import Answer, Backend, Connection, Request, chunk, close, full_endpoint, hang, head, in_turn, raw, reply, unused_endpoint
from support.client import Client, Closed, request
from support.configuration import upstream
from support.gateway import Gateway
from support.http2 import Http2
from support.wait import until


def start(launch, port: int, retry: dict[str, Any], pool=None, top: dict[str, Any] | None = None, **proxy: Any) -> Gateway:
    return launch(access_log=True, upstreams=[upstream(port, pool=pool, retry=retry, **proxy)], **(top or {}))


def stats(gateway: Gateway) -> dict[str, Any]:
    return json.loads(gateway.get("/stats").text)["upstream_connections"]


def after_reading(connection: Connection, asked: Request) -> None:
    """Closes with RST when the head has come, whatever is still under way."""
    connection.reset()


# Connecting


def test_a_refused_connection_is_tried_again(launch) -> None:
    kept, port = unused_endpoint()
    gateway = start(launch, port, {"max_retries": 2})
    assert gateway.get("/api").status == 502
    entry = gateway.access_entries(1)[0]
    assert entry["error.type"] == "connection_refused"
    attempts = entry["gateway.attempts"]
    assert [one["error.type"] for one in attempts] == ["connection_refused"] * 3
    assert {one["endpoint"] for one in attempts} == {f"127.0.0.1:{port}"}
    assert all(0 <= one["duration"] < 1 for one in attempts)
    assert stats(gateway)["retries"] == 2
    kept.close()


@pytest.mark.parametrize("mode", ["streaming", "buffered"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_was_not_sent_may_always_be(launch, method: str, mode: str) -> None:
    """The backend comes up between the first attempt and the second: a POST loses nothing by that."""
    kept, port = unused_endpoint()
    gateway = start(launch, port, {"max_retries": 10, "backoff_base_ms": 100, "backoff_max_ms": 100}, request_mode=mode)
    body = b"x" * 50_000 if method == "POST" else b""
    with Client(gateway.port) as client:
        client.send(request(method, "/api", body=body))
        time.sleep(0.15)
        kept.close()
        backend = Backend(port=port)
        assert client.read(method).status == 200
    assert [len(one.body) for one in backend.requests] == [len(body)]
    assert gateway.access_entries(1)[0]["gateway.upstream.attempts"] == 1
    backend.stop()


def test_connect_failures_may_be_left_out(launch) -> None:
    kept, port = unused_endpoint()
    gateway = start(launch, port, {"max_retries": 3, "retry_on_connect_failure": False})
    assert gateway.get("/api").status == 502
    assert "gateway.attempts" not in gateway.access_entries(1)[0]
    assert stats(gateway)["retries"] == 0
    kept.close()


def test_a_full_pool_is_not_asked_again(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway = start(launch, backend.port, {"max_retries": 3, "retry_on_timeout": True}, pool={"max_connections": 1, "connect_timeout_ms": 200},
                    response_timeout_ms=3000)
    with Client(gateway.port) as first, Client(gateway.port) as second:
        first.send(request("GET", "/api"))
        backend.wait_requests(1)
        assert second.request("GET", "/api").status == 503
    assert stats(gateway)["retries"] == 0


# Disconnecting


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_a_new_connection_that_ends_is_retried(launch, backend: Backend, method: str) -> None:
    backend.answer = in_turn(close, close, reply(body=b"third"))
    gateway = start(launch, backend.port, {"max_retries": 2})
    with Client(gateway.port) as client:
        assert client.request(method, "/api").status == 200
        assert client.request(method, "/api").status == 200
    assert len(backend.requests) == 4
    entry = gateway.access_entries(2)[0]
    assert entry["http.response.status_code"] == 200 and "error.type" not in entry and entry["gateway.upstream.attempts"] == 3
    first, second, third = entry["gateway.attempts"]
    assert first["error.type"] == second["error.type"] == "connection_terminated"
    assert third["http.response.status_code"] == 200 and "error.type" not in third


@pytest.mark.parametrize("method", ["POST", "PATCH", "FROB"])
def test_what_may_have_been_done_is_not_done_again(launch, backend: Backend, method: str) -> None:
    backend.answer = close
    gateway = start(launch, backend.port, {"max_retries": 3, "retry_on_timeout": True, "retry_on_5xx": True})
    with Client(gateway.port) as client:
        response = client.request(method, "/api", body=b"once")
        assert response.status == 502
        assert response.header("X-Proxy-Retry-Denied") == "non-idempotent-headers-queued"
        response = client.request(method, "/api")
        assert response.status == 502 and response.header("X-Proxy-Retry-Denied") is None, "there was no body"
    assert len(backend.requests) == 2


def test_unless_the_configuration_says_so(launch, backend: Backend) -> None:
    backend.answer = in_turn(close, reply())
    gateway = start(launch, backend.port, {"max_retries": 1, "retry_non_idempotent": True})
    with Client(gateway.port) as client:
        assert client.request("POST", "/api", body=b"twice").status == 200
    assert [one.body for one in backend.requests] == [b"twice", b"twice"]


def test_without_retries_nothing_is_said_about_them(launch, backend: Backend) -> None:
    backend.answer = close
    gateway = launch(access_log=True, upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        response = client.request("POST", "/api", body=b"once")
        assert response.status == 502 and response.header("X-Proxy-Retry-Denied") is None
    assert "gateway.attempts" not in gateway.access_entries(1)[0]


def test_a_response_that_had_begun_is_cut_off(launch, backend: Backend) -> None:
    backend.answer = raw(head(200, "Content-Length: 1000000") + b"x" * 500_000)
    gateway = start(launch, backend.port, {"max_retries": 3})
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        with pytest.raises((Closed, ConnectionResetError)):
            client.read()
    assert len(backend.requests) == 1


def test_a_response_that_is_collected_can_be_retried(launch, backend: Backend) -> None:
    backend.answer = in_turn(raw(head(200, "Content-Length: 1000") + b"x" * 500), reply(body=b"whole"))
    gateway = start(launch, backend.port, {"max_retries": 1}, buffering="always")
    assert gateway.get("/api").text == "whole"
    assert gateway.access_entries(1)[0]["gateway.attempts"][0]["error.type"] == "http_response_incomplete"


def test_a_stale_connection_does_not_use_up_a_retry(launch, backend: Backend) -> None:
    backend.answer = in_turn(reply(), close, close, reply(body=b"third"))
    gateway = start(launch, backend.port, {"max_retries": 1})
    with Client(gateway.port) as client:
        assert client.request("GET", "/api").status == 200
        assert client.request("GET", "/api").text == "third"
    assert (stats(gateway)["resends"], stats(gateway)["retries"]) == (1, 1)


# Bodies


def sums(backend: Backend) -> list[str]:
    return [hashlib.sha256(one.body).hexdigest() for one in backend.requests]


def cut_then_take(cut: int) -> Answer:
    """The first request is cut off when `cut` body bytes have come; the next ones are answered."""
    count = 0

    def answer(connection: Connection, asked: Request) -> None:
        nonlocal count
        count += 1
        if count == 1:
            got = 0
            while got < cut:
                got += len(connection.reader.some(min(65_536, cut - got)))
            connection.reset()
            return
        reply(body=b"done")(connection, asked)

    return answer


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size, cut", [(100, 50), (3_000, 3_000), (200_000, 100_000), (900_000, 700_000)])
def test_a_body_is_sent_again_whole(launch, backend: Backend, size: int, cut: int, framing: str) -> None:
    backend.answer = cut_then_take(cut)
    gateway = start(launch, backend.port, {"max_retries": 1})
    body = bytes(index * 7 % 251 for index in range(size))
    with Client(gateway.port) as client:
        if framing == "length":
            client.send(request("PUT", "/api", body=body))
        else:
            client.send("PUT /api HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
            for position in range(0, size, 10_000):
                client.send(chunk(body[position:position + 10_000]))
            client.send("0\r\n\r\n")
        assert client.read("PUT").text == "done"
    assert sums(backend)[-1] == hashlib.sha256(body).hexdigest()
    assert len(backend.requests) == 2


def test_a_body_goes_on_after_what_was_sent_again(launch, backend: Backend) -> None:
    """The attempt fails while the client is still sending."""
    backend.answer = cut_then_take(1_000)
    gateway = start(launch, backend.port, {"max_retries": 1})
    with Client(gateway.port) as client:
        client.send(b"PUT /api HTTP/1.1\r\nHost: test\r\nContent-Length: 30000\r\n\r\n" + b"a" * 10_000)
        backend.wait_connections(2)
        client.send(b"b" * 10_000)
        time.sleep(0.1)
        client.send(b"c" * 10_000)
        assert client.read("PUT").text == "done"
    assert backend.last.body == b"a" * 10_000 + b"b" * 10_000 + b"c" * 10_000


def test_a_body_of_http2_is_sent_again(launch, backend: Backend) -> None:
    backend.answer = cut_then_take(20_000)
    gateway = start(launch, backend.port, {"max_retries": 1})
    body = bytes(index * 7 % 251 for index in range(60_000))
    with Http2(gateway.port) as client:
        stream = client.request("PUT", "/api", body=body)
        assert client.answer(stream).status == 200
    assert sums(backend)[-1] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("size, limit", [(50_000, 10_000), (50_000, 0), (400_000, 100_000)])
def test_a_body_that_was_not_kept_is_not_sent_again(launch, backend: Backend, size: int, limit: int) -> None:
    backend.answer = cut_then_take(size)
    gateway = start(launch, backend.port, {"max_retries": 3, "buffer_bytes": limit})
    with Client(gateway.port) as client:
        response = client.request("PUT", "/api", body=bytes(size))
        assert response.status == 502 and response.header("X-Proxy-Retry-Denied") == "streaming-source-consumed"
    assert len(backend.requests) == 1


def test_a_body_that_is_still_coming_and_was_not_kept(launch, backend: Backend) -> None:
    backend.answer = cut_then_take(50_000)
    gateway = start(launch, backend.port, {"max_retries": 3, "buffer_bytes": 10_000})
    with Client(gateway.port) as client:
        client.send(b"PUT /api HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000))
        response = client.read("PUT")
        assert response.status == 502 and response.header("X-Proxy-Retry-Denied") == "streaming-body-on-wire"
    assert len(backend.requests) == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_collected_body_is_sent_again(launch, backend: Backend, framing: str) -> None:
    backend.answer = in_turn(close, reply(body=b"done"))
    gateway = start(launch, backend.port, {"max_retries": 1}, request_mode="buffered")
    body = bytes(index * 7 % 251 for index in range(300_000))
    with Client(gateway.port) as client:
        if framing == "length":
            client.send(request("PUT", "/api", body=body))
        else:
            client.send(b"PUT /api HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(body) + b"0\r\n\r\n")
        assert client.read("PUT").text == "done"
    assert sums(backend) == [hashlib.sha256(body).hexdigest()] * 2
    assert [one.header("content-length") for one in backend.requests] == ["300000"] * 2


def test_the_request_after_one_that_was_sent_again(launch, backend: Backend) -> None:
    """Pipelined behind it, and not part of its body."""
    backend.answer = in_turn(close, reply(body=b"first"), reply(body=b"second"))
    gateway = start(launch, backend.port, {"max_retries": 1})
    with Client(gateway.port) as client:
        client.send(request("PUT", "/api/1", body=b"abc") + request("GET", "/api/2"))
        assert client.read("PUT").text == "first"
        assert client.read().text == "second"
    assert [(one.method, one.body) for one in backend.requests] == [("PUT", b"abc"), ("PUT", b"abc"), ("GET", b"")]


# Timeouts


def test_timeouts_are_retried_when_asked_for(launch, backend: Backend) -> None:
    backend.answer = in_turn(hang, reply(body=b"second"))
    gateway = start(launch, backend.port, {"max_retries": 1, "retry_on_timeout": True}, response_timeout_ms=200)
    assert gateway.get("/api").text == "second"
    attempts = gateway.access_entries(1)[0]["gateway.attempts"]
    assert attempts[0]["error.type"] == "http_response_timeout" and 0.15 < attempts[0]["duration"] < 2


def test_and_only_then(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway = start(launch, backend.port, {"max_retries": 3}, response_timeout_ms=200)
    assert gateway.get("/api").status == 504
    assert len(backend.requests) == 1


def test_each_attempt_has_its_limit(launch, backend: Backend) -> None:
    backend.answer = in_turn(hang, hang, reply(body=b"third"))
    gateway = start(launch, backend.port, {"max_retries": 2, "retry_on_timeout": True, "per_try_timeout_ms": 150})
    assert gateway.get("/api").text == "third"
    attempts = gateway.access_entries(1)[0]["gateway.attempts"]
    assert [one.get("error.type") for one in attempts] == ["attempt_timeout", "attempt_timeout", None]


def test_the_limit_of_an_attempt_that_is_not_retried(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway = start(launch, backend.port, {"max_retries": 1, "per_try_timeout_ms": 150})
    begun = time.monotonic()
    assert gateway.get("/api").status == 504
    assert 0.1 < time.monotonic() - begun < 2
    assert gateway.access_entries(1)[0]["error.type"] == "attempt_timeout"


def test_an_attempt_that_hangs_in_its_connect_is_unsent(launch) -> None:
    kept, port = full_endpoint()
    gateway = start(launch, port, {"max_retries": 1, "per_try_timeout_ms": 150})
    with Client(gateway.port) as client:
        assert client.request("POST", "/api", body=b"x").status == 504
    assert len(gateway.access_entries(1)[0]["gateway.attempts"]) == 2
    for sock in kept:
        sock.close()


def test_a_response_that_has_begun_is_past_the_limit_of_its_attempt(launch, backend: Backend) -> None:
    def answer(connection: Connection, asked: Request) -> None:
        connection.send(head(200, "Content-Length: 10") + b"hello")
        time.sleep(0.5)
        connection.send(b"world")

    backend.answer = answer
    gateway = start(launch, backend.port, {"max_retries": 1, "retry_on_timeout": True, "per_try_timeout_ms": 150})
    assert gateway.get("/api").text == "helloworld"


def test_the_whole_is_limited(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway = start(launch, backend.port, {"max_retries": 10, "retry_on_timeout": True, "per_try_timeout_ms": 100}, timeout_ms=450)
    begun = time.monotonic()
    assert gateway.get("/api").status == 504
    assert time.monotonic() - begun < 2
    entry = gateway.access_entries(1)[0]
    assert entry["error.type"] in ("exchange_timeout", "attempt_timeout")
    assert 3 <= len(entry["gateway.attempts"]) <= 5


# Statuses


def test_a_status_of_5xx(launch, backend: Backend) -> None:
    backend.answer = in_turn(reply(503, body=b"busy"), reply(500), reply(body=b"third"))
    gateway = start(launch, backend.port, {"max_retries": 2, "retry_on_5xx": True})
    with Client(gateway.port) as client:
        assert client.request("GET", "/api").text == "third"
        assert client.request("GET", "/api").text == "third"
    entry = gateway.access_entries(2)[0]
    assert [one["http.response.status_code"] for one in entry["gateway.attempts"]] == [503, 500, 200]
    assert len(backend.connections) == 1, "the connection was good"


def test_a_list_of_statuses(launch, backend: Backend) -> None:
    backend.answer = in_turn(reply(429), reply(503, body=b"not in the list"))
    gateway = start(launch, backend.port, {"max_retries": 3, "retry_on_status": [429, 599]})
    response = gateway.get("/api")
    assert (response.status, response.text) == (503, "not in the list")
    assert len(backend.requests) == 2


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize("framing", ["length", "chunked", "close", "none"])
def test_when_all_attempts_are_alike_the_last_is_delivered(launch, backend: Backend, framing: str, protocol: int) -> None:
    count = 0

    def answer(connection: Connection, asked: Request) -> None:
        nonlocal count
        count += 1
        body = b"try %d " % count * 1000
        lines = [f"X-Try: {count}"]
        if framing == "length":
            connection.send(head(503, *lines, f"Content-Length: {len(body)}") + body)
        elif framing == "chunked":
            connection.send(head(503, *lines, "Transfer-Encoding: chunked") + chunk(body) + b"0\r\n\r\n")
        elif framing == "close":
            connection.send(head(503, *lines) + body)
            connection.close()
        else:
            connection.send(head(503, *lines, "Content-Length: 0"))

    backend.answer = answer
    gateway = start(launch, backend.port, {"max_retries": 2, "retry_on_5xx": True})
    expected = "" if framing == "none" else "try 3 " * 1000
    if protocol == 1:
        with Client(gateway.port) as client:
            for _ in range(2):
                count = 0
                response = client.request("GET", "/api")
                assert (response.status, response.header("X-Try"), response.text) == (503, "3", expected)
    else:
        with Http2(gateway.port) as client:
            answer2 = client.get("/api")
            assert (answer2.status, answer2.header("x-try"), answer2.body.decode()) == (503, "3", expected)


def test_a_held_response_is_delivered_when_the_retry_fails(launch, backend: Backend) -> None:
    backend.answer = in_turn(reply(503, "X-Try: 1", body=b"busy" * 20_000), close)
    gateway = start(launch, backend.port, {"max_retries": 1, "retry_on_5xx": True})
    with Client(gateway.port) as client:
        response = client.request("GET", "/api")
        assert (response.status, response.header("X-Try"), response.text) == (503, "1", "busy" * 20_000)
    entry = gateway.access_entries(1)[0]
    assert entry["http.response.status_code"] == 503 and "error.type" not in entry
    # The first of these was a kept connection, which may have been stale.
    assert [one.get("error.type") or one["http.response.status_code"] for one in entry["gateway.attempts"]] == [503] + ["connection_terminated"] * 2


def test_a_held_response_to_head(launch, backend: Backend) -> None:
    def answer(connection: Connection, asked: Request) -> None:
        connection.send(head(503, "Content-Length: 4000"))

    backend.answer = answer
    gateway = start(launch, backend.port, {"max_retries": 1, "retry_on_5xx": True})
    with Client(gateway.port) as client:
        response = client.request("HEAD", "/api")
        assert response.status == 503 and response.header("content-length") == "4000"
    assert len(backend.requests) == 2


def test_a_long_error_is_not_kept(launch, backend: Backend) -> None:
    backend.answer = in_turn(reply(503, body=bytes(300_000)), close)
    gateway = start(launch, backend.port, {"max_retries": 1, "retry_on_5xx": True}, relay_buffer_limit_bytes=65_536,
                    auto_stream_content_length_threshold_bytes=0)
    assert gateway.get("/api").status == 502


def test_an_error_that_does_not_end_is_retried_all_the_same(launch, backend: Backend) -> None:
    backend.answer = in_turn(raw(head(503, "Content-Length: 100") + b"half"), reply(body=b"good"))
    gateway = start(launch, backend.port, {"max_retries": 1, "retry_on_5xx": True})
    assert gateway.get("/api").text == "good"


def test_a_post_that_was_answered_503_is_passed_on(launch, backend: Backend) -> None:
    backend.answer = reply(503, body=b"busy")
    gateway = start(launch, backend.port, {"max_retries": 3, "retry_on_5xx": True})
    with Client(gateway.port) as client:
        response = client.request("POST", "/api", body=b"x")
        assert (response.status, response.text, response.header("X-Proxy-Retry-Denied")) == (503, "busy", None)
    assert len(backend.requests) == 1


def test_an_early_error_is_retried_with_the_body_that_has_come(launch, backend: Backend) -> None:
    count = 0

    def answer(connection: Connection, asked: Request) -> None:
        nonlocal count
        count += 1
        if count == 1:
            connection.reader.exactly(5_000)
            connection.send(head(503, "Content-Length: 0"))
            connection.wait_end()
        else:
            reply(body=b"done")(connection, asked)

    backend.answer = answer
    gateway = start(launch, backend.port, {"max_retries": 1, "retry_on_5xx": True})
    with Client(gateway.port) as client:
        client.send(b"PUT /api HTTP/1.1\r\nHost: test\r\nContent-Length: 10000\r\n\r\n" + b"a" * 5_000)
        backend.wait_requests(2)
        client.send(b"b" * 5_000)
        assert client.read("PUT").text == "done"
    assert backend.last.body == b"a" * 5_000 + b"b" * 5_000


@pytest.mark.parametrize("value, pause", [("1", 1.0), ("0", 0.0)])
def test_retry_after_is_waited_for(launch, backend: Backend, value: str, pause: float) -> None:
    backend.answer = in_turn(reply(503, f"Retry-After: {value}"), reply(body=b"good"))
    gateway = start(launch, backend.port, {"max_retries": 1, "retry_on_5xx": True, "retry_after_max_ms": 1500})
    begun = time.monotonic()
    assert gateway.get("/api").text == "good"
    assert pause <= time.monotonic() - begun < pause + 1


@pytest.mark.parametrize("value", ["2", "soon", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_long_retry_after_is_the_clients(launch, backend: Backend, value: str) -> None:
    backend.answer = reply(503, f"Retry-After: {value}")
    gateway = start(launch, backend.port, {"max_retries": 1, "retry_on_5xx": True, "retry_after_max_ms": 1500})
    response = gateway.get("/api")
    assert response.status == 503 and response.header("Retry-After") == value
    assert len(backend.requests) == 1


def test_interim_responses_and_retries(launch, backend: Backend) -> None:
    backend.answer = in_turn(raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), reply(body=b"good"))
    gateway = start(launch, backend.port, {"max_retries": 1})
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        response = client.read()
        assert response.status == 200 and response.text == "good"


# Pauses


def test_pauses_grow_and_stay_in_bounds(launch, backend: Backend) -> None:
    times: list[float] = []

    def answer(connection: Connection, asked: Request) -> None:
        times.append(time.monotonic())
        reply(503)(connection, asked)

    backend.answer = answer
    gateway = start(launch, backend.port, {"max_retries": 4, "retry_on_5xx": True, "backoff_base_ms": 50, "backoff_max_ms": 200})
    assert gateway.get("/api").status == 503
    assert len(times) == 5
    for earlier, later in zip(times, times[1:]):
        assert later - earlier < 1, "at most 200 ms and what the machine adds"


def test_a_client_that_leaves_ends_the_pause(launch, backend: Backend) -> None:
    backend.answer = reply(503, "Retry-After: 2")
    gateway = start(launch, backend.port, {"max_retries": 5, "retry_on_5xx": True, "retry_after_max_ms": 60_000})
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests(1)
        time.sleep(0.1)
        client.reset()
    entry = gateway.access_entries(1)[0]
    assert entry["error.type"] == "client_aborted"
    time.sleep(2.2)
    assert len(backend.requests) == 1


def test_a_pause_counts_when_the_worker_drains(launch, backend: Backend) -> None:
    backend.answer = in_turn(reply(503, "Retry-After: 1"), reply(body=b"good"))
    gateway = start(launch, backend.port, {"max_retries": 1, "retry_on_5xx": True, "retry_after_max_ms": 5_000},
                    top={"shutdown_drain_timeout_sec": 10})
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests(1)
        time.sleep(0.1)
        gateway.reload(idle_timeout_sec=17)
        assert client.read().text == "good"


def test_a_pause_that_would_outlast_the_drain_is_not_begun(launch, backend: Backend) -> None:
    asked = threading.Event()

    def answer(connection: Connection, request: Request) -> None:
        asked.set()
        time.sleep(0.5)
        reply(503, "Retry-After: 5", body=b"busy")(connection, request)

    backend.answer = answer
    gateway = start(launch, backend.port, {"max_retries": 1, "retry_on_5xx": True, "retry_after_max_ms": 60_000},
                    top={"shutdown_drain_timeout_sec": 2})
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        assert asked.wait(5)
        gateway.reload(idle_timeout_sec=17)
        assert client.read().text == "busy"


def test_a_kept_connection_serves_others_during_a_pause(launch, backend: Backend) -> None:
    backend.answer = in_turn(reply(503, "Retry-After: 1"), reply(body=b"other"), reply(body=b"again"))
    gateway = start(launch, backend.port, {"max_retries": 1, "retry_on_5xx": True, "retry_after_max_ms": 5_000}, pool={"max_connections": 1})
    with Client(gateway.port) as first, Client(gateway.port) as second:
        first.send(request("GET", "/api"))
        backend.wait_requests(1)
        time.sleep(0.1)
        assert second.request("GET", "/api").text == "other"
        assert first.read().text == "again"


# Formats of the log


def test_attempts_as_text(launch, backend: Backend) -> None:
    backend.answer = in_turn(close, reply(503), reply())
    gateway = launch(access_log={"enabled": True, "format": "$status [$attempt_list]"},
                     upstreams=[upstream(backend.port, retry={"max_retries": 2, "retry_on_5xx": True})])
    assert gateway.get("/api").status == 200
    gateway.ctl("reopen")
    path = next(gateway.directory.glob("access*"))
    until(lambda: path.read_text().count("\n") == 1, 5, "a line")
    line = path.read_text()
    endpoint = f"127.0.0.1:{backend.port}"
    assert line.startswith(f"200 [{endpoint} connection_terminated 0.") and f", {endpoint} 503 0." in line and f", {endpoint} 200 0." in line


# Under load


def test_nothing_unsafe_is_sent_twice_and_nothing_safe_is_lost(launch, backend: Backend) -> None:
    """Every other request meets a failure of some kind; the backend counts by request id."""
    seen: Counter[str] = Counter()
    methods: dict[str, str] = {}
    lock = threading.Lock()
    failures: list[Callable[[Connection, Request], None]] = [close, after_reading, raw("HTTP/1.1 200 OK\r\nContent-Le"), reply(503)]

    def answer(connection: Connection, asked: Request) -> None:
        name = asked.header("X-Request-Id") or ""
        with lock:
            seen[name] += 1
            methods[name] = asked.method
            fails = seen[name] == 1 and sum(seen.values()) % 2 == 0
            kind = failures[sum(seen.values()) // 2 % len(failures)]
        if fails:
            kind(connection, asked)
        else:
            reply(body=name.encode())(connection, asked)

    backend.answer = answer
    gateway = start(launch, backend.port, {"max_retries": 3, "retry_on_5xx": True})
    results: list[tuple[str, str, int]] = []

    def run(worker: int) -> None:
        for number in range(60):
            method = ("GET", "PUT", "POST")[(worker + number) % 3]
            name = f"w{worker}n{number}"
            with Client(gateway.port) as client:
                response = client.request(method, "/api", f"X-Request-Id: {name}", body=b"" if method == "GET" else b"data")
                results.append((name, method, response.status))
                if response.status == 200:
                    assert response.text == name

    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 360
    for name, method, status in results:
        if method == "POST":
            assert seen[name] == 1, f"{name} was sent {seen[name]} times"
        else:
            assert status == 200, f"{method} {name}: {status}"
    assert any(status != 200 for _, method, status in results if method == "POST"), "some did fail"
    assert stats(gateway)["retries"] > 0
