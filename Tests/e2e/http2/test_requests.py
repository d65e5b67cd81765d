"""Requests over HTTP/2 are answered and forwarded as over HTTP/1.1."""

from __future__ import annotations

import json
import time

import pytest

from support.backend import Backend, Connection, Request, chunk, head, reply, reply_chunked
from support.configuration import redirect, respond, upstream
from support.gateway import Gateway
from support.http2 import NO_ERROR, Http2


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:  # type: ignore[no-untyped-def]
    routes = [respond("/local", body="hello", methods=["GET", "POST"]), respond("/empty", body="", status=204), redirect("/old/*rest", "/new/{rest}")]
    return launch_shared(
        access_log=True, routes=routes, max_body_size=50_000,
        upstreams=[upstream(shared_backend.port, forward_trailers=True), upstream(shared_backend.port, "/buffered", "buffered", request_mode="buffered")])


@pytest.fixture
def backend(shared_backend: Backend) -> Backend:
    shared_backend.answer = reply(body=b"hello from the backend")
    shared_backend.requests.clear()
    return shared_backend


@pytest.fixture
def client(gateway: Gateway):  # type: ignore[no-untyped-def]
    with Http2(gateway.port) as client:
        yield client


def test_settings(client: Http2) -> None:
    client.until(lambda: client.settings_acknowledged == 1, "our settings' acknowledgement")
    assert client.settings == {3: 100, 4: 65_535, 5: 16_384, 6: 65_536, 2: 0, 8: 1, 9: 1}
    # The window of the connection is larger than that of a stream.
    assert client.updates[0] == (1 << 20) - 65_535


def test_local_answer(client: Http2) -> None:
    answer = client.get("/local")
    assert (answer.status, answer.body, answer.header("content-length"), answer.header("server")) == (200, b"hello", "5", "gateway")
    assert answer.header("date") and answer.header("x-request-id")


@pytest.mark.parametrize(("method", "path", "status"), [("HEAD", "/local", 200), ("GET", "/empty", 204), ("HEAD", "/api", 200)])
def test_a_response_without_a_body_ends_with_its_head(client: Http2, backend: Backend, method: str, path: str, status: int) -> None:
    answer = client.answer(client.request(method, path))
    assert answer.status == status and answer.body == b"" and answer.ended_by_head
    assert answer.header("content-length") == {"/local": "5", "/empty": None, "/api": "22"}[path]


def test_not_modified(client: Http2, backend: Backend) -> None:
    backend.answer = reply(304, "ETag: x", reason="Not Modified")
    answer = client.get("/api")
    assert answer.status == 304 and answer.ended_by_head and answer.header("etag") == "x"


def test_what_the_backend_gets(client: Http2, backend: Backend) -> None:
    fields = [("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2"), ("te", "trailers"), ("x-twice", "1"), ("x-twice", "2")]
    assert client.answer(client.request("GET", "/api/x?y=z", *fields, authority="site.example:8080")).status == 200
    request = backend.last
    assert request.raw.startswith(b"GET /api/x?y=z HTTP/1.1\r\nHost: ")
    assert request.all("cookie") == ["a=1; b=2"] and request.all("x-twice") == ["1", "2"]
    assert request.header("x-forwarded-host") == "site.example:8080" and request.header("via") == "2.0 gateway"
    assert request.header("x-forwarded-for") == "127.0.0.1" and request.header("x-forwarded-proto") == "http"
    assert request.header("te") == "trailers" and not any(name.startswith(":") for name in request.names)
    assert request.header("content-length") is None and request.header("transfer-encoding") is None


@pytest.mark.parametrize("prefix", ["/api", "/buffered"])
@pytest.mark.parametrize("known", [True, False], ids=["with content-length", "without"])
def test_request_bodies(client: Http2, backend: Backend, prefix: str, known: bool) -> None:
    body = bytes(range(256)) * 100
    fields = [("content-length", str(len(body)))] if known else []
    answer = client.answer(client.request("POST", prefix, *fields, body=body))
    assert answer.status == 200 and backend.last.body == body
    assert (backend.last.header("transfer-encoding") is None) == (known or prefix == "/buffered")


def test_an_empty_body(client: Http2, backend: Backend) -> None:
    stream = client.request("POST", "/api", end=False)
    client.data(stream, b"")
    assert client.answer(stream).status == 200 and backend.last.body == b""


def test_response_trailers_that_come_late(client: Http2, backend: Backend) -> None:
    """When all DATA has gone before the end is known."""
    def answer(connection: Connection, request: Request) -> None:
        connection.send(head(200, "Transfer-Encoding: chunked", "Trailer: X-Sum") + chunk(b"body"))
        time.sleep(0.1)
        connection.send(b"0\r\nX-Sum: abc\r\n\r\n")

    backend.answer = answer
    response = client.get("/api", ("te", "trailers"))
    assert response.body == b"body" and response.trailers == [(b"x-sum", b"abc")]


