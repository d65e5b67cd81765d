"""The access log: one line per request, with everything needed to explain it."""

from __future__ import annotations

import json
import re
import time

import pytest

from support.backend import Backend
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.wait import until


def test_json(launch, backend: Backend) -> None:
    gateway: Gateway = launch(access_log=True, routes=[respond("/local", "12345")], upstreams=[upstream(backend.port)])
    with Client(gateway.port) as client:
        first = client.request("GET", "/local?q=1", "User-Agent: tester \"1\"")
        client.request("POST", "/api/x", body=b"0123456789")
    local, proxied = gateway.access_entries(2)
    assert local["client.address"] == "127.0.0.1"
    assert local["gateway.request_id"] == first.header("x-request-id")
    assert (local["http.request.method"], local["url.path"], local["url.query"]) == ("GET", "/local", "q=1")
    assert (local["http.response.status_code"], local["http.response.body.size"]) == (200, 5)
    assert local["user_agent.original"] == 'tester "1"'
    assert local["network.protocol.version"] == "1.1" and local["server.address"] == "test"
    assert local["http.route"] == "/local" and "gateway.upstream" not in local
    assert (proxied["gateway.upstream"], proxied["gateway.upstream.attempts"]) == ("backend", 1)
    assert proxied["http.request.size"] > 10 and proxied["http.response.body.size"] == len(b"hello from the backend")
    assert 0 <= proxied["gateway.upstream.header_time"] <= proxied["http.server.request.duration"] < 5
    assert "error.type" not in local and "error.type" not in proxied


def test_bytes_sent_are_what_the_client_received(launch) -> None:
    gateway: Gateway = launch(access_log=True, routes=[respond("/", "body")])
    sent = request("GET", "/", "Connection: close")
    with Client(gateway.port) as client:
        client.send(sent)
        received = client.reader.to_end()
    entry = gateway.access_entries()[0]
    assert (entry["http.request.size"], entry["http.response.size"]) == (len(sent), len(received))


def test_request_id_is_the_one_the_backend_sees_and_the_client_gets(launch, backend: Backend) -> None:
    gateway: Gateway = launch(access_log=True, upstreams=[upstream(backend.port)])
    response = gateway.get("/api")
    logged = gateway.access_entries()[0]["gateway.request_id"]
    seen = {value for value in (response.header("x-request-id"), backend.last.header("x-request-id")) if value}
    assert seen <= {logged}


def test_combined(launch) -> None:
    gateway: Gateway = launch(access_log={"format": "combined"}, routes=[respond("/*", "12345")])
    gateway.get("/x?y=1", "User-Agent: agent/1", "Referer: http://from/")
    line = until(lambda: gateway.access_file.read_text()).splitlines()[0]
    assert re.fullmatch(r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /x\?y=1 HTTP/1\.1" 200 5 "http://from/" "agent/1"', line), line


def test_format_of_ones_own(launch) -> None:
    gateway: Gateway = launch(access_log={"format": "$method|$status|$path|$http_x_custom|$fault|$attempts|$$"}, routes=[respond("/*", "ok")])
    gateway.get("/p", "X-Custom: mine")
    assert until(lambda: gateway.access_file.read_text()) == "GET|200|/p|mine|-|0|$\n"


@pytest.mark.parametrize("format", ["combined", "json", '{"agent":"$http_user_agent"}'])
def test_a_client_cannot_forge_lines(launch, format: str) -> None:
    gateway: Gateway = launch(access_log={"format": format}, routes=[respond("/*", "ok")])
    with Client(gateway.port) as client:
        client.send(b'GET /x HTTP/1.1\r\nHost: test\r\nUser-Agent: a"b\\c\td\xffe\r\nReferer: "\r\nConnection: close\r\n\r\n')
        client.read()
    text = until(lambda: gateway.access_file.read_bytes())
    assert text.count(b"\n") == 1
    if format == "combined":
        assert text.count(b'"') == 6 and b"\xff" not in text and b"\t" not in text
    else:
        json.loads(text)


def test_refused_requests_are_logged(launch) -> None:
    gateway: Gateway = launch(access_log=True)
    with Client(gateway.port) as client:
        client.send("BROKEN\r\n\r\n")
        client.read()
    entry = gateway.access_entries()[0]
    assert (entry["http.response.status_code"], entry["error.type"]) == (400, "http_request_error")


def test_is_off_by_default(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    gateway.get("/")
    time.sleep(0.1)
    assert not gateway.access_file.exists()


def test_standard_output_without_a_file(launch) -> None:
    gateway: Gateway = launch(access_log={"file": ""}, routes=[respond("/findme", "ok")])
    gateway.get("/findme")
    until(lambda: '"url.path":"/findme"' in gateway.log, what="the line in the output")


def test_waiting_lines_are_written_after_the_interval(launch) -> None:
    gateway: Gateway = launch(access_log={"flush_interval_ms": 300}, routes=[respond("/")])
    gateway.get("/")
    assert gateway.access_file.read_text() == ""
    gateway.access_entries(1, timeout=2)


def test_waiting_lines_are_written_at_the_end(launch) -> None:
    gateway: Gateway = launch(access_log={"flush_interval_ms": 60_000}, workers=2, routes=[respond("/")])
    for _ in range(20):
        gateway.get("/")
    assert gateway.ctl("stop").returncode == 0
    assert len(gateway.access_entries(20)) == 20


def test_workers_do_not_mix_their_lines(launch) -> None:
    gateway: Gateway = launch(workers=2, access_log={"buffer_size": 4096}, routes=[respond("/*", "ok")])
    clients = [Client(gateway.port) for _ in range(10)]
    for number in range(1000):
        clients[number % 10].send(request("GET", f"/{number}/" + "p" * 200))
        clients[number % 10].read()
    entries = gateway.access_entries(1000)
    assert sorted(int(entry["url.path"].split("/")[1]) for entry in entries) == list(range(1000))
