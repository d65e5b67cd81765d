"""What would be read differently behind the gateway is refused: nothing of it reaches the backend."""

from __future__ import annotations

import pytest

from support.backend import Backend
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, Field, Http2, block, frame

GET: list[Field] = [(":method", "GET"), (":scheme", "http"), (":path", "/api"), (":authority", "test")]
POST: list[Field] = [(":method", "POST"), *GET[1:]]


def but(name: str, value: bytes | str) -> list[Field]:
    return [(key, value if key == name else old) for key, old in GET]


MALFORMED: dict[str, list[Field]] = {
    "value with CR LF and a field": [*GET, ("x", b"a\r\nx-smuggled: 1")],
    "value with CR": [*GET, ("x", b"a\rb")],
    "value with LF": [*GET, ("x", b"a\nb")],
    "value with NUL": [*GET, ("x", b"a\0b")],
    "value with a leading blank": [*GET, ("x", " a")],
    "value with a trailing blank": [*GET, ("x", "a ")],
    "name with CR LF": [*GET, ("x\r\ny", "a")],
    "name with a colon": [*GET, ("x: 1\r\ny", "a")],
    "name with a blank": [*GET, ("x y", "a")],
    "name in upper case": [*GET, ("X-Name", "a")],
    "empty name": [*GET, ("", "a")],
    "transfer-encoding": [*POST, ("transfer-encoding", "chunked")],
    "transfer-encoding with content-length": [*POST, ("content-length", "3"), ("transfer-encoding", "chunked")],
    "connection": [*GET, ("connection", "x-secret")],
    "keep-alive": [*GET, ("keep-alive", "1")],
    "proxy-connection": [*GET, ("proxy-connection", "keep-alive")],
    "upgrade": [*GET, ("upgrade", "websocket")],
    "te": [*GET, ("te", "chunked")],
    "content-length as a list": [*POST, ("content-length", "3, 3")],
    "content-length with a sign": [*POST, ("content-length", "+3")],
    "content-length with a blank": [*POST, ("content-length", "3 ")],
    "content-length in hexadecimal": [*POST, ("content-length", "0x3")],
    "content-length negative": [*POST, ("content-length", "-1")],
    "content-length empty": [*POST, ("content-length", "")],
    "content-length huge": [*POST, ("content-length", "18446744073709551619")],
    "content-length twice": [*POST, ("content-length", "3"), ("content-length", "4")],
    "method with a request line": but(":method", "GET /admin HTTP/1.1\r\nx: "),
    "method with a blank": but(":method", "GET /admin"),
    "method empty": but(":method", ""),
    "path with a blank": but(":path", "/api HTTP/1.1"),
    "path with CR LF": but(":path", "/api HTTP/1.1\r\nx-smuggled: 1"),
    "path with NUL": but(":path", b"/api\0"),
    "path with a tab": but(":path", "/api\t"),
    "path absolute": but(":path", "http://other/api"),
    "path without a slash": but(":path", "api"),
    "path empty": but(":path", ""),
    "path with a fragment": but(":path", "/api#x"),
    "path asterisk with GET": but(":path", "*"),
    "authority with CR LF": but(":authority", "test\r\nx-smuggled: 1"),
    "authority with a user": but(":authority", "user@test"),
    "authority with a path": but(":authority", "test/api"),
    "authority with a blank": but(":authority", "test other"),
    "authority empty": but(":authority", ""),
    "scheme with a blank": but(":scheme", "http //"),
    "another host": [*GET, ("host", "other")],
    "host twice": [*GET[:3], ("host", "test"), ("host", "test")],
    "no host": GET[:3],
    "pseudo-header behind a field": [*GET[:3], ("x", "y"), GET[3]],
    "pseudo-header twice": [*GET, (":path", "/admin")],
    "pseudo-header unknown": [*GET, (":x", "y")],
    "pseudo-header of a response": [*GET, (":status", "200")],
    "method missing": GET[1:],
    "scheme missing": [GET[0], *GET[2:]],
    "path missing": [*GET[:2], GET[3]],
    "authorization twice": [*GET, ("authorization", "a"), ("authorization", "b")],
    "content-type twice": [*GET, ("content-type", "a/b"), ("content-type", "c/d")],
}


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:  # type: ignore[no-untyped-def]
    return launch_shared(routes=[respond("/local")], upstreams=[upstream(shared_backend.port)], http2={"flood": {"max_resets": 0}})


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_heads_are_reset(gateway: Gateway, shared_backend: Backend, name: str) -> None:
    before = len(shared_backend.requests)
    with Http2(gateway.port) as client:
        fields = MALFORMED[name]
        stream = client.headers(fields, end=("content-length" not in dict(fields) and "transfer-encoding" not in dict(fields)))
        answer = client.answer(stream)
        assert answer.fields is None and answer.reset == PROTOCOL_ERROR
        # The connection and its header table are as before; nothing else has come through.
        assert client.get("/api").status == 200
    assert len(shared_backend.requests) == before + 1
    assert b"smuggled" not in shared_backend.last.raw


