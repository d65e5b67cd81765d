"""gRPC calls, as far as they can be seen without a service: refusals in gRPC's form, deadlines, silence, what is not a call."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.backend import Backend, Connection, Request, hang, raw, unused_endpoint
from support.configuration import upstream
from support.gateway import Gateway
from support.http2_link import Link, Stream
from support.wait import until

Dial = Callable[..., Link]


@pytest.fixture
def dial() -> Iterator[Dial]:
    links: list[Link] = []

    def connect(gateway: Gateway) -> Link:
        links.append(Link(socket.create_connection(("127.0.0.1", gateway.port)), client=True))
        return links[-1]

    yield connect
    for link in links:
        link.close()


def call(link: Link, path: str = "/api/Echo", *more: tuple[str, str], kind: str = "application/grpc", method: str = "POST", end: bool = True) -> Stream:
    return link.open([(":method", method), (":scheme", "http"), (":authority", "a.test"), (":path", path), ("content-type", kind), ("te", "trailers"),
                      *more], end)


def answer(stream: Stream) -> dict[str, str]:
    """The head of a response of trailers only."""
    fields = {name.decode(): value.decode() for name, value in stream.head()}
    assert b"".join(stream.body()) == b"" and stream.trailers == []
    return fields


def check(fields: dict[str, str], status: int, message: str) -> None:
    assert fields[":status"] == "200" and fields["content-type"] == "application/grpc"
    assert fields["grpc-status"] == str(status) and fields["grpc-message"] == message


def stats(gateway: Gateway) -> Any:
    return json.loads(gateway.get("/stats").text)["grpc"]


def last(gateway: Gateway, path: str) -> Any:
    return until(lambda: [one for one in gateway.access_entries(1) if one["url.path"] == path], what=f"the line of {path}")[-1]


def test_no_backend(launch, dial: Dial) -> None:
    kept, port = unused_endpoint()
    gateway = launch(access_log=True, upstreams=[upstream(port)])
    for kind in ("application/grpc", "application/grpc+proto", "application/grpc; a=b"):
        check(answer(call(dial(gateway), kind=kind)), 14, "The backend refused the connection.")
    entry = last(gateway, "/api/Echo")
    assert (entry["error.type"], entry["rpc.grpc.status_code"], entry["http.response.status_code"]) == ("connection_refused", 14, 200)
    assert stats(gateway) == {"calls": 3, "statuses": {"UNAVAILABLE": 3}, "without_status": 0}
    kept.close()


def test_no_route(launch, dial: Dial) -> None:
    gateway = launch(access_log={"format": '$path $status $fault $grpc_status'})
    check(answer(call(dial(gateway), "/none")), 12, "No route matches the host and path.")
    until(lambda: "/none 200 route_not_found 12" in gateway.access_file.read_text().splitlines(), what="the line")
    assert stats(gateway)["statuses"] == {"UNIMPLEMENTED": 1}


@pytest.mark.parametrize("kind,method", [("application/grpc-web", "POST"), ("text/plain", "POST"), ("application/grpc", "GET")])
def test_what_is_no_call_is_refused_in_HTTP(launch, dial: Dial, kind: str, method: str) -> None:
    gateway = launch(access_log=True)
    fields = {name.decode(): value.decode() for name, value in call(dial(gateway), "/none", kind=kind, method=method).head()}
    assert fields[":status"] == "404" and "grpc-status" not in fields
    assert "rpc.grpc.status_code" not in last(gateway, "/none") and stats(gateway)["calls"] == 0


def test_the_deadline_passes(launch, dial: Dial, backend: Backend) -> None:
    backend.answer = hang
    gateway = launch(access_log=True, upstreams=[upstream(backend.port)])
    start = time.monotonic()
    stream = call(dial(gateway), "/api/Echo", ("grpc-timeout", "300m"))
    assert backend.wait_requests().header("grpc-timeout") == "300m"
    check(answer(stream), 4, "The call was not over within its own grpc-timeout.")
    assert time.monotonic() - start >= 0.29
    entry = last(gateway, "/api/Echo")
    assert (entry["error.type"], entry["rpc.grpc.status_code"]) == ("grpc_deadline_exceeded", 4)
    assert backend.connections[0].ended.wait(5), "the backend was not told"


def test_the_shorter_limit_counts(launch, dial: Dial, backend: Backend) -> None:
    backend.answer = hang
    gateway = launch(access_log=True, upstreams=[upstream(backend.port, timeout_ms=200)])
    check(answer(call(dial(gateway), "/api/Echo", ("grpc-timeout", "60S"))), 14, "The exchange was not over within proxy.timeout_ms.")
    assert last(gateway, "/api/Echo")["error.type"] == "exchange_timeout"


@pytest.mark.parametrize("text", ["soon", "1", "-1m", "123456789m"])
def test_a_deadline_that_is_none_is_the_backends_to_judge(launch, dial: Dial, backend: Backend, text: str) -> None:
    backend.answer = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type: application/grpc\r\ngrpc-status: 13\r\n\r\n", "keep")
    gateway = launch(access_log=True, upstreams=[upstream(backend.port)])
    fields = answer(call(dial(gateway), "/api/Echo", ("grpc-timeout", text)))
    assert fields["grpc-status"] == "13" and backend.last.header("grpc-timeout") == text
    entry = last(gateway, "/api/Echo")
    assert entry["rpc.grpc.status_code"] == 13 and "error.type" not in entry


def test_unannounced_trailers_pass(launch, dial: Dial, backend: Backend) -> None:
    backend.answer = raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/grpc\r\n\r\n5\r\nhello\r\n0\r\n"
                         b"grpc-status: 5\r\ngrpc-message: gone\r\nX-More: yes\r\nContent-Length: 3\r\n\r\n", "keep")
    gateway = launch(access_log=True, upstreams=[upstream(backend.port)])
    stream = call(dial(gateway))
    stream.head()
    assert b"".join(stream.body()) == b"hello"
    assert dict(stream.trailers) == {b"grpc-status": b"5", b"grpc-message": b"gone", b"x-more": b"yes"}
    assert last(gateway, "/api/Echo")["rpc.grpc.status_code"] == 5
    assert stats(gateway) == {"calls": 1, "statuses": {"NOT_FOUND": 1}, "without_status": 0}


def test_silence_ends_no_call(launch, dial: Dial, backend: Backend) -> None:
    """…neither the client's nor the backend's; and nothing is held back."""

    def talk(connection: Connection, request: Request) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/grpc\r\n\r\n5\r\nfirst\r\n")
        time.sleep(0.6)
        connection.send(b"6\r\nsecond\r\n")
        connection.read_body(request)
        connection.send(b"0\r\ngrpc-status: 0\r\n\r\n")

    backend.answer = talk
    gateway = launch(access_log=True, request_timeout_sec="200ms",
                     upstreams=[upstream(backend.port, stream_idle_timeout_ms=200, response_timeout_ms=200, buffering="always")])
    stream = call(dial(gateway), end=False)
    stream.head()
    assert stream.read() == b"first" and stream.read() == b"second"
    stream.send(b"x", end=True)
    assert stream.read() == b"" and dict(stream.trailers) == {b"grpc-status": b"0"}
    assert backend.last.body == b"x" and last(gateway, "/api/Echo")["rpc.grpc.status_code"] == 0


def test_a_call_that_is_given_up(launch, dial: Dial, backend: Backend) -> None:
    backend.answer = hang
    gateway = launch(access_log=True, upstreams=[upstream(backend.port)])
    stream = call(dial(gateway))
    backend.wait_requests()
    stream.abort()
    entry = last(gateway, "/api/Echo")
    assert (entry["error.type"], entry["rpc.grpc.status_code"]) == ("client_aborted", 1)


def test_an_answer_without_a_status(launch, dial: Dial, backend: Backend) -> None:
    gateway = launch(access_log=True, upstreams=[upstream(backend.port)])
    stream = call(dial(gateway))
    stream.head()
    assert b"".join(stream.body()) == b"hello from the backend"
    assert "rpc.grpc.status_code" not in last(gateway, "/api/Echo")
    assert stats(gateway) == {"calls": 1, "statuses": {}, "without_status": 1}


def test_a_call_too_many(launch, dial: Dial, backend: Backend) -> None:
    backend.answer = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type: application/grpc\r\ngrpc-status: 0\r\n\r\n", "keep")
    zone = {"name": "z", "rate": 0.01, "capacity": 1, "key_type": "client_ip"}
    gateway = launch(access_log=True, rate_limit={"enabled": True, "zones": [zone]}, upstreams=[upstream(backend.port)])
    link = dial(gateway)
    assert answer(call(link))["grpc-status"] == "0"
    fields = answer(call(link, "/api/Other"))
    assert fields["grpc-status"] == "14" and int(fields["retry-after"]) > 0
    entry = last(gateway, "/api/Other")
    assert (entry["error.type"], entry["rpc.grpc.status_code"]) == ("rate_limited", 14)
