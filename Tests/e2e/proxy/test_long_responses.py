"""Responses too long for one turn: whole, in order, at the client's pace, and with an end that cannot be mistaken."""

from __future__ import annotations

import os
import resource
import socket
import threading

import pytest

from support import proc
from support.backend import Backend, head, in_turn, reply
from support.client import Client, request
from support.configuration import upstream
from support.gateway import Gateway
from support.message import Closed
from support.wait import until

BODY = os.urandom(3 << 20) + b"the end"


def long_reply(*lines: str):
    return reply(200, *lines, body=BODY)


@pytest.fixture
def gateway(launch, backend: Backend) -> Gateway:
    backend.answer = long_reply()
    return launch(access_log={"format": "json"}, upstreams=[upstream(backend.port)])


def test_both_connections_serve_again(gateway: Gateway, backend: Backend) -> None:
    with Client(gateway.port) as client:
        for _ in range(5):
            assert client.request("GET", "/api").body == BODY
    assert len(backend.connections) == 1


def test_requests_sent_ahead_are_answered_in_order(gateway: Gateway, backend: Backend) -> None:
    backend.answer = in_turn(long_reply(), reply(body=b"short"), long_reply())
    with Client(gateway.port) as client:
        client.send(request("GET", "/api/1") + request("GET", "/api/2") + request("GET", "/api/3"))
        assert [client.read().body for _ in range(3)] == [BODY, b"short", BODY]


def test_the_end_of_the_connection_follows_the_body(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", "/api", "Connection: close").body == BODY
        assert client.at_end()


@pytest.mark.parametrize("lines", [("Connection: close",), ("Connection: close", "Transfer-Encoding: chunked")])
def test_other_framings(gateway: Gateway, backend: Backend, lines: tuple[str, ...]) -> None:
    def answer(connection, asked) -> None:
        connection.send(head(200, *lines))
        if len(lines) > 1:
            connection.send(f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n")
        else:
            connection.send(BODY)
        connection.close()

    backend.answer = answer
    with Client(gateway.port) as client:
        assert client.request("GET", "/api").body == BODY


def test_bytes_behind_the_body_are_nobodys(gateway: Gateway, backend: Backend) -> None:
    def answer(connection, asked) -> None:
        connection.send(head(200, f"Content-Length: {len(BODY)}") + BODY + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")

    backend.answer = answer
    with Client(gateway.port) as client:
        for _ in range(3):
            assert client.request("GET", "/api").body == BODY
    assert len(backend.connections) == 3, "a connection with unasked bytes was used again"


@pytest.mark.parametrize("sent", [200_000, len(BODY) - 1])
def test_backend_that_stops_early(gateway: Gateway, backend: Backend, sent: int) -> None:
    def answer(connection, asked) -> None:
        connection.send(head(200, f"Content-Length: {len(BODY)}") + BODY[:sent])
        connection.close()

    backend.answer = answer
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        with pytest.raises(Closed):
            client.read()
    entry = gateway.access_entries()[0]
    assert entry["error.type"] == "http_response_incomplete" and entry["http.response.status_code"] == 200


def test_client_that_leaves_midway(gateway: Gateway, backend: Backend) -> None:
    over = threading.Event()

    def answer(connection, asked) -> None:
        connection.send(head(200, f"Content-Length: {1 << 30}"))
        try:
            while True:
                connection.send(BODY)
        except OSError:
            over.set()

    backend.answer = answer
    with Client(gateway.port) as client:
        client.send(request("GET", "/api"))
        client.reader.until(b"\r\n\r\n")
        client.reader.exactly(500_000)
        client.reset()
    assert over.wait(5), "the backend was left sending"
    assert gateway.access_entries()[0]["error.type"] == "client_aborted"


def test_a_client_that_takes_nothing_holds_little_and_is_dropped(launch, backend: Backend) -> None:
    backend.answer = reply(body=bytes(64 << 20))
    gateway: Gateway = launch(send_timeout_sec=1, access_log={"format": "json"}, upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(request("GET", "/api"))
        entry = gateway.access_entries(timeout=10)[0]
    assert entry["error.type"] == "client_stalled" and entry["http.response.body.size"] < 16 << 20


def test_what_waits_for_a_slow_client_arrives(gateway: Gateway, backend: Backend) -> None:
    with Client(gateway.port) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(request("GET", "/api"))
        backend.wait_requests()
        received = client.reader.until(b"\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 200")
        body = b""
        while len(body) < len(BODY):
            body += client.reader.exactly(min(10_007, len(BODY) - len(body)))
        assert body == BODY


def pipes(pid: int) -> int:
    links = (os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd"))
    return sum(link.startswith("pipe:") for link in links)


def test_descriptors_are_given_back(gateway: Gateway) -> None:
    at_first = pipes(gateway.worker)
    gateway.get("/api")
    assert pipes(gateway.worker) == at_first + 2, "the body did not go through a pipe"
    before = proc.descriptors(gateway.worker)
    clients = [Client(gateway.port, timeout=20) for _ in range(100)]
    for client in clients:
        client.send(request("GET", "/api", "Connection: close"))
    for client in clients:
        assert client.read().body == BODY
        client.close()
    # Idle backend connections (16) and the pipes that are kept (32) remain.
    until(lambda: proc.descriptors(gateway.worker) <= before + 16 + 2 * 32, what="descriptors")


def test_without_descriptors_for_pipes_bodies_are_copied(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.request("GET", "/missing")
        client.request("GET", "/api/small")
        used = max(int(name) for name in os.listdir(f"/proc/{gateway.worker}/fd"))
        # Pipes of the first response may be kept, so that more are needed than there can be.
        _, hard = resource.prlimit(gateway.worker, resource.RLIMIT_NOFILE)
        resource.prlimit(gateway.worker, resource.RLIMIT_NOFILE, (used + 1, hard))
        assert client.request("GET", "/api").body == BODY
