"""A request line that is not exactly right is refused, and the connection is closed."""

from __future__ import annotations

import pytest

from support.client import Client
from support.configuration import respond
from support.gateway import Gateway

MALFORMED = [
    # Method
    (b" GET / HTTP/1.1", 400, "blank before the method"),
    (b"\tGET / HTTP/1.1", 400, "tab before the method"),
    (b"G@T / HTTP/1.1", 400, "method with @"),
    (b"G(T / HTTP/1.1", 400, "method with a parenthesis"),
    (b"GET: / HTTP/1.1", 400, "method with a colon"),
    (b"G\x00T / HTTP/1.1", 400, "method with NUL"),
    (b"G\xc3\x89T / HTTP/1.1", 400, "method beyond ASCII"),
    (b"/ HTTP/1.1", 400, "no method"),
    (b"GET", 400, "method alone"),
    (b"CONNECT test:443 HTTP/1.1", 501, "CONNECT"),
    (b"CONNECT / HTTP/1.1", (400, 501), "CONNECT with a path"),
    # Blanks
    (b"GET  / HTTP/1.1", 400, "two blanks before the target"),
    (b"GET /  HTTP/1.1", 400, "two blanks after the target"),
    (b"GET / HTTP/1.1 ", 400, "blank after the version"),
    (b"GET\t/ HTTP/1.1", 400, "tab as separator"),
    (b"GET /\tHTTP/1.1", 400, "tab before the version"),
    (b"GET /a b HTTP/1.1", 400, "blank in the target"),
    (b"GET\x0b/ HTTP/1.1", 400, "vertical tab as separator"),
    # Target
    (b"GET  HTTP/1.1", 400, "no target"),
    (b"GET HTTP/1.1", 400, "no target and one blank"),
    (b"GET x HTTP/1.1", 400, "relative target"),
    (b"GET ?q HTTP/1.1", 400, "query alone"),
    (b"GET * HTTP/1.1", 400, "asterisk with GET"),
    (b"GET /#part HTTP/1.1", 400, "fragment"),
    (b"GET /\x00 HTTP/1.1", 400, "NUL in the target"),
    (b"GET /\x01 HTTP/1.1", 400, "control byte in the target"),
    (b"GET /\x7f HTTP/1.1", 400, "DEL in the target"),
    (b"GET /\rX HTTP/1.1", 400, "bare CR in the target"),
    (b"GET test:80 HTTP/1.1", 400, "authority-form with GET"),
    (b"GET http:///x HTTP/1.1", 400, "absolute-form without authority"),
    (b"GET http://user@test/ HTTP/1.1", 400, "absolute-form with user information"),
    # Version
    (b"GET /", 400, "no version"),
    (b"GET / ", 400, "empty version"),
    (b"GET / HTTP/2.0", 505, "HTTP/2.0"),
    (b"GET / HTTP/3.0", 505, "HTTP/3.0"),
    (b"GET / HTTP/1.2", 505, "HTTP/1.2"),
    (b"GET / HTTP/0.9", 505, "HTTP/0.9"),
    (b"GET / http/1.1", 400, "version in lower case"),
    (b"GET / HTTP/1.10", 400, "two-digit minor"),
    (b"GET / HTTP/11", 400, "version without a dot"),
    (b"GET / HTTP/1,1", 400, "version with a comma"),
    (b"GET / HTTP/1.", 400, "version without minor"),
    (b"GET / HTTP/.1", 400, "version without major"),
    (b"GET / HTTP/1.a", 400, "minor that is no digit"),
    (b"GET / HTTPS/1.1", 400, "another protocol"),
    (b"GET / FOO", 400, "a version that is none"),
]


@pytest.fixture(scope="module")
def gateway(launch_shared) -> Gateway:
    return launch_shared(routes=[respond("/*", "reached")])


@pytest.mark.parametrize(("line", "expected", "what"), MALFORMED, ids=[row[2] for row in MALFORMED])
def test_is_refused(gateway: Gateway, line: bytes, expected: int | tuple[int, ...], what: str) -> None:
    with Client(gateway.port) as client:
        client.send(line + b"\r\nHost: test\r\n\r\n")
        response = client.read()
        assert response.status in (expected if isinstance(expected, tuple) else (expected,))
        assert response.closes and client.at_end()
        assert b"reached" not in response.body


def test_bare_line_feed_ends_no_line(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send(b"GET / HTTP/1.1\nHost: test\n\n")
        assert client.read().status == 400


def test_http2_preface_is_refused_where_it_is_not_spoken(launch) -> None:  # type: ignore[no-untyped-def]
    with Client(launch(routes=[respond("/")], http2={"enabled": False}).port) as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.read().status == 505


def test_tls_hello_is_refused(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(32))
        assert client.read().status == 400


@pytest.mark.parametrize("count", [1, 2])
def test_empty_lines_before_the_request_are_skipped(gateway: Gateway, count: int) -> None:
    """RFC 9112 §2.2."""
    with Client(gateway.port) as client:
        client.send(b"\r\n" * count + b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.read().status == 200


def test_endless_empty_lines_are_not_skipped(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        try:
            for _ in range(64):
                client.send(b"\r\n" * 8192)
            assert client.read().status in (400, 414, 431)
        except ConnectionError:
            pass  # refused before all was sent
