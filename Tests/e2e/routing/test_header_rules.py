"""Header rules of routes: what is added, replaced and removed, in requests, responses and answers of the gateway's own."""

from __future__ import annotations

import json
import re

import pytest

from support.backend import Backend, chunk, head, hang, raw, reply
from support.client import Client
from support.configuration import forward, redirect, respond, upstream
from support.gateway import Gateway
from support.http2 import Http2
from support.message import values
from support.websocket import WebSocket, WebSocketBackend, frame

REQUEST = {
    "remove": ["X-Secret", "accept-language"],
    "set": {"X-Client": "{client_ip}", "X-Id": "{request_id}", "X-Kind": "{id}", "Via": "me", "X-Route": "{route}", "X-Lines": ["1", "2"], "X-None": "{header:none}"},
    "default": {"X-Default": "d", "X-Other": "o"},
    "add": {"X-Tag": "{scheme}://{host}{uri}", "X-Up": "{upstream} {endpoint} {attempts}"},
}
RESPONSE = {
    "remove": ["Server", "X-Powered-By"],
    "set": {"X-Status": "{status}", "X-From": "{upstream}", "X-Was": "{response_header:X-Kept}", "X-Rest": "{rest}"},
    "default": {"Cache-Control": "no-store"},
    "add": {"X-Kept": "more", "X-Took": "{duration} {upstream_header_time}"},
}


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    rules = {"request_headers": REQUEST, "response_headers": RESPONSE}
    return launch_shared(
        upstreams=[upstream(shared_backend.port, prefix="/short/:id/*rest", **rules)],
        routes=[forward("/x/:id/*rest", **rules),
                forward("/always/*rest", proxy={"response_timeout_ms": 50},
                        response_headers={"set": {"X-Fault": "{fault}", "X-Status": "{status}"}, "always": True}),
                forward("/never/*rest", proxy={"response_timeout_ms": 50}, response_headers={"set": {"X-Fault": "{fault}"}}),
                forward("/empty", request_headers={"set": {"X-A": "{header:none}", "X-B": "b"}, "keep_empty": True}),
                forward("/host/*rest", request_headers={"set": {"Host": "{header:X-Host}"}}),
                forward("/secret/*rest", request_headers={"set": {"X-Was": "{header:Authorization}"}, "remove": ["Authorization"]}),
                {**respond("/fixed/:name", "hello"), "response_headers": {"set": {"X-Name": "{name}", "X-Client": "{client_ip}"}, "remove": ["Server"]}},
                {**redirect("/moved/:name", "/to/{name}?from={client_ip}"), "response_headers": {"add": {"X-Name": "{name} {status}"}}}])


def check_request(seen, target: str, port: int, *, scheme: str = "http", host: str = "test") -> None:
    assert seen.header("x-secret") is None and seen.header("accept-language") is None
    assert seen.header("x-client") == "127.0.0.1" and seen.header("x-kind") == "7"
    assert seen.header("x-id") == seen.header("x-request-id")
    assert seen.all("via") == ["me"] and seen.all("x-lines") == ["1", "2"] and seen.header("x-none") is None
    assert seen.header("x-default") == "mine" and seen.header("x-other") == "o"
    assert seen.all("x-tag") == ["first", f"{scheme}://{host}{target}"]
    assert seen.header("x-up") == f"backend 127.0.0.1:{port} 1"