BODIES: dict[str, tuple[list[Field], list[tuple[bytes, bool]]]] = {
    "more than content-length": ([("content-length", "2")], [(b"abc", True)]),
    "less than content-length": ([("content-length", "4")], [(b"abc", True)]),
    "more in a second frame": ([("content-length", "2")], [(b"ab", False), (b"GET /smuggled HTTP/1.1\r\n\r\n", True)]),
    "nothing for content-length": ([("content-length", "4")], [(b"", True)]),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_of_another_length_are_reset(gateway: Gateway, shared_backend: Backend, name: str) -> None:
    fields, pieces = BODIES[name]
    with Http2(gateway.port) as client:
        stream = client.headers([*POST, *fields], end=False)
        client.send(b"".join(frame(DATA, END_STREAM if end else 0, stream, data) for data, end in pieces))
        answer = client.answer(stream)
        assert answer.reset == PROTOCOL_ERROR
        assert client.get("/api").status == 200
    assert not any(b"smuggled" in request.raw for request in shared_backend.requests)


@pytest.mark.parametrize("name", BODIES)
def test_bodies_of_another_length_are_reset_though_the_answer_is_out(gateway: Gateway, name: str) -> None:
    """A refusal waits for no body; what comes of it is counted all the same."""
    fields, pieces = BODIES[name]
    with Http2(gateway.port) as client:
        stream = client.headers([(key, "/local" if key == ":path" else value) for key, value in POST] + fields, end=False)
        assert client.answer(stream).status == 405
        client.send(b"".join(frame(DATA, END_STREAM if end else 0, stream, data) for data, end in pieces))
        client.until(lambda: client.answers[stream].reset is not None, "the stream to be reset")
        assert client.answers[stream].reset == PROTOCOL_ERROR
        assert client.get("/api").status == 200


TRAILERS: dict[str, list[Field]] = {
    "pseudo-header": [(":path", "/admin")],
    "transfer-encoding": [("transfer-encoding", "chunked")],
    "connection": [("connection", "close")],
    "upper case": [("X-Sum", "1")],
    "CR LF in a value": [("x-sum", b"1\r\n\r\nGET /smuggled HTTP/1.1")],
}


@pytest.mark.parametrize("name", TRAILERS)
def test_malformed_trailers_are_reset(gateway: Gateway, shared_backend: Backend, name: str) -> None:
    with Http2(gateway.port) as client:
        stream = client.headers(POST, end=False)
        client.data(stream, b"body", end=False)
        client.headers(TRAILERS[name], stream=stream)
        assert client.answer(stream).reset == PROTOCOL_ERROR
    assert not any(b"smuggled" in request.raw for request in shared_backend.requests)


def test_trailers_that_do_not_end_the_stream(gateway: Gateway) -> None:
    with Http2(gateway.port) as client:
        stream = client.headers(POST, end=False)
        client.data(stream, b"body", end=False)
        client.send(frame(HEADERS, END_HEADERS, stream, block([("x-sum", "1")])))
        assert client.answer(stream).reset == PROTOCOL_ERROR


def test_a_body_is_never_read_as_a_request(gateway: Gateway, shared_backend: Backend) -> None:
    """What looks like chunks and a request goes through as bytes of the body."""
    body = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"
    with Http2(gateway.port) as client:
        assert client.answer(client.request("POST", "/api", body=body)).status == 200
    assert shared_backend.last.body == body and shared_backend.last.target == "/api"


def test_faults_are_counted(launch, backend: Backend) -> None:  # type: ignore[no-untyped-def]
    import json

    gateway = launch(upstreams=[upstream(backend.port)])
    with Http2(gateway.port) as client:
        client.answer(client.headers([*GET, ("connection", "close")]))
        faults = json.loads(client.get("/stats").body)["faults"]
        assert faults["http_request_error"] == 1
    assert "http_request_error" in gateway.log