def test_request_trailers(client: Http2, backend: Backend) -> None:
    stream = client.request("POST", "/api", ("trailer", "x-sum"), end=False)
    client.data(stream, b"body", end=False)
    client.headers([("x-sum", "abc"), ("authorization", "other"), ("via", "9")], stream=stream)
    assert client.answer(stream).status == 200
    assert backend.last.body == b"body" and [(name.lower(), value) for name, value in backend.last.trailers] == [(b"x-sum", b"abc")]


def test_response_trailers(client: Http2, backend: Backend) -> None:
    backend.answer = reply_chunked([b"one", b"two"], "Trailer: X-Sum, X-More", trailers=["X-Sum: abc", "X-More: 1", "X-Hidden: 2"])
    answer = client.get("/api", ("te", "trailers"))
    assert answer.body == b"onetwo" and answer.trailers == [(b"x-sum", b"abc"), (b"x-more", b"1")]


def test_a_chunked_response_is_data(client: Http2, backend: Backend) -> None:
    backend.answer = reply_chunked([b"one", b"two", b"three"], pause=0.02)
    answer = client.get("/api")
    assert answer.body == b"onetwothree" and answer.ended and answer.header("content-length") is None


def test_a_response_until_the_end_of_the_connection(client: Http2, backend: Backend) -> None:
    def answer(connection: Connection, request: Request) -> None:
        connection.send(b"HTTP/1.0 200 OK\r\n\r\nall of it")
        connection.close()

    backend.answer = answer
    assert client.get("/api").body == b"all of it"


def test_interim_responses(client: Http2, backend: Backend) -> None:
    def answer(connection: Connection, request: Request) -> None:
        connection.send(head(103, "Link: </style.css>; rel=preload", reason="Early Hints"))
        connection.send(head(102, reason="Processing"))
        connection.send(head(200, "Content-Length: 2") + b"ok")

    backend.answer = answer
    response = client.get("/api")
    assert [dict(fields)[b":status"] for fields in response.interims] == [b"103", b"102"]
    assert dict(response.interims[0])[b"link"] == b"</style.css>; rel=preload"
    assert response.status == 200 and response.body == b"ok"


def test_expect_continue(client: Http2, backend: Backend) -> None:
    stream = client.request("POST", "/api", ("expect", "100-continue"), ("content-length", "4"), end=False)
    client.until(lambda: client.answers[stream].interims, "100 Continue")
    assert dict(client.answers[stream].interims[0])[b":status"] == b"100"
    client.data(stream, b"body")
    assert client.answer(stream).status == 200 and backend.last.body == b"body"


def test_another_expectation(client: Http2) -> None:
    stream = client.request("POST", "/api", ("expect", "a miracle"), end=False)
    answer = client.answer(stream)
    assert answer.status == 417
    client.until(lambda: answer.reset is not None, "the reset")
    assert answer.reset == NO_ERROR


def test_many_streams_at_once(client: Http2, backend: Backend) -> None:
    def answer(connection: Connection, request: Request) -> None:
        time.sleep(0.05)
        reply(body=request.target.encode())(connection, request)

    backend.answer = answer
    began = time.monotonic()
    streams = [client.request("GET", f"/api/{number}") for number in range(60)]
    for number, stream in enumerate(streams):
        assert client.answer(stream).body == f"/api/{number}".encode()
    assert time.monotonic() - began < 60 * 0.05, "one after the other"


def test_more_streams_than_allowed_are_refused(launch, backend: Backend) -> None:  # type: ignore[no-untyped-def]
    gateway = launch(upstreams=[upstream(backend.port)], http2={"max_concurrent_streams": 3})

    def answer(connection: Connection, request: Request) -> None:
        time.sleep(0.3)
        reply(body=b"x")(connection, request)

    backend.answer = answer
    with Http2(gateway.port) as client:
        streams = [client.request("GET", "/api") for _ in range(5)]
        answers = [client.answer(stream) for stream in streams]
        assert [answer.reset for answer in answers] == [None, None, None, 7, 7]
        assert [answer.status for answer in answers[:3]] == [200] * 3
        assert client.get("/api").status == 200


def test_redirect_and_errors(client: Http2) -> None:
    answer = client.get("/old/a/b")
    assert answer.status in (301, 302, 307, 308) and answer.header("location") == "/new/a/b"
    answer = client.get("/nowhere", ("accept", "application/json"))
    assert answer.status == 404 and json.loads(answer.body)["fault"] == "route_not_found"
    answer = client.answer(client.request("DELETE", "/local"))
    assert answer.status == 405 and answer.header("allow") == "GET, HEAD, POST"
    answer = client.answer(client.request("OPTIONS", "*"))
    assert answer.status == 204 and answer.header("allow")