@pytest.mark.parametrize("prefix", ["/x", "/short"])
@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize("kind", ["whole", "chunked", "no body", "large"])
def test_both_ways(gateway: Gateway, shared_backend: Backend, prefix: str, protocol: int, kind: str) -> None:
    lines = ("Server: Apache", "X-Powered-By: PHP", "X-Kept: a", "X-Kept: b", "X-Status: 1")
    body = b"0" * 100_000 if kind == "large" else b"hello"
    shared_backend.answer = (raw(head(200, *lines, "Transfer-Encoding: chunked") + chunk(body) + b"0\r\n\r\n", then="keep") if kind == "chunked"
                             else reply(204, *lines) if kind == "no body" else reply(200, *lines, body=body))
    target = f"{prefix}/7/a%20b?q=1"
    sent = ["X-Secret: 1", "Accept-Language: de", "X-Client: 192.0.2.7", "X-Default: mine", "X-Tag: first", "X-None: 1"]
    if protocol == 1:
        with Client(gateway.port) as client:
            for _ in range(2):
                response = client.request("GET", target, *sent)
                check_response(response, body if kind != "no body" else b"", 204 if kind == "no body" else 200)
    else:
        with Http2(gateway.port) as client:
            for _ in range(2):
                answer = client.get(target, *[(line.split(": ")[0].lower(), line.split(": ")[1]) for line in sent])
                check_response(answer, body if kind != "no body" else b"", 204 if kind == "no body" else 200)
    check_request(shared_backend.last, target, shared_backend.port)


def check_response(response, body: bytes, status: int) -> None:
    assert response.status == status and response.body == body
    assert response.header("server") is None and response.header("x-powered-by") is None
    assert response.all("x-kept") == ["a", "b", "more"] and response.header("x-was") == "a, b"
    assert response.header("x-status") == str(status) and response.header("x-from") == "backend"
    assert response.header("cache-control") == "no-store" and response.header("x-rest") == "a%20b"
    assert re.fullmatch(r"\d+\.\d{6} \d+\.\d{6}", response.header("x-took"))


