"""Rate limits that several gateways share by way of a Redis server: totals, and what happens when it is away, slow or something else."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.backend import Backend
from support.client import Client
from support.configuration import respond, upstream
from support.gateway import Gateway, ctl
from support.http2 import Http2
from support.message import Closed
from support.ports import free_port
from support.redis import Connection, Pretender, Redis, RedisError, script, script_digest, slow_way
from support.wait import until


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path / "redis")
    yield server
    if server.process is not None:
        server.resume()
    server.kill()


@pytest.fixture
def pretend() -> Iterator[Callable[[Callable[[socket.socket], None]], Pretender]]:
    made: list[Pretender] = []

    def make(behave: Callable[[socket.socket], None]) -> Pretender:
        made.append(Pretender(behave))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def zone(address: str, name: str = "z", rate: float = 0.01, capacity: int = 3, key_type: str = "client_ip", **more: Any) -> dict[str, Any]:
    """A zone for /r and what is named, and not for /stats."""
    return {"name": name, "rate": rate, "capacity": capacity, "key_type": key_type, "backend": address, "applies_to": ["/r"], **more}


def limits(*zones: dict[str, Any], timeout_ms: int = 2000, failures: int = 3, retry_ms: int = 100, **more: Any) -> dict[str, Any]:
    return {"enabled": True, "zones": list(zones), "redis": {"timeout_ms": timeout_ms, "failure_threshold": failures, "retry_interval_ms": retry_ms}, **more}


def statuses(gateway: Gateway, count: int, *lines: str, path: str = "/r") -> list[int]:
    with Client(gateway.port) as client:
        return [client.request("GET", path, *lines).status for _ in range(count)]


def backends(gateway: Gateway) -> dict[str, Any]:
    return json.loads(gateway.get("/stats").body)["rate_limit"]["backends"]


def load(gateways: list[Gateway], seconds: float, threads: int = 2, *lines: str) -> tuple[int, int, float]:
    """Requests to all gateways at the same time. Returns how many were admitted and refused, and the seconds that it has taken."""
    counts = {200: 0, 429: 0}
    lock = threading.Lock()
    end = time.monotonic() + seconds

    def run(gateway: Gateway) -> None:
        own = {200: 0, 429: 0}
        try:
            with Client(gateway.port) as client:
                while time.monotonic() < end:
                    own[client.request("GET", "/r", *lines).status] += 1
        except (OSError, AssertionError, Closed):
            pass  # its worker was killed
        with lock:
            for status, count in own.items():
                counts[status] += count

    start = time.monotonic()
    runners = [threading.Thread(target=run, args=(gateway,)) for gateway in gateways for _ in range(threads)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    return counts[200], counts[429], time.monotonic() - start


# Arithmetic


def test_the_digest_is_the_scripts() -> None:
    assert script_digest() == hashlib.sha1(script().encode()).hexdigest()


def test_the_script_counts_exactly(redis: Redis) -> None:
    """Against a model in whole numbers that is told when the server has looked at its clock."""
    ask, chance = Connection(redis), random.Random(7)
    unit, text = 10**9, script()
    for case in range(12):
        rate = chance.choice([1, 999, 1000, 33_333, 1_000_000, 777_777_777, 10**12])
        capacity = chance.choice([1, 2, 7, 100, 12_345, 9_000_000])
        debt, at = 0, None
        first, admitted = None, 0
        for _ in range(250):
            cost = min(capacity, chance.choice([1, 1, 1, 2, capacity // 2 + 1, capacity]))
            wanted = max(cost, chance.choice([1, 10, capacity]))
            # At once, for a bucket that is soon full soon is no more.
            ask("MULTI")
            ask("EVAL", text, 1, f"t:{case}", rate, capacity, cost, wanted)
            ask("GET", f"t:{case}")
            (taken, remaining, until_token, until_admitted), kept = ask("EXEC")
            if taken == 0:
                assert at is not None and cost * unit > capacity * unit - debt, "refused only when there was too little at the last change"
                assert until_admitted > 0 and remaining < cost
                continue
            units, now = map(int, kept.split(":"))
            first = first or now
            debt = max(0, debt - (now - at) * rate) if at is not None else 0
            room = capacity * unit - debt
            assert cost * unit <= room and taken == min(wanted, room // unit), "admitted only what was there"
            debt, at = debt + taken * unit, now
            assert units == debt and remaining == (capacity * unit - debt) // unit
            assert until_token == max(0, -((capacity * unit - debt - unit) // rate))
            admitted += taken
            assert admitted * unit <= capacity * unit + rate * (now - first)
        lifetime = ask("PTTL", f"t:{case}")
        assert lifetime == -2 or lifetime <= debt // rate // 1000 + 2
    ask.close()


def test_the_script_refuses_what_is_no_bucket(redis: Redis) -> None:
    redis("SET", "text", "hello")
    redis("RPUSH", "list", "1")
    for key in ("text", "list"):
        with pytest.raises(RedisError):
            redis("EVAL", script(), 1, key, 1000, 1, 1, 1)
    assert redis("GET", "text") == "hello"


def test_a_bucket_survives_a_clock_that_goes_back(redis: Redis) -> None:
    seconds, microseconds = redis("TIME")
    later = int(seconds) * 1_000_000 + int(microseconds) + 3_600_000_000
    redis("SET", "k", f"2000000000:{later}")
    assert redis("EVAL", script(), 1, "k", 1, 3, 1, 1)[:2] == [1, 0], "the debt is what it was, and is paid off from now on"
    assert int(redis("GET", "k").split(":")[1]) < later


# Sharing


def test_one_request_after_the_other(launch, redis: Redis) -> None:
    first: Gateway = launch(rate_limit=limits(zone(redis.address)), routes=[respond("/r")], access_log={"format": "json"})
    second: Gateway = launch(rate_limit=limits(zone(redis.address)), routes=[respond("/r")])
    with Client(first.port) as one, Client(second.port) as other:
        answers = [client.request("GET", "/r") for client in (one, other, one, other, one)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer.header("ratelimit") for answer in answers[:3]] == ["limit=3, remaining=2, reset=0", "limit=3, remaining=1, reset=0", "limit=3, remaining=0, reset=100"]
    assert answers[3].header("retry-after") == "100" and answers[3].header("ratelimit-policy") == "3;w=300"
    assert first.access_entries(3)[-1]["error.type"] == "rate_limited"
    keys = redis("KEYS", "*")
    assert len(keys) == 1 and keys[0].startswith("gateway:rate:z:") and "127.0.0.1" not in keys[0]
    assert 299_000 <= redis("PTTL", keys[0]) <= 300_002


@pytest.mark.parametrize("batch", [1, 20])
def test_three_gateways_admit_what_one_would(launch, redis: Redis, batch: int) -> None:
    rate, capacity = 200, 60
    gateways = [launch(workers=2, rate_limit=limits(zone(redis.address, rate=rate, capacity=capacity, key_type="header:X-Key", batch=batch)), routes=[respond("/r")])
                for _ in range(3)]
    admitted, refused, seconds = load(gateways, 3, 2, "X-Key: a")
    assert refused > 0
    # What is held may be spent after it has been taken, and be lost: at most a batch in each worker.
    assert admitted <= capacity + rate * seconds + (batch * 6 if batch > 1 else 0)
    if batch == 1:
        assert admitted >= capacity + rate * (seconds - 0.3) * 0.97, "no token is lost"


def test_killed_workers_and_reloads_do_not_make_tokens(launch, redis: Redis) -> None:
    rate, capacity = 100, 40
    rules = limits(zone(redis.address, rate=rate, capacity=capacity, key_type="header:X-Key"))
    gateways = [launch(workers=2, rate_limit=rules, routes=[respond("/r")]) for _ in range(2)]
    done = threading.Event()

    def disturb() -> None:
        chance = random.Random(3)
        for round_ in range(100):
            if done.wait(0.3):
                return
            gateway = chance.choice(gateways)
            if round_ % 4 == 3:
                gateway.ctl("reload")
            elif gateway.workers:
                try:
                    os.kill(chance.choice(gateway.workers), signal.SIGKILL)
                except (ProcessLookupError, IndexError):
                    pass

    disturber = threading.Thread(target=disturb)
    disturber.start()
    admitted = 0
    start = time.monotonic()
    while time.monotonic() - start < 4:
        admitted += load(gateways, 0.5, 2, "X-Key: a")[0]
    seconds = time.monotonic() - start
    done.set()
    disturber.join()
    assert capacity < admitted <= capacity + rate * seconds


def test_zones_are_asked_in_their_order(launch, redis: Redis) -> None:
    here = {"name": "here", "rate": 0.01, "capacity": 3, "key_type": "client_ip", "applies_to": ["/r"]}
    gateway: Gateway = launch(routes=[respond("/r")], rate_limit=limits(
        zone(redis.address, "far", capacity=10), here, zone(redis.address, "farther", capacity=10), {**here, "name": "last", "capacity": 10}))
    with Client(gateway.port) as client:
        answers = [client.request("GET", "/r") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[0].header("ratelimit") == "limit=3, remaining=2, reset=0"
    # The first zone has been charged by those that the second has refused, the third has not.
    counts = {key.split(":")[2]: int(redis("GET", key).split(":")[0]) // 10**9 for key in redis("KEYS", "*")}
    assert counts == {"far": 5, "farther": 3} or counts == {"far": 4, "farther": 2}


def test_costs_prefixes_and_dry_run(launch, redis: Redis) -> None:
    routes = [{**respond("/dear"), "rate_limit_cost": 5}, {**respond("/free"), "rate_limit_cost": 0}, respond("/cheap")]
    gateway: Gateway = launch(rate_limit=limits(zone(redis.address, capacity=7, applies_to=["/dear", "/free"])), routes=routes)
    assert statuses(gateway, 3, path="/free") == [200] * 3 and statuses(gateway, 9, path="/cheap") == [200] * 9
    assert statuses(gateway, 2, path="/dear") == [200, 429]
    gateway.reload(rate_limit=limits(zone(redis.address, capacity=7, applies_to=["/dear"]), dry_run=True))
    assert statuses(gateway, 3, path="/dear") == [200] * 3
    assert "would have been refused (dry run)" in gateway.log


def test_tokens_are_taken_in_batches(launch, redis: Redis) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(redis.address, capacity=1000, batch=50)), routes=[respond("/r")])
    assert statuses(gateway, 200) == [200] * 200
    counts = backends(gateway)
    assert 4 <= counts["questions"] <= 8 and counts["held_admitted"] >= 190
    assert counts["questions"] == counts["answers"] and counts["timeouts"] == counts["failures"] == 0


def test_requests_of_one_key_join_the_question_under_way(launch, redis: Redis) -> None:
    way = slow_way(redis, 0.05)
    try:
        gateway: Gateway = launch(rate_limit=limits(zone(way.address, capacity=30, batch=10)), routes=[respond("/r")])
        results: list[int] = []
        threads = [threading.Thread(target=lambda: results.append(statuses(gateway, 1)[0])) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == [200] * 30 + [429] * 10
        assert backends(gateway)["questions"] <= 20
    finally:
        way.stop()


def test_refusals_are_not_asked_about_again_and_again(launch, redis: Redis) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(redis.address, capacity=1)), routes=[respond("/r")])
    assert statuses(gateway, 500) == [200] + [429] * 499
    assert backends(gateway)["questions"] <= 10
    # …but a bucket that was deleted is noticed.
    redis("FLUSHALL")
    until(lambda: statuses(gateway, 1) == [200], what="an admission")


def test_forgotten_scripts_are_sent_again(launch, redis: Redis) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(redis.address, capacity=100)), routes=[respond("/r")])
    assert statuses(gateway, 2) == [200, 200]
    redis("SCRIPT", "FLUSH")
    with Client(gateway.port) as client:
        assert client.request("GET", "/r").header("ratelimit") == "limit=100, remaining=97, reset=0"
        assert client.request("GET", "/r").header("ratelimit") == "limit=100, remaining=96, reset=0"
    assert backends(gateway)["failures"] == 0


def test_by_name_over_a_unix_socket_and_in_another_database(launch, tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis", unix=True, password="s3cret/%@")
    try:
        secret = "s3cret%2F%25%40"
        addresses = [f"redis://default:{secret}@localhost:{server.port}/3", f"redis+unix://:{secret}@{server.path}?db=3"]
        for address in addresses:
            gateway: Gateway = launch(rate_limit=limits(zone(address)), routes=[respond("/r")])
            assert set(statuses(gateway, 2)) <= {200, 429}
        assert statuses(gateway, 1) == [429], "all four are of one bucket"
        assert "keys=1" in server("INFO", "keyspace").split("db3:")[1]
    finally:
        server.kill()


# Requests that wait


@pytest.fixture
def slow(redis: Redis) -> Iterator[Pretender]:
    way = slow_way(redis, 0.2)
    yield way
    way.stop()


def test_pipelined_requests_keep_their_order(launch, slow: Pretender, backend: Backend) -> None:
    gateway: Gateway = launch(
        rate_limit=limits(zone(slow.address, capacity=100, applies_to=["/slow", "/api"])), upstreams=[upstream(backend.port)],
        routes=[respond("/slow", body="slow"), respond("/fast", body="fast")])
    paths = ["/fast", "/slow", "/fast", "/api/x", "/slow", "/fast"]
    with Client(gateway.port) as client:
        client.send("".join(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n" for path in paths))
        bodies = [client.read("GET").body for _ in paths]
    assert [bodies[place] for place in (0, 1, 2, 4, 5)] == [b"fast", b"slow", b"fast", b"slow", b"fast"]
    assert len(backend.requests) == 1


def test_bodies_that_come_meanwhile(launch, slow: Pretender, backend: Backend) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(slow.address, capacity=100, applies_to=["/api"])), upstreams=[upstream(backend.port)])
    body = bytes(range(256)) * 400
    with Client(gateway.port) as client:
        assert client.request("POST", "/api", body=body).status == 200
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        client.send("5\r\nworld\r\n0\r\n\r\n")
        assert client.read("POST").status == 200
    with Http2(gateway.port) as client:
        assert client.answer(client.request("POST", "/api", body=body[:30_000])).status == 200
        assert client.answer(client.request("POST", "/api", body=b"x")).status == 200
        stream = client.request("POST", "/api", ("te", "trailers"), end=False)
        client.headers([("x-check", "1")], stream=stream)
        assert client.answer(stream).status == 200
    assert [request.body for request in backend.requests] == [body, b"helloworld", body[:30_000], b"x", b""]
    assert (b"x-check", b"1") in [(name.lower(), value) for name, value in backend.requests[-1].trailers]


def test_bodies_of_refused_requests(launch, slow: Pretender, backend: Backend) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(slow.address, capacity=1, applies_to=["/api"])), upstreams=[upstream(backend.port)])
    assert statuses(gateway, 1, path="/api") == [200]
    with Client(gateway.port) as client:
        assert [client.request("POST", "/api", body=bytes(50_000)).status for _ in range(2)] == [429, 429]
    with Http2(gateway.port) as client:
        assert [client.answer(client.request("POST", "/api", body=bytes(20_000))).status for _ in range(2)] == [429, 429]
    assert len(backend.requests) == 1


def test_a_client_that_goes_meanwhile(launch, slow: Pretender) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(slow.address, capacity=100)), routes=[respond("/r")], access_log={"format": "json"})
    assert statuses(gateway, 1) == [200]
    for reset in (False, True):
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(b"GET /r?gone HTTP/1.1\r\nHost: test\r\n\r\n")
            time.sleep(0.05)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with Http2(gateway.port) as client:
        stream = client.request("GET", "/r?gone")
        client.ping()
        client.reset(stream)
    assert statuses(gateway, 2) == [200, 200]
    until(lambda: json.loads(gateway.get("/stats").body)["connections"]["active"] == 1, what="nothing that is left over")
    gone = until(lambda: [found for found in [[entry for entry in gateway.access_entries(1) if "gone" in json.dumps(entry)]] if len(found) == 3], what="three lines")[0]
    assert "client_aborted" in [entry.get("error.type") for entry in gone], gone


def test_workers_that_drain_answer_those_who_wait(launch, slow: Pretender) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(slow.address, capacity=100)), routes=[respond("/r")])
    with Client(gateway.port) as client, Http2(gateway.port) as other:
        client.send("GET /r HTTP/1.1\r\nHost: test\r\n\r\n")
        stream = other.request("GET", "/r")
        time.sleep(0.05)
        gateway.reload(idle_timeout_sec=66)
        assert client.read("GET").status == 200
        assert other.answer(stream).status == 200


# Away


def timed(gateway: Gateway) -> tuple[int, float]:
    start = time.monotonic()
    with Client(gateway.port) as client:
        status = client.request("GET", "/r").status
    return status, time.monotonic() - start


FALLBACKS = [("allow", [200] * 6), ("deny", [503] * 6), ("local", [200, 200, 200, 429, 429, 429])]


@pytest.mark.parametrize("fallback, expected", FALLBACKS)
def test_killed_and_back(launch, redis: Redis, fallback: str, expected: list[int]) -> None:
    gateway: Gateway = launch(workers=2, rate_limit=limits(zone(redis.address, fallback=fallback)), routes=[respond("/r")], access_log={"format": "json"})
    assert statuses(gateway, 4) == [200, 200, 200, 429]
    redis.kill()
    # A refusal is remembered for a second.
    time.sleep(1.1)
    answers = [timed(gateway) for _ in expected]
    assert [status for status, _ in answers] == expected
    assert max(seconds for _, seconds in answers) < 1
    if fallback == "deny":
        refused = gateway.get("/r")
        assert refused.status == 503 and refused.header("retry-after") == "1" and refused.header("ratelimit") is None
        until(lambda: "rate_limit_unavailable" in [entry.get("error.type") for entry in gateway.access_entries(5)], what="the fault in the log")
    for _ in range(12):
        gateway.get("/r")
    until(lambda: "is not asked any more" in gateway.log, what="the server is given up")
    redis.start()
    until(lambda: "answers again" in gateway.log, what="the server is asked again")
    until(lambda: statuses(gateway, 4) == [200, 200, 200, 429] or redis("FLUSHALL") and False, 8, "its buckets count again", 0.3)
    time.sleep(0.5)
    assert gateway.log.count("is not asked any more") == 1 and gateway.log.count("answers again") == 1, "said once, though there are two workers"


def test_paused_and_back(launch, redis: Redis) -> None:
    bound = 0.4
    gateway: Gateway = launch(
        rate_limit=limits(zone(redis.address, capacity=1000, fallback="allow"), timeout_ms=int(bound * 1000), failures=4, retry_ms=300), routes=[respond("/r")])
    assert statuses(gateway, 3) == [200] * 3
    redis.pause()
    times = [timed(gateway) for _ in range(10)]
    assert [status for status, _ in times] == [200] * 10
    waits = [seconds for _, seconds in times]
    assert max(waits) < bound + 0.3, "nobody waits longer than the bound, and the clock's grain"
    assert all(seconds > bound * 0.9 for seconds in waits[:4]), "the first ones wait for it"
    assert max(waits[4:]) < 0.3, "the others do not"
    counts = backends(gateway)
    assert counts["timeouts"] == 4 and counts["given_up"] == 1 and counts["fallback_allowed"] == 10
    # While it stays away, nobody waits for the tries either.
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        assert timed(gateway)[1] < 0.3
    redis.resume()
    until(lambda: "answers again" in gateway.log, what="the server is asked again")
    before = backends(gateway)["answers"]
    assert statuses(gateway, 5) == [200] * 5
    assert backends(gateway)["answers"] == before + 5


def test_those_who_wait_together_are_let_go_together(launch, redis: Redis) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(redis.address, capacity=1000, fallback="allow"), timeout_ms=300, failures=3), routes=[respond("/r")])
    assert statuses(gateway, 1) == [200]
    redis.pause()
    waits: list[tuple[int, float]] = []
    threads = [threading.Thread(target=lambda: waits.append(timed(gateway))) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [status for status, _ in waits] == [200] * 30 and max(seconds for _, seconds in waits) < 0.8
    assert backends(gateway)["timeouts"] < 30


def test_the_share_of_a_fallback(launch) -> None:
    address = f"redis://127.0.0.1:{free_port()}"
    gateway: Gateway = launch(rate_limit=limits(zone(address, capacity=10, fallback_share=0.3)), routes=[respond("/r")])
    with Client(gateway.port) as client:
        answers = [client.request("GET", "/r") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[0].header("ratelimit") == "limit=10, remaining=2, reset=0"


# Something else


def odd_servers() -> dict[str, Callable[[socket.socket], None]]:
    def http(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def chatty(connection: socket.socket) -> None:
        for _ in range(100):
            connection.sendall(b"+OK\r\n" * 1000)

    def noise(connection: socket.socket) -> None:
        chance = random.Random(5)
        for _ in range(50):
            connection.sendall(chance.randbytes(1000))

    def endless(connection: socket.socket) -> None:
        connection.sendall(b"$400000000\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    def announcing(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"*2000000000\r\n" + b":1\r\n" * 100)
        connection.recv(1)

    def closing(connection: socket.socket) -> None:
        connection.close()

    def silent(connection: socket.socket) -> None:
        connection.recv(1 << 20)
        time.sleep(30)

    def wrong_numbers(connection: socket.socket) -> None:
        # Greets as it should, and answers questions with more than was wanted.
        data = connection.recv(65536)
        while data:
            if b"SCRIPT" in data:
                connection.sendall(f"$40\r\n{script_digest()}\r\n".encode())
            connection.sendall(b"*4\r\n:1000000\r\n:9223372036854775807\r\n:9223372036854775807\r\n:9223372036854775807\r\n" * data.count(b"EVALSHA"))
            data = connection.recv(65536)

    def full(connection: socket.socket) -> None:
        connection.sendall(b"-ERR max number of clients reached\r\n")
        connection.close()

    return {function.__name__: function for function in (http, chatty, noise, endless, announcing, closing, silent, wrong_numbers, full)}


@pytest.mark.parametrize("kind", list(odd_servers()))
def test_what_is_no_redis(launch, pretend, kind: str) -> None:
    server = pretend(odd_servers()[kind])
    gateway: Gateway = launch(
        rate_limit=limits(zone(server.address, capacity=4, fallback="local"), timeout_ms=150, failures=3, retry_ms=60_000), routes=[respond("/r")],
    )
    worker = gateway.worker
    answers = [timed(gateway) for _ in range(6)]
    assert [status for status, _ in answers] == [200, 200, 200, 200, 429, 429]
    assert max(seconds for _, seconds in answers) < 0.5
    assert gateway.worker == worker, "the worker lives"
    assert backends(gateway)["given_up"] == 1 and gateway.log.count("is not asked any more") == 1, gateway.log


def test_wrong_password(launch, tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis", password="right")
    try:
        gateway: Gateway = launch(
            workers=2, rate_limit=limits(zone(f"redis://:wr0ng-pass@127.0.0.1:{server.port}", fallback="deny"), retry_ms=200), routes=[respond("/r")])
        until(lambda: "is not asked any more" in gateway.log, what="the server is given up")
        assert timed(gateway)[0] == 503
        assert "WRONGPASS" in gateway.log and "wr0ng-pass" not in gateway.log
        time.sleep(0.7)
        assert gateway.log.count("is not asked any more") == 1
        gateway.reload(rate_limit=limits(zone(server.address, fallback="deny")))
        assert statuses(gateway, 4) == [200, 200, 200, 429]
        gateway.reload(rate_limit=limits(zone(f"redis://127.0.0.1:{server.port}", fallback="deny")))
        until(lambda: timed(gateway)[0] == 503, what="the server is not used")
        until(lambda: "NOAUTH" in gateway.log, what="the reason")
    finally:
        server.kill()


def test_keys_that_hold_something_else(launch, redis: Redis) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(redis.address, capacity=2, key_type="header:X-Key", fallback="allow")), routes=[respond("/r")])
    assert statuses(gateway, 1, "X-Key: a") == [200]
    key = redis("KEYS", "*")[0]
    for value in (["SET", key, "something else"], ["RPUSH", key, "1"]):
        redis("DEL", key)
        redis(*value)
        assert statuses(gateway, 6, "X-Key: a") == [200] * 6, "its fallback holds"
        assert statuses(gateway, 3, "X-Key: b" if value[0] == "SET" else "X-Key: c") == [200, 200, 429], "other keys are decided on"
    assert "a key of its prefix holds something else: WRONGTYPE" in gateway.log and "is not asked any more" not in gateway.log


def test_a_server_that_does_not_write(launch, redis: Redis) -> None:
    redis("CONFIG", "SET", "min-replicas-to-write", "1")
    gateway: Gateway = launch(rate_limit=limits(zone(redis.address, fallback="deny")), routes=[respond("/r")])
    assert statuses(gateway, 5) == [503] * 5
    until(lambda: "is not asked any more" in gateway.log, what="the server is given up")
    assert "NOREPLICAS" in gateway.log
    redis("CONFIG", "SET", "min-replicas-to-write", "0")
    until(lambda: statuses(gateway, 1) == [200], what="the server is used")


# Configuration


def test_reloads_change_the_backend(launch, redis: Redis, tmp_path: Path) -> None:
    other = Redis(tmp_path / "other")
    try:
        gateway: Gateway = launch(rate_limit=limits(zone(redis.address)), routes=[respond("/r")])
        assert statuses(gateway, 4) == [200, 200, 200, 429]
        gateway.reload(rate_limit=limits(zone(other.address)))
        assert statuses(gateway, 4) == [200, 200, 200, 429]
        gateway.reload(rate_limit=limits(zone("")))
        assert statuses(gateway, 4) == [200, 200, 200, 429]
        gateway.reload(rate_limit=limits(zone(redis.address)))
        assert statuses(gateway, 1) == [429]
        redis.kill()
        gateway.reload(rate_limit=limits(zone(other.address, capacity=5)))
        assert statuses(gateway, 3) == [200, 200, 429], "what was taken stays taken"
    finally:
        other.kill()


def test_passwords_are_not_shown(launch, tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis", password="very-secret")
    try:
        gateway: Gateway = launch(rate_limit=limits(zone(server.address)), routes=[respond("/r")], log={"level": "debug"})
        assert statuses(gateway, 1) == [200]
        shown = ctl("config", "-c", str(gateway.config_file))
        assert shown.returncode == 0 and "redis://:***@127.0.0.1" in shown.stdout and "very-secret" not in shown.stdout
        full = ctl("config", "--show-secrets", "-c", str(gateway.config_file))
        assert server.address in full.stdout
        gateway.write(rate_limit=limits(zone(server.address.replace("very", "other"), capacity=9)))
        planned = gateway.ctl("plan")
        assert planned.returncode == 0 and "***" in planned.stdout and "secret" not in planned.stdout
        assert "secret" not in gateway.get("/stats").body.decode() and "secret" not in gateway.log
        hidden = tmp_path / "hidden.json"
        hidden.write_text(shown.stdout)
        refused = ctl("validate", "-c", str(hidden))
        assert refused.returncode == 1 and "has *** in place of its password" in refused.stdout + refused.stderr
    finally:
        server.kill()


def test_the_zones_are_shown_with_their_server(launch, redis: Redis) -> None:
    gateway: Gateway = launch(rate_limit=limits(zone(redis.address, "shared", fallback="deny")), routes=[respond("/r")])
    statuses(gateway, 4)
    until(lambda: f"shared (on redis://127.0.0.1:{redis.port})" in gateway.ctl("limits").stdout, what="the server")
    redis.kill()
    time.sleep(1.1)
    statuses(gateway, 5)
    shown = json.loads(gateway.ctl("limits", "--json").stdout)["rate_limits"][0]
    assert shown["backend"] == f"redis://127.0.0.1:{redis.port}" and shown["backend_away"] is True and shown["fallback"] == "deny"
    assert "is away: deny" in gateway.ctl("limits").stdout
