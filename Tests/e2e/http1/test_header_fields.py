"""A field line that is not exactly right is refused; whatever RFC 9110 §5.5 permits is not."""

from __future__ import annotations

import pytest

from support.client import Client
from support.configuration import respond
from support.gateway import Gateway

MALFORMED = [
    (b"X-A : 1\r\n", "blank before the colon"),
    (b"X-A\t: 1\r\n", "tab before the colon"),
    (b" X-A: 1\r\n", "blank before the name"),
    (b"X-A: 1\r\n folded\r\n", "folded line"),
    (b"X-A: 1\r\n\tfolded\r\n", "line folded with a tab"),
    (b"X-A: 1\r\n \r\n", "folded blank line"),
    (b"X-A: 1\n", "bare line feed"),
    (b"X-A: 1\nX-B: 2\r\n", "bare line feed between fields"),
    (b"X-A: 1\rX-B: 2\r\n", "bare carriage return"),
    (b"X-A: 1\r\r\n", "carriage return twice"),
    (b"X-A: a\x00b\r\n", "NUL in the value"),
    (b"X-A: a\x01b\r\n", "control byte in the value"),
    (b"X-A: a\x1fb\r\n", "unit separator in the value"),
    (b"X-A: a\x7fb\r\n", "DEL in the value"),
    (b": 1\r\n", "empty name"),
    (b"X A: 1\r\n", "blank in the name"),
    (b"X(A): 1\r\n", "parentheses in the name"),
    (b"X\x00A: 1\r\n", "NUL in the name"),
    (b"X\xffA: 1\r\n", "name beyond ASCII"),
    (b"X@A: 1\r\n", "at sign in the name"),
    (b'X"A: 1\r\n', "quote in the name"),
    (b"X-A\r\n", "no colon"),
    (b"GET / HTTP/1.1\r\n", "a request line as field"),
]

ACCEPTED = [
    (b"X-A:1\r\n", "no blank after the colon"),
    (b"X-A:   1  \t \r\n", "blanks around the value"),
    (b"X-A:\r\n", "empty value"),
    (b"X-A: \t\r\n", "blank value"),
    (b"X-A: a\tb\r\n", "tab in the value"),
    (b"X-A: \xe4\xff\r\n", "bytes beyond ASCII in the value"),
    (b"X-A: a:b:c\r\n", "colons in the value"),
    (b"!#$%&'*+-.^_`|~09: 1\r\n", "every character of a token"),
    (b"X-A: 1\r\nX-A: 2\r\nx-a: 3\r\n", "repeated field"),
]

DOUBLED = ["Host: test", "Content-Length: 0", "Authorization: a", "Content-Type: a/b"]


@pytest.fixture(scope="module")
def gateway(launch_shared) -> Gateway:
    return launch_shared(routes=[respond("/*", "reached")])


@pytest.mark.parametrize("first", [False, True], ids=["after Host", "before Host"])
@pytest.mark.parametrize(("lines", "what"), MALFORMED, ids=[row[1] for row in MALFORMED])
def test_is_refused(gateway: Gateway, lines: bytes, what: str, first: bool) -> None:
    host = b"Host: test\r\n"
    with Client(gateway.port) as client:
        client.send(b"GET / HTTP/1.1\r\n" + (lines + host if first else host + lines) + b"\r\n")
        response = client.read()
        assert response.status == 400
        assert response.closes and client.at_end()


@pytest.mark.parametrize(("lines", "what"), ACCEPTED, ids=[row[1] for row in ACCEPTED])
def test_is_accepted(gateway: Gateway, lines: bytes, what: str) -> None:
    with Client(gateway.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n" + lines + b"\r\n")
        assert client.read().status == 200


@pytest.mark.parametrize("line", DOUBLED)
def test_single_fields_may_not_be_doubled(gateway: Gateway, line: str) -> None:
    others = "" if line.startswith("Host") else "Host: test\r\n"
    with Client(gateway.port) as client:
        client.send(f"GET / HTTP/1.1\r\n{others}{line}\r\n{line}\r\n\r\n")
        assert client.read().status == 400