def test_pipelined(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(200, body=b"b")
    with Client(gateway.port) as client:
        client.send(b"".join(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode() for path in ("/fixed/a", "/x/1/r", "/fixed/b", "/moved/c")))
        assert [client.read().header("x-name") for _ in range(4)] == ["a", None, "b", "c 308"]


def test_fixed_answers_and_redirects(gateway: Gateway) -> None:
    for _ in range(2):
        response = gateway.get("/fixed/joe")
        assert response.status == 200 and response.body == b"hello"
        assert response.header("x-name") == "joe" and response.header("x-client") == "127.0.0.1" and response.header("server") is None
    with Client(gateway.port) as client:
        assert client.request("HEAD", "/fixed/h").header("x-name") == "h"
        moved = client.request("GET", "/moved/joe")
        assert (moved.status, moved.header("location"), moved.header("x-name")) == (308, "/to/joe?from=127.0.0.1", "joe 308")
    with Http2(gateway.port) as http2:
        for name in ("a", "b", "a"):
            answer = http2.get(f"/fixed/{name}")
            assert answer.header("x-name") == name and answer.body == b"hello"


@pytest.mark.parametrize("protocol", [1, 2])
def test_errors_only_when_asked(gateway: Gateway, shared_backend: Backend, protocol: int) -> None:
    shared_backend.answer = hang

    def get(path: str):
        if protocol == 1:
            return gateway.get(path)
        with Http2(gateway.port) as client:
            return client.get(path)

    always = get("/always/x")
    assert always.status == 504 and always.header("x-fault") == "http_response_timeout" and always.header("x-status") == "504"
    assert always.body == b"Gateway Timeout\n"
    assert get("/never/x").header("x-fault") is None


def test_empty_values(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(200)
    assert gateway.get("/empty", "X-A: client's").status == 200
    assert shared_backend.last.header("x-a") == "" and shared_backend.last.header("x-b") == "b"


def test_host(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(200)
    own = f"127.0.0.1:{shared_backend.port}"
    for value, expected in [("other.example:81", "other.example:81"), ("", own), ("a b", own), ("a/b", own), ("é", own), ("user@host", own)]:
        assert gateway.get("/host/x", f"X-Host: {value}").status == 200
        assert shared_backend.last.all("host") == [expected], value


def test_values_are_of_the_request_as_it_came(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(200)
    gateway.get("/secret/x", "Authorization: Basic abc")
    assert shared_backend.last.header("authorization") is None and shared_backend.last.header("x-was") == "Basic abc"


#: Attempts to get a field, a line or a byte of one's own into a message.
ATTEMPTS = ["/x/%0d%0aSet-Cookie:%20a=1/b", "/x/%0D%0A/b", "/x/%00/b", "/x/a/%0d%0ax", "/x/%0a/b", "/x/a/%00", "/x/a/..%2f..%2fb", "/x/a%5c..%5cb/c"]


@pytest.mark.parametrize("path", ATTEMPTS)
@pytest.mark.parametrize("protocol", [1, 2])
def test_injection_by_path(gateway: Gateway, shared_backend: Backend, path: str, protocol: int) -> None:
    shared_backend.answer = reply(200)
    before = len(shared_backend.requests)
    if protocol == 1:
        assert gateway.get(path).status == 400
    else:
        with Http2(gateway.port) as client:
            assert client.get(path).status == 400
    assert len(shared_backend.requests) == before


@pytest.mark.parametrize("value", [b"a\xe9", b"\x80\x85", "…".encode(), b"a\xffb"])
def test_what_is_not_ascii_is_left_out(gateway: Gateway, shared_backend: Backend, value: bytes) -> None:
    """A field that a rule would have filled with it is not sent, and what the client had put there is gone."""
    shared_backend.answer = reply(200)
    refused = json.loads(gateway.get("/stats").body)["header_rules"]["values_refused"]
    with Client(gateway.port) as client:
        client.send(b"GET /secret/x HTTP/1.1\r\nHost: test\r\nX-Was: mine\r\nAuthorization: " + value + b"\r\n\r\n")
        assert client.read().status == 200
    assert shared_backend.last.header("x-was") is None and shared_backend.last.header("authorization") is None
    assert json.loads(gateway.get("/stats").body)["header_rules"]["values_refused"] == refused + 1


def test_path_bytes_beyond_ascii_arrive_escaped(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(200)
    with Client(gateway.port) as client:
        client.send(b"GET /x/7/\xc3\xa9 HTTP/1.1\r\nHost: test\r\n\r\n")
        response = client.read()
    assert response.status in (200, 400)
    if response.status == 200:
        assert response.header("x-rest") == "%C3%A9"


def test_interim_responses_are_left_alone(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + head(200, "Content-Length: 0"), then="keep")
    with Client(gateway.port) as client:
        client.send("GET /x/7/a HTTP/1.1\r\nHost: test\r\n\r\n")
        response = client.read()
    assert [(hints.status, values(hints.fields, "x-from")) for hints in response.interim] == [(103, [])]
    assert response.header("x-from") == "backend"


def test_upgrades(launch) -> None:
    backend = WebSocketBackend()
    try:
        gateway = launch(upstreams=[upstream(backend.port, prefix=None)],
                         routes=[forward("/ws/:room", request_headers={"set": {"X-Room": "{room}"}}, response_headers={"set": {"X-Room": "{room} {status}"}})])
        with WebSocket(gateway.port, "/ws/blue") as socket:
            assert socket.response.header("x-room") == "blue 101"
            socket.send(frame(1, b"hi"))
            assert socket.message() == (1, b"hi")
    finally:
        backend.stop()


def test_reload_changes_them(launch, backend: Backend) -> None:
    backend.answer = reply(200)
    gateway = launch(upstreams=[upstream(backend.port, response_headers={"set": {"X-A": "1"}})])
    assert gateway.get("/api/x").header("x-a") == "1"
    gateway.reload(upstreams=[upstream(backend.port, response_headers={"set": {"X-B": "2"}})])
    response = gateway.get("/api/x")
    assert response.header("x-a") is None and response.header("x-b") == "2"


def test_mistakes_are_refused_by_a_reload(launch, backend: Backend) -> None:
    gateway = launch(upstreams=[upstream(backend.port)])
    gateway.write(upstreams=[upstream(backend.port, response_headers={"set": {"Connection": "close"}})])
    done = gateway.ctl("reload")
    assert done.returncode != 0 and "cannot be changed" in done.stdout + done.stderr
