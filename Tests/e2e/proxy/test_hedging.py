"""A request that is slow to be answered is sent once more; the first answer wins and the other is cancelled."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from typing import Any

import pytest

from support.backend import Answer, Backend, Connection, Request, close, hang, head, in_turn, raw, reply
from support.client import Client, Closed, request
from support.configuration import upstream
from support.gateway import Gateway
from support.http2 import Http2


def start(launch, backend: Backend, hedge: dict[str, Any], pool=None, **proxy: Any) -> Gateway:
    return launch(access_log=True, upstreams=[upstream(backend.port, hedge=hedge, pool=pool, **proxy)])


def stats(gateway: Gateway) -> dict[str, Any]:
    return json.loads(gateway.get("/stats").text)["upstream_connections"]


def slowly(seconds: float, answer: Answer) -> Answer:
    def wait(connection: Connection, asked: Request) -> None:
        time.sleep(seconds)
        answer(connection, asked)

    return wait


def test_the_second_wins(launch, backend: Backend) -> None:
    backend.answer = in_turn(hang, reply(body=b"second"))
    gateway = start(launch, backend, {"delay_ms": 100})
    begun = time.monotonic()
    assert gateway.get("/api").text == "second"
    assert 0.09 < time.monotonic() - begun < 2
    assert backend.connections[0].ended.wait(2), "the first was cancelled"
    counts = stats(gateway)
    assert (counts["hedges"], counts["hedges_won"]) == (1, 1)
    attempts = gateway.access_entries(1)[0]["gateway.attempts"]
    assert sorted(one.get("http.response.status_code", 0) for one in attempts) == [0, 200]
    assert [one.get("cancelled") for one in attempts].count(True) == 1


def test_the_first_wins_after_all(launch, backend: Backend) -> None:
    backend.answer = in_turn(slowly(0.4, reply(body=b"first")), hang)
    gateway = start(launch, backend, {"delay_ms": 100})
    with Client(gateway.port) as client:
        assert client.request("GET", "/api").text == "first"
        backend.answer = reply(body=b"next")
        assert client.request("GET", "/api").text == "next"
    assert backend.connections[1].ended.wait(2)
    counts = stats(gateway)
    assert (counts["hedges"], counts["hedges_won"]) == (1, 0)


def test_a_quick_answer_is_not_hedged(launch, backend: Backend) -> None:
    gateway = start(launch, backend, {"delay_ms": 300})
    with Client(gateway.port) as client:
        for _ in range(5):
            assert client.request("GET", "/api").status == 200
            time.sleep(0.1)
    time.sleep(0.4)
    assert len(backend.requests) == 5 and stats(gateway)["hedges"] == 0


@pytest.mark.parametrize("method, body", [("POST", b""), ("POST", b"x"), ("PUT", b"x"), ("PATCH", b"")])
def test_what_must_not_be_sent_twice_is_not(launch, backend: Backend, method: str, body: bytes) -> None:
    backend.answer = slowly(0.5, reply(body=b"once"))
    gateway = start(launch, backend, {"delay_ms": 100, "max": 3})
    with Client(gateway.port) as client:
        assert client.request(method, "/api", body=body).text == "once"
    assert len(backend.requests) == 1


def test_no_more_than_allowed(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway = start(launch, backend, {"delay_ms": 50, "max": 2}, response_timeout_ms=700)
    assert gateway.get("/api").status == 504
    assert len(backend.requests) == 3
    assert stats(gateway)["active"] == 0


def test_one_that_fails_is_just_one_less(launch, backend: Backend) -> None:
    backend.answer = in_turn(slowly(0.5, reply(body=b"first")), slowly(0.1, close))
    gateway = start(launch, backend, {"delay_ms": 100})
    assert gateway.get("/api").text == "first"
    attempts = gateway.access_entries(1)[0]["gateway.attempts"]
    assert [one.get("error.type") or one["http.response.status_code"] for one in attempts] == ["connection_terminated", 200]


def test_the_first_may_fail_and_the_second_answer(launch, backend: Backend) -> None:
    backend.answer = in_turn(slowly(0.2, close), slowly(0.4, reply(body=b"second")))
    gateway = start(launch, backend, {"delay_ms": 100})
    assert gateway.get("/api").text == "second"


def test_all_may_fail(launch, backend: Backend) -> None:
    backend.answer = slowly(0.2, close)
    gateway = start(launch, backend, {"delay_ms": 50})
    assert gateway.get("/api").status == 502
    assert gateway.access_entries(1)[0]["error.type"] == "connection_terminated"
    assert len(backend.requests) == 2


def test_hedging_and_retries(launch, backend: Backend) -> None:
    backend.answer = in_turn(slowly(0.2, close), slowly(0.2, close), reply(body=b"third"))
    gateway = start(launch, backend, {"delay_ms": 50}, retry={"max_retries": 1})
    assert gateway.get("/api").text == "third"
    assert len(backend.requests) == 3


def test_the_limit_of_an_attempt_ends_all_of_it(launch, backend: Backend) -> None:
    backend.answer = in_turn(hang, hang, reply(body=b"third"))
    gateway = start(launch, backend, {"delay_ms": 100}, retry={"max_retries": 1, "retry_on_timeout": True, "per_try_timeout_ms": 250})
    assert gateway.get("/api").text == "third"
    assert backend.connections[0].ended.wait(2) and backend.connections[1].ended.wait(2)


def test_a_full_pool_is_not_waited_for(launch, backend: Backend) -> None:
    backend.answer = slowly(0.4, reply(body=b"only"))
    gateway = start(launch, backend, {"delay_ms": 50, "max": 3}, pool={"max_connections": 1})
    assert gateway.get("/api").text == "only"
    assert len(backend.requests) == 1 and stats(gateway)["hedges"] == 0


def test_a_kept_connection_is_used(launch, backend: Backend) -> None:
    gateway = start(launch, backend, {"delay_ms": 100})
    with Client(gateway.port) as one, Client(gateway.port) as other:
        backend.answer = slowly(0.05, reply())
        one.send(request("GET", "/api"))
        other.send(request("GET", "/api"))
        assert one.read().status == other.read().status == 200
        backend.answer = in_turn(hang, reply(body=b"second"))
        assert one.request("GET", "/api").text == "second"
    assert len(backend.connections) == 2


def test_a_client_that_leaves_ends_both(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway = start(launch, backend, {"delay_ms": 50})
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        backend.wait_requests(2)
        client.reset()
    assert backend.connections[0].ended.wait(2) and backend.connections[1].ended.wait(2)
    assert gateway.access_entries(1)[0]["error.type"] == "client_aborted"


def test_the_whole_is_limited(launch, backend: Backend) -> None:
    backend.answer = hang
    gateway = start(launch, backend, {"delay_ms": 50}, timeout_ms=300)
    assert gateway.get("/api").status == 504
    assert gateway.access_entries(1)[0]["error.type"] == "exchange_timeout"
    assert backend.connections[0].ended.wait(2) and backend.connections[1].ended.wait(2)


def test_a_long_answer_and_its_truncation(launch, backend: Backend) -> None:
    backend.answer = in_turn(hang, raw(head(200, "Content-Length: 1000000") + b"x" * 500_000))
    gateway = start(launch, backend, {"delay_ms": 50})
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        with pytest.raises((Closed, ConnectionResetError)):
            client.read()
    assert len(backend.requests) == 2


def test_on_a_stream(launch, backend: Backend) -> None:
    backend.answer = in_turn(hang, reply(body=b"second" * 50_000))
    gateway = start(launch, backend, {"delay_ms": 50})
    with Http2(gateway.port) as client:
        assert client.get("/api").body == b"second" * 50_000


def test_under_load(launch, backend: Backend) -> None:
    """Slow at random: each answer is the right one, and nothing stays behind."""
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def answer(connection: Connection, asked: Request) -> None:
        name = asked.header("X-Request-Id") or ""
        with lock:
            seen[name] += 1
            slow = sum(seen.values()) % 3 == 0
        if slow:
            time.sleep(0.15)
        reply(body=name.encode())(connection, asked)

    backend.answer = answer
    gateway = start(launch, backend, {"delay_ms": 40})
    failures: list[str] = []

    def run(worker: int) -> None:
        with Client(gateway.port) as client:
            for number in range(40):
                method, name = ("POST" if number % 4 == 3 else "GET"), f"w{worker}n{number}"
                response = client.request(method, "/api", f"X-Request-Id: {name}")
                if response.status != 200 or response.text != name:
                    failures.append(f"{name}: {response.status} {response.text!r}")

    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    counts = stats(gateway)
    assert counts["hedges"] > 0 and counts["hedges_won"] <= counts["hedges"]
    assert counts["active"] == counts["idle"]
    assert all(seen[f"w{worker}n{number}"] == 1 for worker in range(6) for number in range(3, 40, 4))
