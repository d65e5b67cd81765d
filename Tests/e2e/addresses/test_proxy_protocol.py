"""The PROXY protocol: required on a listener or unknown to it, and said to backends before anything else."""

from __future__ import annotations

import json
import socket
import struct

import pytest

from support.backend import Backend
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.message import Closed, Reader
from support.ports import free_port
from support.tls import Authority, listener
from support.wait import until

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def v2(command: int = 1, family: int = 0x11, body: bytes | None = None, source: str = "203.0.113.7", port: int = 4711) -> bytes:
    if body is None:
        kind = socket.AF_INET6 if family == 0x21 else socket.AF_INET
        target = "2001:db8::2" if family == 0x21 else "198.51.100.2"
        body = socket.inet_pton(kind, source) + socket.inet_pton(kind, target) + struct.pack(">HH", port, 443)
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack(">H", len(body)) + body


INET = socket.inet_aton("203.0.113.7") + socket.inet_aton("198.51.100.2") + struct.pack(">HH", 4711, 443)


def with_checksum(change: int = 0) -> bytes:
    header = v2(body=INET + b"\x04\x00\x03abc" + b"\x03\x00\x04\x00\x00\x00\x00")
    return header[:-4] + struct.pack(">I", crc32c(header) ^ change)


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    gateway: Gateway = launch_shared(wait=False, bind_host=None, access_log={"format": "json"}, client_address={"trusted_proxies": ["192.0.2.0/24"]},
                                     request_timeout_sec=2, upstreams=[upstream(shared_backend.port)], routes=[respond("/")])
    gateway.stop()
    gateway.write(bind_host=None, bind_port=None, listeners=[{"host": "127.0.0.1", "port": gateway.port, "proxy_protocol": True}])
    return gateway.start()


def told(gateway: Gateway, header: bytes, *lines: str, pieces: int = 1) -> str | None:
    """The address that a request behind `header` is from, as a backend is told; None when the connection is closed instead."""
    with Client(gateway.port) as client:
        data = header + request("GET", "/api", *lines)
        if pieces > 1:
            for byte in header:
                client.send(bytes([byte]))
            data = data[len(header):]
        client.send(data)
        try:
            assert client.read().status == 200
        except (Closed, ConnectionError):
            return None
    return None


def seen(gateway: Gateway, backend: Backend, header: bytes, *lines: str, pieces: int = 1) -> str | None:
    before = len(backend.requests)
    told(gateway, header, *lines, pieces=pieces)
    return backend.last.header("x-forwarded-for") if len(backend.requests) > before else None


