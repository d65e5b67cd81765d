"""Copies of requests: what arrives at the mirror, and that clients never notice it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.backend import Backend, hang, raw, reply
from support.client import Client, request
from support.configuration import Json, forward, upstream
from support.gateway import Gateway
from support.http2 import Http2
from support.ports import free_port
from support.wait import until
from support.websocket import WebSocket, WebSocketBackend, frame


@pytest.fixture
def shadow() -> Iterator[Backend]:
    shadow = Backend()
    yield shadow
    shadow.stop()


def mirrored(backend: Backend, shadow: Backend | int, mirror: Json | None = None, **more: Any) -> dict[str, Any]:
    port = shadow if isinstance(shadow, int) else shadow.port
    return {"access_log": True, "upstreams": [upstream(backend.port, None), upstream(port, None, "shadow")],
            "routes": [forward("/x/*rest", mirror={"upstream": "shadow", **(mirror or {})}, **more), forward("/plain/*rest")]}


def counts(gateway: Gateway) -> Json:
    stats: Json = json.loads(gateway.get("/stats").body)
    return {key: stats["mirrors"][key] for key in ("sent", "failed", "skipped")}


def whole(shadow: Backend, count: int) -> list:
    until(lambda: sum(one.complete for one in shadow.requests) >= count, what=f"{count} copies")
    return shadow.requests


@pytest.mark.parametrize("protocol", [1, 2])
def test_a_copy(launch, backend: Backend, shadow: Backend, protocol: int) -> None:
    backend.answer = reply(200, "X-Own: 1", body=b"real")
    shadow.answer = reply(500, "X-Shadow: 1", body=b"shadow")
    gateway = launch(**mirrored(backend, shadow, rewrite="/y/{rest}", request_headers={"set": {"X-Rule": "{client_ip}"}}, response_headers={"set": {"X-Up": "{upstream}"}}))
    for _ in range(3):
        if protocol == 1:
            response = gateway.get("/x/a?q=1", "X-Mine: a", "TE: trailers", "X-Gateway-Mirror: mine")
        else:
            with Http2(gateway.port) as client:
                response = client.get("/x/a?q=1", ("x-mine", "a"))
        assert response.status == 200 and response.body == b"real" and response.header("x-shadow") is None and response.header("x-up") == "backend"
    assert gateway.get("/plain/a").status == 200
    originals = {one.header("x-request-id"): one for one in backend.requests}
    for copy in whole(shadow, 3):
        real = originals[copy.header("x-request-id")]
        assert copy.target == real.target == "/y/a?q=1" and copy.method == "GET"
        assert copy.header("x-gateway-mirror") == "1" and real.header("x-gateway-mirror") is None
        assert copy.header("host") == f"127.0.0.1:{shadow.port}" and real.header("host") == f"127.0.0.1:{backend.port}"
        for name in ("x-mine", "x-rule", "x-request-id", "x-forwarded-for", "via"):
            assert copy.header(name) == real.header(name) is not None, name
    assert len(shadow.requests) == 3
    entries = gateway.access_entries(4)
    assert {one.get("gateway.upstream") for one in entries} <= {"backend", None}
    until(lambda: counts(gateway) == {"sent": 3, "failed": 0, "skipped": 0}, what="the counts")
    stats = json.loads(gateway.get("/stats").body)
    assert stats["responses"]["5xx"] == 0 and stats["requests"]["forwarded"] == 4 and stats["requests"]["active"] == 0


@pytest.mark.parametrize("framing", ["length", "chunks", "http2", "buffered"])
def test_bodies(launch, backend: Backend, shadow: Backend, framing: str) -> None:
    body = bytes(range(256)) * 100
    config = mirrored(backend, shadow, {"non_idempotent": True})
    if framing == "buffered":
        config["upstreams"][0]["request_mode"] = "buffered"
    gateway = launch(**config)
    if framing == "http2":
        with Http2(gateway.port) as client:
            assert client.answer(client.request("POST", "/x/a", body=body)).status == 200
    else:
        with Client(gateway.port) as client:
            if framing == "chunks":
                client.send(request("POST", "/x/a", "Transfer-Encoding: chunked", "Trailer: X-T", body=b""))
                for start in range(0, len(body), 5000):
                    piece = body[start:start + 5000]
                    client.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                client.send("0\r\nX-T: 1\r\n\r\n")
                assert client.read("POST").status == 200
            else:
                assert client.request("POST", "/x/a", body=body).status == 200
    copy = whole(shadow, 1)[0]
    assert copy.method == "POST" and copy.body == body and copy.header("content-length") == str(len(body)) and copy.header("transfer-encoding") is None


def test_only_what_is_asked_for(launch, backend: Backend, shadow: Backend) -> None:
    gateway = launch(**mirrored(backend, shadow, {"max_body_size": 100}))
    with Client(gateway.port) as client:
        assert client.request("POST", "/x/post", body=b"b").status == 200
        assert client.request("PUT", "/x/long", body=b"b" * 101).status == 200
        client.send(request("PUT", "/x/chunks", "Transfer-Encoding: chunked", body=b"32\r\n" + b"b" * 50 + b"\r\n33\r\n" + b"b" * 51 + b"\r\n0\r\n\r\n"))
        assert client.read("PUT").status == 200
        assert client.request("PUT", "/x/short", body=b"b" * 100).status == 200
    assert [one.target for one in whole(shadow, 1)] == ["/x/short"]
    assert counts(gateway) == {"sent": 1, "failed": 0, "skipped": 2}


def test_a_share(launch, backend: Backend, shadow: Backend) -> None:
    gateway = launch(**mirrored(backend, shadow, {"percent": 25, "max_concurrent": 1000}))
    with Client(gateway.port) as client:
        for _ in range(800):
            assert client.request("GET", "/x/a").status == 200
    assert 200 - 62 < counts(gateway)["sent"] < 200 + 62
    until(lambda: len(shadow.requests) == counts(gateway)["sent"], what="the copies")
    before = len(shadow.requests)
    gateway.reload(routes=mirrored(backend, shadow, {"percent": 0})["routes"])
    for _ in range(20):
        assert gateway.get("/x/a").status == 200
    assert len(shadow.requests) == before


@pytest.mark.parametrize("failure", ["refused", "hangs", "broken", "cut off", "switches"])
def test_its_failures_are_its_own(launch, backend: Backend, shadow: Backend, failure: str) -> None:
    backend.answer = reply(200, body=b"real")
    shadow.answer = {"hangs": hang, "broken": raw(b"nonsense\r\n\r\n"), "cut off": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
                     "switches": raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), "refused": hang}[failure]
    gateway = launch(**mirrored(backend, free_port() if failure == "refused" else shadow, {"timeout_ms": 200}))
    for _ in range(5):
        response = gateway.get("/x/a")
        assert response.status == 200 and response.body == b"real"
    until(lambda: counts(gateway)["failed"] == 5, what="the failures")
    stats = json.loads(gateway.get("/stats").body)
    assert stats["faults"] == {} and stats["responses"]["5xx"] == 0 and stats["upstream_connections"]["failures"] == 0
    assert stats["requests"]["active"] == 0 and "error" not in "".join(one.get("error.type", "") for one in gateway.access_entries(5))
    assert "[error]" not in gateway.log and "[warn" not in gateway.log


def test_clients_do_not_wait_for_it(launch, backend: Backend, shadow: Backend) -> None:
    """A mirror that never answers: the client is answered at once, and may go; the worker stops without it."""
    backend.answer = reply(200, body=b"real")
    shadow.answer = hang
    gateway = launch(**mirrored(backend, shadow, {"timeout_ms": 60_000}), shutdown_drain_timeout_sec=30)
    with Client(gateway.port) as client:
        for _ in range(5):
            assert client.request("GET", "/x/a").body == b"real"
    until(lambda: len(shadow.requests) == 5, what="the copies")
    begun = time.monotonic()
    done = gateway.ctl("stop", timeout=60)
    assert done.returncode == 0 and time.monotonic() - begun < 20


def test_no_more_than_so_many(launch, backend: Backend, shadow: Backend) -> None:
    shadow.answer = hang
    gateway = launch(**mirrored(backend, shadow, {"max_concurrent": 3, "timeout_ms": 30_000}))
    with Client(gateway.port) as client:
        for _ in range(10):
            assert client.request("GET", "/x/a").status == 200
    until(lambda: len(shadow.requests) == 3, what="the copies")
    assert counts(gateway) == {"sent": 3, "failed": 0, "skipped": 7}


def test_long_answers_are_read_and_dropped(launch, backend: Backend, shadow: Backend) -> None:
    size = 20 << 20
    shadow.answer = reply(200, body=b"x" * size)
    backend.answer = reply(200, body=b"real")
    gateway = launch(**mirrored(backend, shadow))
    for _ in range(3):
        assert gateway.get("/x/a").body == b"real"
    until(lambda: counts(gateway) == {"sent": 3, "failed": 0, "skipped": 0}, what="the copies")
    assert len(whole(shadow, 3)) == 3


def test_a_client_that_gives_up(launch, backend: Backend, shadow: Backend) -> None:
    """A body that never becomes whole is not copied."""
    gateway = launch(**mirrored(backend, shadow, {"non_idempotent": True}))
    with Client(gateway.port) as client:
        client.send("POST /x/a HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nabc")
        until(lambda: len(backend.requests) == 1, what="the request")
    until(lambda: counts(gateway)["skipped"] == 1, what="the count")
    assert shadow.requests == [] and counts(gateway)["sent"] == 0


def test_retries_are_not_copied(launch, backend: Backend, shadow: Backend) -> None:
    answers = iter([503, 503, 200])
    backend.answer = lambda connection, asked: reply(next(answers))(connection, asked)
    gateway = launch(**mirrored(backend, shadow, proxy={"retry": {"max_retries": 2, "retry_on_status": [503], "backoff_base_ms": 1}}))
    assert gateway.get("/x/a").status == 200
    assert len(whole(shadow, 1)) == 1 and len(backend.requests) == 3


def test_upgrades_are_not_copied(launch, shadow: Backend) -> None:
    backend = WebSocketBackend()
    try:
        gateway = launch(**mirrored(backend, shadow))  # type: ignore[arg-type]
        with WebSocket(gateway.port, "/x/ws") as socket:
            socket.send(frame(1, b"hi"))
            assert socket.message() == (1, b"hi")
        assert counts(gateway) == {"sent": 0, "failed": 0, "skipped": 0} and shadow.requests == []
    finally:
        backend.stop()


def test_under_load(launch, backend: Backend, shadow: Backend) -> None:
    """Many clients, a mirror that is slow and breaks: every answer is right, and nothing is left."""
    backend.answer = lambda connection, asked: reply(200, body=asked.target.encode())(connection, asked)
    turn = iter(range(1_000_000))
    lock = threading.Lock()

    def moody(connection, asked) -> None:
        with lock:
            number = next(turn) % 4
        {0: reply(200), 1: raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na"), 2: raw(b"", then="close"), 3: reply(404, body=b"x" * 100_000)}[number](connection, asked)

    shadow.answer = moody
    gateway = launch(**mirrored(backend, shadow, {"non_idempotent": True}), workers=2)
    wrong: list[str] = []

    def work(name: int) -> None:
        with Client(gateway.port) as client:
            for number in range(100):
                path = f"/x/{name}/{number}"
                response = client.request("POST", path, body=b"b" * 3000) if number % 2 else client.request("GET", path)
                if response.status != 200 or response.body != path.encode():
                    wrong.append(path)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    until(lambda: json.loads(gateway.get("/stats").body)["upstream_connections"]["active"] == 0
          or counts(gateway)["sent"] + counts(gateway)["skipped"] == 800, what="the copies")
    assert json.loads(gateway.get("/stats").body)["requests"]["active"] <= 1
    assert gateway.workers
