"""Expect: 100-continue, and everything else that is expected (RFC 9110 §10.1.1)."""

from __future__ import annotations

import pytest

from support.backend import Backend
from support.client import Client
from support.configuration import respond, upstream
from support.gateway import Gateway

HEAD = "POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n"


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(max_body_size=1000, routes=[respond("/local", "ok", methods=["POST"])], upstreams=[upstream(shared_backend.port)])


@pytest.mark.parametrize("value", ["100-continue", "100-Continue"])
def test_client_is_told_to_continue(gateway: Gateway, shared_backend: Backend, value: str) -> None:
    with Client(gateway.port) as client:
        client.send(HEAD + f"Expect: {value}\r\n\r\n")
        assert client.reader.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 Continue\r\n")
        client.send("hello")
        response = client.read("POST")
        assert response.status == 200 and not response.interim
    assert shared_backend.last.body == b"hello"
    assert shared_backend.last.header("expect") is None


def test_body_that_is_there_already_needs_no_100(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send(HEAD + "Expect: 100-continue\r\n\r\nhello")
        response = client.read("POST")
        assert response.status == 200 and not response.interim


def test_too_large_a_body_is_refused_before_it_is_sent(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
        response = client.read("POST")
        assert response.status == 413 and not response.interim


def test_unknown_path_is_refused_before_the_body_is_sent(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send("POST /missing HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        response = client.read("POST")
        assert response.status == 404 and not response.interim


@pytest.mark.parametrize("value", ["something", "100-continue, x", "100"])
def test_other_expectations_fail(gateway: Gateway, value: str) -> None:
    with Client(gateway.port) as client:
        client.send(HEAD + f"Expect: {value}\r\n\r\n")
        assert client.read("POST").status == 417


def test_http_1_0_client_gets_no_100(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send("POST /api HTTP/1.0\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.silent(0.3)
        client.send("hello")
        response = client.read("POST")
        assert response.status == 200 and not response.interim
