"""Connections over TLS: what is not TLS, how they end, and what passes through them."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import time

import pytest

from support.backend import Backend, Connection, Request, reply
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.tls import Authority, has_ended, stats
from support.wait import until


def failures(client, gateway: Gateway) -> dict[str, int]:
    with client(gateway) as connection:
        found: dict[str, int] = stats(connection)["failures"]
        return found


def test_plain_http_is_answered_400(secure, client) -> None:
    gateway: Gateway = secure(access_log=True)
    with Client(gateway.port) as plain:
        response = plain.request("GET", "/")
        assert response.status == 400 and b"speaks TLS" in response.body
        assert plain.at_end()
    assert failures(client, gateway)["not_tls"] == 1
    assert gateway.access_entries()[0]["error.type"] == "http_request_without_tls"


@pytest.mark.parametrize("garbage", [b"\x00" * 100, b"\xff\xfe", os.urandom(1) + b"\x00\x01", b"\x16\x03\x01\x00\x05hello" * 20, b"\x16\x03\x01\xff\xff" + b"x" * 70_000,
                                     b"\x80\x2e\x01\x03\x01"])
def test_garbage_is_closed(secure, client, garbage: bytes) -> None:
    gateway: Gateway = secure()
    if garbage[:1].isupper():
        garbage = b"\x01" + garbage
    with socket.create_connection(("127.0.0.1", gateway.port), 5) as sock:
        try:
            sock.sendall(garbage)
        except OSError:
            pass
        # A record that claims to be longer than one may be is refused at its header; one that is cut off waits for its rest.
        assert has_ended(sock)
    with client(gateway) as connection:
        assert connection.request("GET", "/").status == 200


def test_handshake_has_a_deadline(secure, client) -> None:
    gateway: Gateway = secure(request_timeout_sec="300ms")
    with socket.create_connection(("127.0.0.1", gateway.port), 5) as silent, socket.create_connection(("127.0.0.1", gateway.port), 5) as slow:
        slow.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert has_ended(silent) and has_ended(slow)
    assert failures(client, gateway)["timeout"] == 2


def test_a_slow_handshake_completes(secure, authority: Authority) -> None:
    """Byte by byte."""
    gateway: Gateway = secure()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = authority.context().wrap_bio(incoming, outgoing, server_hostname="site.test")
    with socket.create_connection(("127.0.0.1", gateway.port), 5) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def step(action):
            while True:
                try:
                    result = action()
                    break
                except ssl.SSLWantReadError:
                    pass
                for byte in outgoing.read():
                    sock.sendall(bytes([byte]))
                incoming.write(sock.recv(65_536))
            for byte in outgoing.read():
                sock.sendall(bytes([byte]))
            return result

        step(session.do_handshake)
        session.write(request("GET", "/"))
        assert step(lambda: session.read(1000)).startswith(b"HTTP/1.1 200")


def test_the_end_is_announced(secure, client) -> None:
    gateway: Gateway = secure()
    with client(gateway) as connection:
        connection.send(request("GET", "/", "Connection: close"))
        assert connection.read().body == b"secure"
        assert connection.ends_with_notice()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_idle_connections_are_closed_with_notice(secure, client, authority: Authority, version: ssl.TLSVersion) -> None:
    gateway: Gateway = secure(idle_timeout_sec="200ms")
    with client(gateway, context=authority.context(maximum_version=version)) as connection:
        assert connection.request("GET", "/").status == 200
        assert connection.ends_with_notice()


def test_a_client_that_says_goodbye_is_let_go(secure, client) -> None:
    gateway: Gateway = secure()
    with client(gateway) as connection:
        assert connection.request("GET", "/").status == 200
        connection.sock.settimeout(5)
        connection.sock.unwrap()  # waits for the gateway's close_notify


@pytest.mark.parametrize("half_close", ["answer", "cancel"])
def test_a_client_that_finishes_sending_is_answered(secure, authority: Authority, backend: Backend, half_close: str) -> None:
    """close_notify right behind the request is what a FIN is in the clear."""
    gateway: Gateway = secure(upstreams=[upstream(backend.port)], http1={"half_close": half_close})
    backend.answer = lambda connection, seen: (time.sleep(0.3), reply(body=b"late")(connection, seen))[1]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = authority.context(minimum_version=ssl.TLSVersion.TLSv1_3).wrap_bio(incoming, outgoing, server_hostname="site.test")
    with socket.create_connection(("127.0.0.1", gateway.port), 5) as sock:
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65_536))
        session.write(request("GET", "/api"))
        with pytest.raises(ssl.SSLWantReadError):
            session.unwrap()
        sock.sendall(outgoing.read())
        received = b""
        sock.settimeout(5)
        try:
            while data := sock.recv(65_536):
                received += data
        except ConnectionResetError:
            pass
        # Then the gateway has closed, and not by a timeout.
        incoming.write(received)
        if half_close == "answer":
            assert b"late" in session.read(65_536)
            with pytest.raises(ssl.SSLZeroReturnError):
                session.read(1)
        else:
            with pytest.raises(ssl.SSLError):
                assert b"late" not in session.read(65_536)
                session.read(1)


def test_a_request_that_is_cut_off_is_none(secure, client, backend: Backend) -> None:
    """The end of the TCP connection within a request is no end of the request."""
    gateway: Gateway = secure(upstreams=[upstream(backend.port)])
    with client(gateway) as connection:
        connection.send("POST /api HTTP/1.1\r\nHost: site.test\r\nContent-Length: 10\r\n\r\n12345")
        backend.wait_requests(1)
    with client(gateway) as connection:
        connection.send("GET /api HTTP/1.1\r\nHost: site")
        time.sleep(0.05)
    time.sleep(0.2)
    assert len(backend.requests) == 1 and not backend.requests[0].complete


def test_pipelined_requests(secure, client) -> None:
    gateway: Gateway = secure()
    with client(gateway) as connection:
        connection.send(request("GET", "/") * 200)
        for _ in range(200):
            assert connection.read().body == b"secure"


def test_large_heads_in_small_records(secure, client) -> None:
    gateway: Gateway = secure()
    with client(gateway) as connection:
        head = request("GET", "/", *(f"X-{number}: {'v' * 90}" for number in range(60)))
        for start in range(0, len(head), 37):
            connection.send(head[start : start + 37])
        assert connection.read().status == 200
        connection.send(request("GET", "/", f"X-Long: {'v' * 20_000}"))
        assert connection.read().status == 431


@pytest.mark.parametrize("mode", ["streaming", "buffered"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_long_bodies_both_ways(secure, client, authority: Authority, backend: Backend, mode: str, version: ssl.TLSVersion) -> None:
    gateway: Gateway = secure(max_body_size=64 << 20, upstreams=[upstream(backend.port, request_mode=mode)])

    def echo(connection: Connection, seen: Request) -> None:
        reply(body=connection.read_body(seen))(connection, seen)

    backend.answer = echo
    body = os.urandom(1 << 20) * 12
    with client(gateway, context=authority.context(maximum_version=version), timeout=60) as connection:
        for _ in range(2):
            # The gateway answers while the request is still under way only if both sides are read.
            response = connection.request("POST", "/api", body=body)
            assert response.status == 200 and hashlib.sha256(response.body).digest() == hashlib.sha256(body).digest()


@pytest.mark.parametrize("buffering", ["always", "never"])
def test_a_slow_reader_gets_everything(secure, client, backend: Backend, buffering: str) -> None:
    gateway: Gateway = secure(upstreams=[upstream(backend.port, buffering=buffering, relay_buffer_limit_bytes=65_536, auto_stream_content_length_threshold_bytes=65_536)])
    body = os.urandom(1 << 20) * 8
    backend.answer = reply(body=body)
    with client(gateway, receive_buffer=4096, timeout=60) as connection:
        connection.send(request("GET", "/api"))
        time.sleep(0.5)
        assert connection.read().body == body
        backend.answer = reply(body=b"next")
        assert connection.request("GET", "/api").body == b"next"


def test_a_large_local_answer(secure, client) -> None:
    body = "0123456789abcdef" * 40_000
    gateway: Gateway = secure(routes=[respond("/", body)])
    with client(gateway, receive_buffer=4096) as connection:
        connection.send(request("GET", "/") * 3)
        for _ in range(3):
            assert connection.read().body == body.encode()


def test_a_response_cut_off_shows(secure, client, backend: Backend) -> None:
    """A backend that fails half-way: the client must not take what it has for the whole."""
    gateway: Gateway = secure(upstreams=[upstream(backend.port, buffering="never")])

    def broken(connection: Connection, seen: Request) -> None:
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nsome")
        time.sleep(0.1)
        connection.close()

    backend.answer = broken
    with client(gateway) as connection:
        connection.send("GET /api HTTP/1.0\r\n\r\n")
        with pytest.raises(OSError):
            while connection.sock.recv(1000):
                pass


def test_unread_answers_do_not_pile_up(secure, client, backend: Backend) -> None:
    gateway: Gateway = secure(send_timeout_sec="500ms", upstreams=[upstream(backend.port, buffering="never", relay_buffer_limit_bytes=65_536, auto_stream_content_length_threshold_bytes=65_536)])
    backend.answer = reply(body=bytes(64 << 20))
    with client(gateway, receive_buffer=4096) as connection:
        connection.send(request("GET", "/api"))
        until(lambda: backend.connections and backend.connections[0].ended.is_set(), 10, "the gateway to give up")


def test_many_connections_at_once(secure, client, authority: Authority) -> None:
    gateway: Gateway = secure(workers=2)
    context = authority.context()
    connections = [client(gateway, context=context) for _ in range(100)]
    for connection in connections:
        connection.send(request("GET", "/"))
    for connection in connections:
        assert connection.read().body == b"secure"
        connection.close()
    until(lambda: stats_of(client, gateway) <= 1, 5, "the connections to be closed")


def stats_of(client, gateway: Gateway) -> int:
    import json

    with client(gateway) as connection:
        return int(json.loads(connection.request("GET", "/stats").body)["connections"]["active"])


def test_beyond_max_connections_there_is_an_alert(secure, client, authority: Authority) -> None:
    gateway: Gateway = secure(max_connections=1)

    def connected():  # type: ignore[no-untyped-def]
        try:
            return client(gateway, "site.test")
        except ssl.SSLError:
            return None  # whoever has looked whether it listens is still there

    with until(connected) as connection:
        assert connection.request("GET", "/").status == 200
        with socket.create_connection(("127.0.0.1", gateway.port), 5) as other:
            assert other.recv(100) == b"\x15\x03\x03\0\2\2\x50"
            assert other.recv(100) == b""
        with pytest.raises(ssl.SSLError, match="(?i)internal.error"):
            client(gateway, "site.test")
        until(lambda: "max_connections (1) reached: a new connection is refused with a TLS alert" in gateway.log)
        assert "answered 503" not in gateway.log
        assert connection.request("GET", "/").status == 200
