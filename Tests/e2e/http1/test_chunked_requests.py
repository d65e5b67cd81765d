"""Chunked request bodies: parsed exactly, bounded, and made anew for the backend."""

from __future__ import annotations

import pytest

from support.backend import Backend
from support.client import Client
from support.configuration import upstream
from support.gateway import Gateway

HEAD = b"POST /api HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"

MALFORMED = [
    (b"g\r\nhello\r\n0\r\n\r\n", "size that is no number"),
    (b"\r\nhello\r\n0\r\n\r\n", "empty size"),
    (b"0x5\r\nhello\r\n0\r\n\r\n", "size with 0x"),
    (b"-5\r\nhello\r\n0\r\n\r\n", "negative size"),
    (b"+5\r\nhello\r\n0\r\n\r\n", "size with a plus"),
    (b" 5\r\nhello\r\n0\r\n\r\n", "blank before the size"),
    (b"5 \r\nhello\r\n0\r\n\r\n", "blank after the size"),
    (b"5\t\r\nhello\r\n0\r\n\r\n", "tab after the size"),
    (b"5\nhello\r\n0\r\n\r\n", "bare line feed after the size"),
    (b"5\rhello\r\n0\r\n\r\n", "bare carriage return after the size"),
    (b"5\r\nhello\n0\r\n\r\n", "bare line feed after the data"),
    (b"5\r\nhello0\r\n\r\n", "nothing after the data"),
    (b"5\r\nhelloXX0\r\n\r\n", "other bytes after the data"),
    (b"4\r\nhello\r\n0\r\n\r\n", "data longer than the size"),
    (b"ffffffffffffffff5\r\nhello\r\n0\r\n\r\n", "size beyond 64 bits"),
    (b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", "size of 64 bits"),
    (b"8000000000000000\r\nhello\r\n0\r\n\r\n", "size of 63 bits"),
    (b"0000000000000000000000000000000000005\r\nhello\r\n0\r\n\r\n", "too many zeros"),
    (b"5;a\x00b\r\nhello\r\n0\r\n\r\n", "NUL in an extension"),
    (b"5;a\x01b\r\nhello\r\n0\r\n\r\n", "control byte in an extension"),
    (b"5;a\nb\r\nhello\r\n0\r\n\r\n", "line feed in an extension"),
    (b"5;a\rb\r\nhello\r\n0\r\n\r\n", "carriage return in an extension"),
    (b"5;" + b"a" * 20_000 + b"\r\nhello\r\n0\r\n\r\n", "endless extension"),
    (b"5\r\nhello\r\n0\r\nX-T : 1\r\n\r\n", "blank in a trailer name"),
    (b"5\r\nhello\r\n0\r\nX-T: 1\n\r\n", "bare line feed in the trailers"),
    (b"5\r\nhello\r\n0\r\nX-T: a\x00\r\n\r\n", "NUL in the trailers"),
    (b"5\r\nhello\r\n0\r\n\n", "bare line feed at the end"),
]

ACCEPTED = [
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello", "one chunk"),
    (b"0\r\n\r\n", b"", "no chunk"),
    (b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello", "two chunks"),
    (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", "upper-case size"),
    (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", "lower-case size"),
    (b"0005\r\nhello\r\n000\r\n\r\n", b"hello", "leading zeros"),
    (b"5;a=b\r\nhello\r\n0;c\r\n\r\n", b"hello", "extensions"),
    (b'5;a="b;c d"\r\nhello\r\n0\r\n\r\n', b"hello", "quoted extension"),
    (b"5\r\nhello\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n", b"hello", "trailers"),
]


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(max_body_size=0, upstreams=[upstream(shared_backend.port)])


@pytest.mark.parametrize(("body", "what"), MALFORMED, ids=[row[1] for row in MALFORMED])
def test_malformed_is_refused(gateway: Gateway, shared_backend: Backend, body: bytes, what: str) -> None:
    before = len(shared_backend.requests)
    with Client(gateway.port) as client:
        client.send(HEAD + body)
        response = client.read("POST")
        assert response.status in ((400, 413, 431) if "endless" in what or "size of" in what else (400,))
        assert response.closes and client.at_end()
    assert not any(request.complete for request in shared_backend.requests[before:]), "the backend was given a whole body"


@pytest.mark.parametrize("bytewise", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize(("body", "expected", "what"), ACCEPTED, ids=[row[2] for row in ACCEPTED])
def test_well_formed_is_forwarded(gateway: Gateway, shared_backend: Backend, body: bytes, expected: bytes, what: str, bytewise: bool) -> None:
    with Client(gateway.port) as client:
        client.send(HEAD)
        for piece in ([bytes([byte]) for byte in body] if bytewise else [body]):
            client.send(piece)
        assert client.read("POST").status == 200
        assert client.request("GET", "/api").status == 200, "the connection is in step"
    assert shared_backend.requests[-2].body == expected


def test_extensions_are_not_forwarded(gateway: Gateway, shared_backend: Backend) -> None:
    received: list[bytes] = []
    kept = shared_backend.answer

    def answer(connection, request) -> None:
        received.append(connection.reader.until(b"0\r\n\r\n"))
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    shared_backend.answer = answer
    try:
        with Client(gateway.port) as client:
            client.send(HEAD + b"5;secret=1\r\nhello\r\n0;x\r\n\r\n")
            assert client.read("POST").status == 200
    finally:
        shared_backend.answer = kept
    assert b"secret" not in received[0] and b";" not in received[0]
