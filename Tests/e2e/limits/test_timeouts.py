"""Clients that are slow, silent or idle."""

from __future__ import annotations

import json
import time

import pytest

from support.backend import Backend, head
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.wait import until


@pytest.fixture
def gateway(launch, backend: Backend) -> Gateway:
    return launch(access_log=True, request_timeout_sec="400ms", idle_timeout_sec="600ms", send_timeout_sec="500ms", max_body_size=0,
                  routes=[respond("/")],
                  upstreams=[upstream(backend.port), upstream(backend.port, "/buffered", "buffered", request_mode="buffered"),
                             upstream(backend.port, "/collected", "collected", buffering="always")])


def test_head_that_does_not_end(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        begun = time.monotonic()
        client.send("GET / HTTP/1.1\r\nHost: te")
        response = client.read()
        assert response.status == 408 and response.closes
        assert 0.3 < time.monotonic() - begun < 1.5
        assert client.at_end()
    assert gateway.access_entries()[0]["error.type"] == "http_request_timeout"


def test_head_that_drips(gateway: Gateway) -> None:
    """Slow and steady does not help: the whole head has one deadline."""
    with Client(gateway.port) as client:
        begun = time.monotonic()
        for byte in request("GET", "/", "X-A: " + "a" * 200):
            client.send(bytes([byte]))
            if not client.silent(0.02):
                break
        assert time.monotonic() - begun < 2, "the head was waited for without end"
        assert client.read().status == 408


def test_first_byte_that_does_not_come(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        begun = time.monotonic()
        assert client.at_end(3)
        assert 0.3 < time.monotonic() - begun < 2


def test_body_that_stalls(gateway: Gateway, backend: Backend) -> None:
    with Client(gateway.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
        assert client.read("POST").status == 408
    assert backend.wait_connections().ended.wait(2)
    assert not backend.requests or not backend.last.complete


def test_buffered_body_that_stalls(gateway: Gateway, backend: Backend) -> None:
    with Client(gateway.port) as client:
        client.send("POST /buffered HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
        assert client.read("POST").status == 408
    assert backend.requests == []


def test_streamed_body_that_pauses_briefly_goes_on(gateway: Gateway, backend: Backend) -> None:
    with Client(gateway.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            time.sleep(0.1)
            client.send("x")
        assert client.read("POST").status == 200
    assert backend.last.body == b"x" * 8


def test_idle_connection_is_closed_without_a_word(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        assert client.request().status == 200
        begun = time.monotonic()
        assert client.at_end(3)
        assert 0.4 < time.monotonic() - begun < 2


def test_each_request_begins_the_idle_time_anew(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        for _ in range(5):
            assert client.request().status == 200
            time.sleep(0.3)


def test_idle_time_does_not_count_while_the_backend_thinks(gateway: Gateway, backend: Backend) -> None:
    def slow(connection, asked) -> None:
        time.sleep(1.2)
        connection.send(head(200, "Content-Length: 0"))

    backend.answer = slow
    assert gateway.get("/api").status == 200


def test_client_that_reads_nothing_is_given_up(gateway: Gateway, backend: Backend) -> None:
    def flood(connection, asked) -> None:
        connection.send(head(200, "Content-Length: 100000000"))
        while True:
            connection.send(b"x" * 100_000)

    backend.answer = flood
    with Client(gateway.port, receive_buffer=4096) as client:
        client.send(request("GET", "/api"))
        assert backend.wait_connections().ended.wait(5), "the backend is kept for a client that reads nothing"
        assert gateway.access_entries()[0]["error.type"] == "client_stalled"


@pytest.mark.parametrize(("then", "token"), [("stalls", "client_stalled"), ("goes", "client_aborted"), ("reads", "-")])
def test_what_waits_for_the_client_belongs_to_the_exchange(gateway: Gateway, backend: Backend, then: str, token: str) -> None:
    """The backend has sent everything, and is free again; what becomes of the rest is in the log all the same."""
    body = b"x" * 16_000_000
    backend.answer = lambda connection, asked: connection.send(head(200, f"Content-Length: {len(body)}") + body)
    with Client(gateway.port, receive_buffer=4096) as client:
        client.send(request("GET", "/collected"))
        until(lambda: json.loads(gateway.get("/stats").body)["upstream_connections"]["idle"] == 1, what="the backend's connection")
        if then == "goes":
            client.reset()
        elif then == "reads":
            time.sleep(0.3)
            assert client.read().body == body
        entry = until(lambda: [one for one in gateway.access_entries(1) if one["url.path"] == "/collected"], what="the line")[0]
    assert entry.get("error.type", "-") == token and entry["http.response.status_code"] == 200
    if then == "reads":
        assert entry["http.response.body.size"] == len(body) and entry["http.server.request.duration"] > 0.25
    else:
        assert entry["http.response.body.size"] < len(body) - 1_000_000


def test_client_that_reads_slowly_is_not(gateway: Gateway, backend: Backend) -> None:
    body = b"x" * 3_000_000
    backend.answer = lambda connection, asked: connection.send(head(200, f"Content-Length: {len(body)}") + body)
    with Client(gateway.port, receive_buffer=8192) as client:
        client.send(request("GET", "/api"))
        deadline = time.monotonic() + 1.5
        got = 0
        while time.monotonic() < deadline:
            got += len(client.sock.recv(8192))
            time.sleep(0.01)
        client.reader.sock.settimeout(10)
        while got < len(body):
            data = client.sock.recv(65_536)
            assert data, "cut off"
            got += len(data)


def test_zero_switches_them_off(launch) -> None:
    gateway: Gateway = launch(request_timeout_sec=0, idle_timeout_sec=0, send_timeout_sec=0, routes=[respond("/")])
    with Client(gateway.port) as client:
        client.send("GET / HTTP/1.1\r\nHo")
        time.sleep(0.5)
        client.send("st: test\r\n\r\n")
        assert client.read().status == 200
        assert client.silent(0.5)