def test_connect_is_not_implemented(client: Http2) -> None:
    answer = client.answer(client.headers([(":method", "CONNECT"), (":authority", "a:80")], end=False))
    assert answer.status == 501


def test_too_large(client: Http2, backend: Backend) -> None:
    answer = client.answer(client.request("POST", "/api", ("content-length", "200000"), end=False))
    assert answer.status == 413 and answer.header("x-request-body-limit-exceeded") == "true"
    answer = client.answer(client.request("POST", "/api", body=b"x" * 60_000))
    assert answer.status == 413
    assert client.get("/api", ("x-large", "v" * 9000)).status == 431
    assert client.get("/api?" + "q" * 9000).status == 414
    assert client.answer(client.request("GET", "/api", *[(f"x-{number}", "v") for number in range(120)])).status == 431
    assert client.get("/local").status == 200


def test_a_list_that_is_too_large_is_reset(client: Http2) -> None:
    answer = client.get("/api", *[(f"x-{number}", "v" * 4000) for number in range(20)])
    assert answer.fields is None and answer.reset == 11
    # The header table has stayed in step.
    assert client.get("/local").status == 200


def test_a_body_that_nobody_reads(client: Http2) -> None:
    stream = client.request("POST", "/local", body=b"x" * 40_000)
    assert client.answer(stream).status == 200
    assert client.get("/local").status == 200


def test_a_response_that_is_collected(client: Http2, launch, backend: Backend) -> None:  # type: ignore[no-untyped-def]
    gateway = launch(upstreams=[upstream(backend.port, buffering="always")])
    backend.answer = reply_chunked([b"x" * 50_000, b"y" * 50_000])
    with Http2(gateway.port) as client:
        answer = client.get("/api")
        assert answer.header("content-length") == "100000" and answer.body == b"x" * 50_000 + b"y" * 50_000


def test_logs_and_numbers(gateway: Gateway, backend: Backend) -> None:
    with Http2(gateway.port) as client:
        client.get("/local", ("user-agent", "test-of-logs"))
        client.get("/api", ("user-agent", "test-of-logs"))
        entries = [entry for entry in gateway.access_entries() if entry.get("user_agent.original") == "test-of-logs"]
        deadline = time.monotonic() + 5
        while len(entries) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
            entries = [entry for entry in gateway.access_entries() if entry.get("user_agent.original") == "test-of-logs"]
        assert [entry["network.protocol.version"] for entry in entries] == ["2", "2"]
        assert [entry["http.response.status_code"] for entry in entries] == [200, 200]
        stats = json.loads(client.get("/stats").body)
        assert stats["http2"]["connections_active"] >= 1 and stats["http2"]["streams_active"] >= 1 and stats["http2"]["streams"] > 3
        assert stats["connections"]["active"] == stats["http2"]["connections_active"]


def test_pieces_of_any_size(gateway: Gateway, backend: Backend) -> None:
    """A connection whose bytes come one by one."""
    from support.http2 import END_HEADERS, END_STREAM, HEADERS, PREFACE, block, frame, settings_frame

    fields = [(":method", "GET"), (":scheme", "http"), (":path", "/local"), (":authority", "a"), ("cookie", "a"), ("cookie", "b")]
    with Http2(gateway.port, begin=False) as client:
        from support.http2 import Answer
        client.answers[1] = Answer(1)
        for byte in PREFACE + settings_frame({}) + frame(HEADERS, END_HEADERS | END_STREAM, 1, block(fields)):
            client.send(bytes([byte]))
        assert client.answer(1).body == b"hello"


def test_an_empty_body_ends_behind_its_head(launch, backend: Backend) -> None:
    """…also where it has ended before there is a connection that takes the head."""

    def slow(connection: Connection, asked: Request) -> None:
        connection.read_body(asked)
        time.sleep(0.2)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    backend.answer = slow
    gateway = launch(upstreams=[upstream(backend.port, pool={"max_connections": 1, "max_idle_connections": 1})])
    with Http2(gateway.port) as client:
        streams = []
        for trailers in (False, True, False):
            stream = client.request("POST", "/api", ("te", "trailers"), end=False)
            if trailers:
                client.headers([("x-check", "1")], stream=stream)
            else:
                client.data(stream, b"")
            streams.append(stream)
        assert [client.answer(stream).status for stream in streams] == [200, 200, 200]
    assert [request.body for request in backend.requests[-3:]] == [b"", b"", b""]
