"""Which connections stay open."""

from __future__ import annotations

import pytest

from support.client import Client
from support.configuration import respond
from support.gateway import Gateway


@pytest.fixture(scope="module")
def gateway(launch_shared) -> Gateway:
    return launch_shared(routes=[respond("/*", "ok")])


def test_http_1_1_stays_open(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        for _ in range(5):
            response = client.request()
            assert response.status == 200 and not response.closes
            assert response.minor == 1


@pytest.mark.parametrize("option", ["close", "Close", "CLOSE", "foo, close", "close, foo", "keep-alive, close"])
def test_http_1_1_closes_when_asked(gateway: Gateway, option: str) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", "/", f"Connection: {option}").closes
        assert client.at_end()


def test_close_in_a_second_connection_field_counts(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", "/", "Connection: foo", "Connection: close").closes
        assert client.at_end()


def test_http_1_0_closes(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send("GET / HTTP/1.0\r\n\r\n")
        response = client.read()
        assert response.status == 200 and response.body == b"ok" and response.closes
        assert client.at_end()


def test_http_1_0_stays_open_when_asked_and_says_so(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        for _ in range(2):
            client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            response = client.read()
            assert response.header("connection") == "keep-alive"
            assert response.header("content-length") == "2"


@pytest.mark.parametrize("status", [404, 405])
def test_a_refusal_that_is_no_syntax_error_leaves_the_connection_open(launch, status: int) -> None:
    gateway = launch(routes=[respond("/ok")])
    with Client(gateway.port) as client:
        refused = client.request(*(("GET", "/missing") if status == 404 else ("DELETE", "/ok")))
        assert refused.status == status and not refused.closes
        assert client.request("GET", "/ok").status == 200


def test_body_sent_to_a_local_answer_is_read_away(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send("GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n0123456789GET /2 HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.read().status == 200
        assert client.read().status == 200
