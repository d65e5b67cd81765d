"""Requests that come in pieces mean the same as those that come whole."""

from __future__ import annotations

import time

import pytest

from support.backend import Backend
from support.client import Client, request
from support.configuration import respond, upstream
from support.gateway import Gateway


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(routes=[respond("/*", "ok")], upstreams=[upstream(shared_backend.port)])


def test_byte_by_byte(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        for _ in range(2):
            for byte in request("GET", "/", "X-A: 1", "Accept: */*"):
                client.send(bytes([byte]))
            assert client.read().status == 200


@pytest.mark.parametrize("cut", range(1, 60, 4))
def test_two_pieces(gateway: Gateway, cut: int) -> None:
    whole = request("GET", "/", "X-Some-Header: with a value")
    with Client(gateway.port) as client:
        client.send(whole[:cut])
        time.sleep(0.01)
        client.send(whole[cut:])
        assert client.read().status == 200


def test_a_body_split_from_its_head(gateway: Gateway, shared_backend: Backend) -> None:
    with Client(gateway.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nab")
        time.sleep(0.05)
        client.send("cd")
        time.sleep(0.05)
        client.send(b"ef" + request("GET", "/"))
        assert client.read("POST").status == 200
        assert client.read().text == "ok"
    assert shared_backend.last.body == b"abcdef"


def test_a_head_that_fills_many_segments(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        whole = request("GET", "/", *(f"X-{n}: {'v' * 60}" for n in range(80)))
        for start in range(0, len(whole), 700):
            client.send(whole[start:start + 700])
            time.sleep(0.002)
        assert client.read().status == 200


def test_a_mistake_is_refused_without_waiting_for_the_rest(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send("GET / HTTP/1.1\r\nBad Header: x\r\n")
        assert client.read().status == 400
