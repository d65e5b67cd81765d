"""`delay`: requests that find their bucket empty are held until their token is there, and nobody else waits for them."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from typing import Any

import pytest

from support.backend import Backend
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.http2 import Http2
from support.stress import wrk
from support.wait import until


def limits(rate: float = 5, capacity: int = 1, delay: int = 3, key_type: str = "client_ip", zone: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"enabled": True, "zones": [{"name": "z", "rate": rate, "capacity": capacity, "delay": delay, "key_type": key_type, **(zone or {})}], **more}


def stats(gateway: Gateway) -> dict[str, Any]:
    """Asked for in a way that no zone of these tests takes a token for."""
    return json.loads(gateway.get("/stats").body)["rate_limit"]


def test_requests_are_held_until_their_token_is_there(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(key_type="header:X-Key"), routes=[respond("/")], access_log={"format": "json"})
    clients = [Client(gateway.port) for _ in range(6)]
    begun = time.monotonic()
    for client in clients:
        client.send(request("GET", "/", "X-Key: a"))
        time.sleep(0.01)  # so that they come in this order
    times, answers = [], []
    for client in clients[4:] + clients[:4]:
        answers.append(client.read())
        times.append(time.monotonic() - begun)
    assert [answer.status for answer in answers] == [429, 429, 200, 200, 200, 200]
    assert max(times[:2]) < 0.19, "a refusal does not wait"
    assert all(expected - 0.02 <= found for expected, found in zip((0, 0.2, 0.4, 0.6), times[2:])), times
    assert answers[0].header("ratelimit") == "limit=1, remaining=0, reset=1" and answers[0].header("retry-after") == "1"
    assert answers[5].header("ratelimit-policy") == "1;w=1" and answers[5].header("retry-after") is None
    assert stats(gateway) == {"refused": 2, "dry_run_refused": 0, "held": 0, "delayed": 3, "zones": {"z": {"refused": 2, "dry_run_refused": 0}}}
    entries = gateway.access_entries(6)
    assert sum(entry["error.type"] == "rate_limited" for entry in entries if "error.type" in entry) == 2
    for client in clients:
        client.close()


def test_nobody_else_waits(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(rate=1, key_type="header:X-Key"), routes=[respond("/")])
    with Client(gateway.port) as held, Client(gateway.port) as other:
        assert held.request("GET", "/", "X-Key: a").status == 200
        held.send(request("GET", "/", "X-Key: a"))
        begun = time.monotonic()
        assert other.request("GET", "/", "X-Key: b").status == 200
        for _ in range(20):
            assert other.request("GET", "/").status == 200
        assert time.monotonic() - begun < 0.9 and stats(gateway)["held"] == 1
        assert held.read().status == 200 and time.monotonic() - begun > 0.9


def test_pipelined_requests_stay_in_order(launch, backend: Backend) -> None:
    gateway: Gateway = launch(rate_limit=limits(), upstreams=[upstream(backend.port)], routes=[respond("/one", "one"), respond("/two", "two")])
    with Client(gateway.port) as client:
        begun = time.monotonic()
        client.send(b"".join(request("GET", path) for path in ("/one", "/two", "/api", "/one")))
        bodies = []
        for _ in range(4):
            bodies.append(client.read().body)
        assert bodies == [b"one", b"two", b"hello from the backend", b"one"]
        assert time.monotonic() - begun >= 0.58


@pytest.mark.parametrize("path, size", [("/api", 200_000), ("/buffered", 200_000), ("/local", 50_000)])
def test_bodies_wait_with_their_request(launch, backend: Backend, path: str, size: int) -> None:
    gateway: Gateway = launch(rate_limit=limits(), routes=[respond("/local", methods=["POST"])],
                              upstreams=[upstream(backend.port), upstream(backend.port, "/buffered", "buffered", request_mode="buffered")])
    body = bytes(range(250)) * (size // 250)
    with Client(gateway.port) as client:
        for _ in range(3):
            assert client.request("POST", path, body=body).status == 200
    if path != "/local":
        assert [asked.body for asked in backend.requests] == [body] * 3


def test_continue_is_said_when_the_token_is_there(launch, backend: Backend) -> None:
    gateway: Gateway = launch(rate_limit=limits(), upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        assert client.request("GET", "/api").status == 200
        begun = time.monotonic()
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_head().status == 100 and time.monotonic() - begun > 0.15
        client.send(b"hello")
        assert client.read("POST").status == 200
    assert backend.last.body == b"hello"


def test_http2_streams_wait_for_themselves(launch, backend: Backend) -> None:
    gateway: Gateway = launch(rate_limit=limits(key_type="header:x-key"), routes=[respond("/")], upstreams=[upstream(backend.port)])
    with Http2(gateway.port) as client:
        begun = time.monotonic()
        streams = [client.request("GET", "/", ("x-key", "a")) for _ in range(2)]
        streams.append(client.request("POST", "/api", ("x-key", "a"), body=b"x" * 40_000))
        free = client.request("GET", "/")
        assert client.answer(free).status == 200 and time.monotonic() - begun < 0.19
        assert [client.answer(stream).status for stream in streams] == [200, 200, 200]
        assert time.monotonic() - begun >= 0.38
    assert backend.last.body == b"x" * 40_000


def test_trailers_wait_with_their_request(launch, backend: Backend) -> None:
    gateway: Gateway = launch(rate_limit=limits(), upstreams=[upstream(backend.port)])
    with Http2(gateway.port) as client:
        streams = []
        for number in range(2):
            stream = client.request("POST", "/api", ("te", "trailers"), end=False)
            client.data(stream, b"body", end=False)
            client.headers([("x-check", str(number))], stream=stream)
            streams.append(stream)
        # Those of the third, which is held as well, are no trailers.
        bad = client.request("POST", "/api", end=False)
        client.headers([(":path", "/")], stream=bad)
        assert [client.answer(stream).status for stream in streams] == [200, 200]
        assert client.answer(bad).reset == 1
    assert [request.body for request in backend.requests] == [b"body", b"body"]
    assert [[(name.lower(), value) for name, value in request.trailers] for request in backend.requests] == [[(b"x-check", b"0")], [(b"x-check", b"1")]]


def test_http2_streams_that_are_reset_are_dropped(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(rate=1, key_type="header:x-key"), routes=[respond("/")])
    with Http2(gateway.port) as client:
        assert client.get("/", ("x-key", "a")).status == 200
        stream = client.request("GET", "/", ("x-key", "a"))
        client.ping()
        assert stats(gateway)["held"] == 1
        client.reset(stream)
        client.ping()
        assert stats(gateway)["held"] == 0
        assert client.get("/").status == 200
        stream = client.request("GET", "/", ("x-key", "a"))
        client.ping()
    until(lambda: stats(gateway)["held"] == 0, what="the end of what the connection has left")


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_goes_away_is_not_waited_for(launch, backend: Backend, how: str) -> None:
    gateway: Gateway = launch(rate_limit=limits(rate=0.5, key_type="header:X-Key"), upstreams=[upstream(backend.port)], http1={"half_close": "cancel"},
                              access_log={"format": "json"})
    assert gateway.get("/api", "X-Key: a").status == 200
    client = Client(gateway.port)
    client.send(request("GET", "/api", "X-Key: a"))
    until(lambda: stats(gateway)["held"] == 1, what="the request")
    client.close() if how == "close" else client.reset()
    until(lambda: stats(gateway)["held"] == 0, timeout=1.5, what="its end")
    time.sleep(2.2)
    assert len(backend.requests) == 1, "it was not sent all the same"
    assert any(entry.get("error.type") == "client_aborted" for entry in gateway.access_entries(2))


def test_a_half_closed_client_gets_its_answer(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(), routes=[respond("/")], http1={"half_close": "answer"})
    assert gateway.get("/").status == 200
    with Client(gateway.port) as client:
        client.send(request("GET", "/"))
        client.half_close()
        assert client.read().status == 200


def test_as_many_are_held_as_may_be(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(rate=2, delay=100, key_type="header:X-Key", max_delayed=2), routes=[respond("/")])
    clients = [Client(gateway.port) for _ in range(4)]
    for client in clients:
        client.send(request("GET", "/", "X-Key: a"))
        time.sleep(0.02)
    assert clients[3].read().status == 429
    assert [client.read().status for client in clients[:3]] == [200] * 3
    # There is room again.
    clients[0].send(request("GET", "/", "X-Key: a"))
    assert clients[0].read().status == 200
    for client in clients:
        client.close()


def test_the_hold_counts_for_the_limit_of_the_whole_exchange(launch, backend: Backend) -> None:
    gateway: Gateway = launch(rate_limit=limits(rate=2), upstreams=[upstream(backend.port, timeout_ms=300)])
    assert gateway.get("/api").status == 200
    begun = time.monotonic()
    assert gateway.get("/api").status == 504 and time.monotonic() - begun < 2


def test_a_drain_waits_for_what_is_held_and_answers_what_it_cannot_wait_for(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(rate=0.2, delay=5, key_type="header:X-Key"), routes=[respond("/")], shutdown_drain_timeout_sec=2)
    with Client(gateway.port) as short, Client(gateway.port) as long:
        assert short.request("GET", "/", "X-Key: a").status == 200
        time.sleep(3.9)
        short.send(request("GET", "/", "X-Key: a"))
        assert long.request("GET", "/", "X-Key: b").status == 200
        long.send(request("GET", "/", "X-Key: b"))
        until(lambda: stats(gateway)["held"] == 2, what="both requests")
        gateway.signal(signal.SIGTERM)
        assert short.read().status == 200
        refused = long.read()
        assert refused.status == 503 and refused.closes
    assert gateway.wait_exit(5) == 0


def test_a_dry_run_holds_nothing(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(rate=0.1, delay=2, dry_run=True), routes=[respond("/")])
    begun = time.monotonic()
    with Client(gateway.port) as client:
        assert [client.request("GET", "/").status for _ in range(6)] == [200] * 6
    assert time.monotonic() - begun < 2


def test_a_change_of_the_delay_keeps_what_is_owed(launch) -> None:
    gateway: Gateway = launch(rate_limit=limits(rate=0.05, capacity=2, delay=2), routes=[respond("/")])
    assert gateway.get("/").status == 200 and gateway.get("/").status == 200
    gateway.reload(rate_limit=limits(rate=0.05, capacity=2, delay=0))
    assert gateway.get("/").status == 429


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_under_load_as_many_are_admitted_as_there_are_tokens(launch) -> None:
    gateway: Gateway = launch(workers=2, rate_limit=limits(rate=200, capacity=50, delay=20), routes=[respond("/")])
    outcome = wrk(gateway.port, 3, connections=40)
    # Those that are still held when wrk ends have their token, too.
    assert outcome.least(200, 50) - 20 <= outcome.admitted <= outcome.most(200, 50 + 20), outcome
    found = json.loads(gateway.get("/stats").body if gateway.get("/stats").status == 200 else until(lambda: answered(gateway), what="stats"))
    assert found["rate_limit"]["delayed"] > 100


def answered(gateway: Gateway) -> bytes | None:
    response = gateway.get("/stats")
    return response.body if response.status == 200 else None


def test_workers_hold_together(launch) -> None:
    """What one worker holds counts for the others: the waits follow each other."""
    gateway: Gateway = launch(workers=3, rate_limit=limits(rate=10, capacity=1, delay=8), routes=[respond("/")])
    times: list[float] = []
    begun = time.monotonic()

    def ask() -> None:
        if gateway.get("/").status == 200:
            times.append(time.monotonic() - begun)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 8
    assert all(found >= 0.1 * place - 0.03 for place, found in enumerate(sorted(times))), times
