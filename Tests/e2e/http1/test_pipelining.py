"""Pipelined requests are answered in order, whatever the time each takes."""

from __future__ import annotations

import threading
import time

from support.backend import Backend, head
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway


def test_local_answers(launch) -> None:
    gateway: Gateway = launch(routes=[respond(f"/{n}", f"answer {n}") for n in range(100)])
    with Client(gateway.port) as client:
        client.send(b"".join(request("GET", f"/{n}") for n in range(100)))
        assert [client.read().text for _ in range(100)] == [f"answer {n}" for n in range(100)]


def test_more_requests_than_any_buffer_holds(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/*", "x" * 100)])
    count = 5000
    with Client(gateway.port, timeout=30) as client:
        client.sock.setblocking(True)
        sent = request("GET", "/" + "p" * 200) * count
        sender = threading.Thread(target=client.send, args=(sent,), daemon=True)
        sender.start()
        assert all(client.read().body == b"x" * 100 for _ in range(count))
        sender.join(5)


def test_slow_backend_first_then_local(launch, backend: Backend) -> None:
    def answer(connection, asked) -> None:
        time.sleep(0.3)
        connection.send(head(200, "Content-Length: 4") + b"slow")

    backend.answer = answer
    gateway: Gateway = launch(routes=[respond("/fast", "fast")], upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.send(request("GET", "/api") + request("GET", "/fast") + request("GET", "/api") + request("GET", "/fast"))
        assert [client.read().text for _ in range(4)] == ["slow", "fast", "slow", "fast"]


def test_bodies_between_requests(launch, backend: Backend) -> None:
    def answer(connection, asked) -> None:
        body = connection.read_body(asked)
        connection.send(head(200, f"Content-Length: {len(body)}") + body)

    backend.answer = answer
    gateway: Gateway = launch(upstreams=[upstream(backend.port)])
    bodies = [b"a" * n for n in (0, 1, 100, 5000, 70_000)]
    with Client(gateway.port) as client:
        client.send(b"".join(request("POST", "/api", f"Content-Length: {len(body)}", body=body) for body in bodies))
        assert [client.read("POST").body for _ in bodies] == bodies


def test_nothing_after_a_request_that_closes_is_answered(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/*", "ok")])
    with Client(gateway.port) as client:
        client.send(request("GET", "/", "Connection: close") + request("GET", "/"))
        assert client.read().closes
        assert client.at_end()


def test_a_malformed_request_after_good_ones_is_refused_in_its_turn(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/*", "ok")])
    with Client(gateway.port) as client:
        client.send(request() + request() + b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n" + request())
        assert [client.read().status for _ in range(3)] == [200, 200, 400]
        assert client.at_end()