GOOD = [
    (b"PROXY TCP4 203.0.113.7 198.51.100.2 4711 443\r\n", "203.0.113.7"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::2 4711 443\r\n", "2001:db8::7"),
    (b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.2 4711 443\r\n", "203.0.113.7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (b"PROXY UNKNOWN ffff:f... x y z\r\n", "127.0.0.1"),
    (v2(), "203.0.113.7"),
    (v2(family=0x21, source="2001:db8::7"), "2001:db8::7"),
    (v2(0, 0, b""), "127.0.0.1"),
    (v2(0, 0x11, INET), "127.0.0.1"),
    (v2(1, 0, b""), "127.0.0.1"),
    (v2(body=INET + b"\x05\x00\x03abc\x20\x00\x00"), "203.0.113.7"),
    (v2(body=INET + b"\x04\x0b\xb8" + b"\0" * 3000), "203.0.113.7"),
    (with_checksum(), "203.0.113.7"),
]

BAD = [
    b"", b"GET /early HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"PROXY\r\n", b"PROXY \r\n", b"PROXY TCP4\r\n",
    b"PROXY TCP4 203.0.113.7 198.51.100.2 4711\r\n", b"PROXY TCP4 203.0.113.7 198.51.100.2 4711 443 \r\n", b"PROXY TCP4 203.0.113.7 198.51.100.2 4711 443\n",
    b"PROXY TCP4  203.0.113.7 198.51.100.2 4711 443\r\n", b"PROXY TCP4 203.0.113.7 198.51.100.2 04711 443\r\n", b"PROXY TCP4 203.0.113.7 198.51.100.2 65536 443\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::2 4711 443\r\n", b"PROXY TCP6 203.0.113.7 198.51.100.2 4711 443\r\n", b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
    b"proxy TCP4 203.0.113.7 198.51.100.2 4711 443\r\n", b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n", b"PROXY TCP4 203.0.113.007 198.51.100.2 4711 443\r\n",
    v2(2), SIGNATURE + b"\x11\x11\x00\x0c" + INET, v2(family=0x12), v2(family=0x41), v2(body=INET[:11]), v2(family=0x21, body=INET), v2(body=INET + b"\x04\x00"),
    v2(body=INET + b"\x04\x00\x05abc"), v2(body=INET + b"\x03\x00\x03abc"), with_checksum(1), SIGNATURE + b"\x21\x11\xff\xff" + INET, SIGNATURE[:11] + b"x",
]


@pytest.mark.parametrize("header, address", GOOD)
def test_the_header_says_whose_connection_it_is(gateway: Gateway, shared_backend: Backend, header: bytes, address: str) -> None:
    assert seen(gateway, shared_backend, header) == address
    assert seen(gateway, shared_backend, header, pieces=2) == address


@pytest.mark.parametrize("header", BAD)
def test_what_is_none_closes_the_connection(gateway: Gateway, shared_backend: Backend, header: bytes) -> None:
    before = json.loads(told_stats(gateway))["faults"].get("proxy_protocol_error", 0)
    assert seen(gateway, shared_backend, header) is None
    until(lambda: json.loads(told_stats(gateway))["faults"].get("proxy_protocol_error", 0) == before + 1, what="the fault to be counted")


def told_stats(gateway: Gateway) -> bytes:
    with Client(gateway.port) as client:
        client.send(b"PROXY UNKNOWN\r\n" + request("GET", "/stats"))
        return client.read().body


def test_an_unfinished_header_is_waited_for_and_then_given_up(gateway: Gateway) -> None:
    for start in (b"PROXY TCP4 203.0", SIGNATURE, b""):
        with Client(gateway.port) as client:
            client.send(start)
            try:
                assert client.sock.recv(100) == b""
            except ConnectionResetError:
                pass  # what was not read makes a reset of the close
    assert json.loads(told_stats(gateway))["faults"]["proxy_protocol_timeout"] >= 3


def test_who_looks_whether_somebody_listens_is_no_fault(gateway: Gateway) -> None:
    before = json.loads(told_stats(gateway))["faults"].get("proxy_protocol_error", 0)
    for _ in range(3):
        socket.create_connection(("127.0.0.1", gateway.port)).close()
    assert json.loads(told_stats(gateway))["faults"].get("proxy_protocol_error", 0) == before


def test_a_connection_has_one_header_for_all_its_requests(gateway: Gateway, shared_backend: Backend) -> None:
    with Client(gateway.port) as client:
        client.send(v2() + request("GET", "/api/1") + request("GET", "/api/2"))
        assert [client.read().status for _ in range(2)] == [200, 200]
        assert shared_backend.last.header("x-forwarded-for") == "203.0.113.7"
        # A second one is no request.
        client.send(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n\r\n")
        assert client.read().status == 400
    assert json.loads(told_stats(gateway))["proxy_protocol"]["received"] > 0


def test_who_is_named_may_be_a_trusted_proxy(gateway: Gateway, shared_backend: Backend) -> None:
    claim = "X-Forwarded-For: 198.51.100.9"
    assert seen(gateway, shared_backend, v2(source="192.0.2.1"), claim) == "198.51.100.9, 192.0.2.1"
    assert seen(gateway, shared_backend, v2(), claim) == "203.0.113.7"


def test_only_some_may_connect_and_lists_are_for_whom_they_name(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    gateway.stop()
    gateway.write(bind_host=None, bind_port=None, listeners=[{"host": "127.0.0.1", "port": gateway.port, "proxy_protocol": True,
                                                             "proxy_protocol_from": ["127.0.0.2"], "deny": ["203.0.113.0/24", "127.0.0.0/8"]}])
    gateway.start()

    def status(source: str, header: bytes) -> int | None:
        with Client(gateway.port, source=source) as client:
            try:
                client.send(header + request("GET", "/"))
                return client.read().status
            except (Closed, ConnectionError):
                return None
    assert status("127.0.0.1", v2(source="198.51.100.1")) is None
    assert status("127.0.0.2", v2(source="198.51.100.1")) == 200
    assert status("127.0.0.2", v2()) == 403
    assert "proxy_protocol_refused" in gateway.log


def test_without_the_setting_a_header_is_a_bad_request(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    for header in (v2(), b"PROXY TCP4 203.0.113.7 198.51.100.2 4711 443\r\n"):
        with Client(gateway.port) as client:
            client.send(header + request("GET", "/"))
            assert client.read().status == 400


# To backends


def test_backends_are_told_before_anything_else(launch) -> None:
    for version in ("v1", "v2"):
        with socket.create_server(("127.0.0.1", 0)) as server:
            gateway: Gateway = launch(upstreams=[{**upstream(server.getsockname()[1]), "proxy_protocol": version}])
            with Client(gateway.port) as client:
                client.send(request("GET", "/api"))
                peer, local = client.sock.getsockname(), client.sock.getpeername()
                connection, _ = server.accept()
                with connection:
                    reader = Reader(connection)
                    if version == "v1":
                        assert reader.until(b"\r\n") == f"PROXY TCP4 127.0.0.1 127.0.0.1 {peer[1]} {local[1]}\r\n".encode()
                    else:
                        expected = socket.inet_aton("127.0.0.1") * 2 + struct.pack(">HH", peer[1], local[1])
                        assert reader.exactly(28) == v2(body=expected)
                    assert reader.until(b"\r\n\r\n").startswith(b"GET /api HTTP/1.1\r\n")
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    assert client.read().status == 200
                    # The connection is nobody else's.
                    connection.settimeout(5)
                    assert connection.recv(100) == b""


def test_each_request_has_a_connection_of_its_own(launch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gateway: Gateway = launch(client_address={"trusted_proxies": ["127.0.0.1"]}, upstreams=[{**upstream(server.getsockname()[1]), "proxy_protocol": "v1"}])
        with Client(gateway.port) as client:
            for address in ("203.0.113.7", "203.0.113.8"):
                client.send(request("GET", "/api", f"X-Forwarded-For: {address}"))
                connection, _ = server.accept()
                with connection:
                    # What a trusted proxy has named has no port that is known.
                    assert Reader(connection).until(b"\r\n").startswith(f"PROXY TCP4 {address} 127.0.0.1 0 ".encode())
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    assert client.read().status == 200
        assert json.loads(gateway.get("/stats").body)["proxy_protocol"]["sent"] == 2


def test_the_header_comes_before_tls(launch, tmp_path) -> None:
    authority = Authority(tmp_path / "authority")
    port = free_port()
    gateway: Gateway = launch(bind_port=port, routes=[respond("/")], access_log={"format": "$remote_addr $scheme"},
                              listeners=[{**listener(port, authority.issue("site.test")), "proxy_protocol": True}])
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        plain.sendall(v2())
        with authority.context().wrap_socket(plain, server_hostname="site.test") as secure:
            secure.sendall(request("GET", "/"))
            assert Reader(secure).until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    until(lambda: gateway.access_file.exists() and gateway.access_file.read_text() == "203.0.113.7 https\n", what="the line in the access log")


def test_backends_are_told_before_tls(launch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        entry = {**upstream(server.getsockname()[1]), "proxy_protocol": "v2", "tls": {"enabled": True, "verify_peer": False}}
        gateway: Gateway = launch(upstreams=[entry])
        with Client(gateway.port) as client:
            client.send(request("GET", "/api"))
            connection, _ = server.accept()
            with connection:
                reader = Reader(connection)
                # The header, then a handshake.
                assert reader.exactly(28).startswith(SIGNATURE) and reader.exactly(2) == b"\x16\x03"
