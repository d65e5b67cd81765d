"""What the backend sees of the client's header fields."""

from __future__ import annotations

import pytest

from support.backend import Backend
from support.client import Client
from support.configuration import upstream
from support.gateway import Gateway


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(upstreams=[upstream(shared_backend.port)])


def forwarded(gateway: Gateway, backend: Backend, *lines: str, method: str = "GET"):
    with Client(gateway.port) as client:
        assert client.request(method, "/api/x", *lines).status == 200
    return backend.last


def test_order_and_duplicates_are_kept(gateway: Gateway, shared_backend: Backend) -> None:
    seen = forwarded(gateway, shared_backend, "X-B: 1", "Accept: */*", "X-A: 2", "X-B: 3", "Cookie: a=1", "Cookie: b=2", "x-a: 4")
    ours = [(name, value) for name, value in seen.fields
            if name.lower() in (b"x-a", b"x-b", b"accept", b"cookie")]
    assert [(name.lower(), value) for name, value in ours] == [
        (b"x-b", b"1"), (b"accept", b"*/*"), (b"x-a", b"2"), (b"x-b", b"3"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-a", b"4")]


def test_request_line(gateway: Gateway, shared_backend: Backend) -> None:
    seen = forwarded(gateway, shared_backend)
    assert (seen.method, seen.target, seen.version) == ("GET", "/api/x", "HTTP/1.1")


@pytest.mark.parametrize("line", ["Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eA==",
                                  "Proxy-Authenticate: Basic", "TE: gzip", "Trailer: X-T", "Upgrade: h2c"])
def test_hop_by_hop_fields_are_dropped(gateway: Gateway, shared_backend: Backend, line: str) -> None:
    seen = forwarded(gateway, shared_backend, line)
    assert seen.header(line.split(":")[0]) is None


@pytest.mark.parametrize("lines", [
    ["Connection: X-Private", "X-Private: 1"],
    ["X-Private: 1", "Connection: x-private"],
    ["Connection: keep-alive, X-Private , foo", "X-Private: 1", "X-Private: 2"],
    ["Connection: foo", "X-Private: 1", "Connection: X-PRIVATE"],
])
def test_fields_named_in_connection_are_dropped(gateway: Gateway, shared_backend: Backend, lines: list[str]) -> None:
    assert forwarded(gateway, shared_backend, *lines).all("x-private") == []


@pytest.mark.parametrize("option", ["Host", "Content-Length", "Transfer-Encoding", "X-Forwarded-For", "Via", "close, content-length"])
def test_connection_cannot_remove_what_the_gateway_relies_on(gateway: Gateway, shared_backend: Backend, option: str) -> None:
    before = len(shared_backend.requests)
    with Client(gateway.port) as client:
        client.send(f"POST /api/x HTTP/1.1\r\nHost: test\r\nConnection: {option}\r\nContent-Length: 5\r\n\r\nhello")
        status = client.read("POST").status
    if status == 400:
        assert len(shared_backend.requests) == before
        return
    seen = shared_backend.last
    assert status == 200 and seen.body == b"hello", "the body would be read as the next request"
    assert seen.header("host") and seen.header("x-forwarded-for") == "127.0.0.1" and seen.header("via") == "1.1 gateway"


def test_connection_close_concerns_only_the_client(gateway: Gateway, shared_backend: Backend) -> None:
    first = forwarded(gateway, shared_backend, "Connection: close")
    second = forwarded(gateway, shared_backend, "Connection: close")
    assert first.header("connection") in (None, "keep-alive")
    assert first.connection is second.connection


def test_a_get_gets_no_body_fields(gateway: Gateway, shared_backend: Backend) -> None:
    seen = forwarded(gateway, shared_backend)
    assert seen.header("content-length") is None and seen.header("transfer-encoding") is None


def test_upgrade_is_ignored(gateway: Gateway, shared_backend: Backend) -> None:
    """RFC 9110 §7.8: a server may ignore it."""
    seen = forwarded(gateway, shared_backend, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    assert seen.header("upgrade") is None and seen.header("http2-settings") is None


def test_values_are_forwarded_byte_for_byte(gateway: Gateway, shared_backend: Backend) -> None:
    with Client(gateway.port) as client:
        client.send(b"GET /api/x HTTP/1.1\r\nHost: test\r\nX-Odd: \xe4\xff \t \"quoted, \\\" text\r\nX-Empty:\r\n\r\n")
        assert client.read().status == 200
    assert (b"x-odd", b"\xe4\xff \t \"quoted, \\\" text") in [(name.lower(), value) for name, value in shared_backend.last.fields]
    assert shared_backend.last.header("x-empty") == ""


def test_a_http_1_0_request_is_forwarded_as_1_1(gateway: Gateway, shared_backend: Backend) -> None:
    with Client(gateway.port) as client:
        client.send("GET /api/x HTTP/1.0\r\n\r\n")
        assert client.read().status == 200
    assert shared_backend.last.version == "HTTP/1.1"
    assert shared_backend.last.header("host")
