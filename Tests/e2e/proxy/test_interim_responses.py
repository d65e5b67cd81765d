"""1xx responses of the backend."""

from __future__ import annotations

import pytest

from support.backend import Backend, head, raw
from support.client import Client
from support.gateway import Gateway

FINAL = head(200, "Content-Length: 2").decode() + "ok"
HINTS = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n\r\n"


def test_early_hints_are_relayed(proxied: Gateway, backend: Backend) -> None:
    backend.answer = raw(HINTS + FINAL, then="keep")
    with Client(proxied.port) as client:
        for _ in range(2):
            response = client.request("GET", "/api")
            assert [interim.status for interim in response.interim] == [103]
            assert response.interim[0].all("link") == ["</a.css>; rel=preload", "</b.js>; rel=preload"]
            assert response.body == b"ok"


def test_they_come_before_the_final_response_is_there(proxied: Gateway, backend: Backend) -> None:
    backend.answer = raw(HINTS, then="hang")
    with Client(proxied.port, timeout=3) as client:
        client.send("GET /api HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.reader.until(b"\r\n\r\n").startswith(b"HTTP/1.1 103 ")


def test_several_are_relayed(proxied: Gateway, backend: Backend) -> None:
    backend.answer = raw("HTTP/1.1 102 Processing\r\n\r\n" + HINTS * 2 + FINAL, then="keep")
    with Client(proxied.port) as client:
        response = client.request("GET", "/api")
        assert [interim.status for interim in response.interim] in ([102, 103, 103], [103, 103])


def test_100_is_the_gateways_own_affair(proxied: Gateway, backend: Backend) -> None:
    backend.answer = raw("HTTP/1.1 100 Continue\r\n\r\n" + FINAL, then="keep")
    with Client(proxied.port) as client:
        response = client.request("GET", "/api")
        assert response.interim == [] and response.body == b"ok"


def test_hop_by_hop_fields_of_hints_are_dropped(proxied: Gateway, backend: Backend) -> None:
    backend.answer = raw("HTTP/1.1 103 Early Hints\r\nConnection: x-a\r\nX-A: 1\r\nLink: <x>\r\n\r\n" + FINAL, then="keep")
    with Client(proxied.port) as client:
        interim = client.request("GET", "/api").interim[0]
        assert interim.header("x-a") is None and interim.header("connection") is None


def test_a_http_1_0_client_gets_none(proxied: Gateway, backend: Backend) -> None:
    backend.answer = raw(HINTS + FINAL, then="keep")
    with Client(proxied.port) as client:
        client.send("GET /api HTTP/1.0\r\n\r\n")
        response = client.read()
        assert response.interim == [] and response.body == b"ok"


def test_101_that_was_not_asked_for_is_a_fault(proxied: Gateway, backend: Backend) -> None:
    backend.answer = raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", then="hang")
    assert proxied.get("/api").status == 502
    assert proxied.access_entries()[0]["error.type"] == "http_upgrade_failed"


@pytest.mark.timeout(30)
def test_an_endless_number_is_not_followed(proxied: Gateway, backend: Backend) -> None:
    def answer(connection, asked) -> None:
        while True:
            connection.send("HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    backend.answer = answer
    with Client(proxied.port, timeout=20) as client:
        assert client.request("GET", "/api").status == 502
