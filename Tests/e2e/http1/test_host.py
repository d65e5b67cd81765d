"""Host: exactly one in HTTP/1.1, and well-formed."""

from __future__ import annotations

import pytest

from support.client import Client
from support.configuration import respond
from support.gateway import Gateway


@pytest.fixture(scope="module")
def gateway(launch_shared) -> Gateway:
    return launch_shared(routes=[respond("/*", "reached")])


def status(gateway: Gateway, text: str) -> int:
    with Client(gateway.port) as client:
        client.send(text)
        return client.read().status


def test_is_required_in_http_1_1(gateway: Gateway) -> None:
    assert status(gateway, "GET / HTTP/1.1\r\nX-A: 1\r\n\r\n") == 400


def test_is_not_required_in_http_1_0(gateway: Gateway) -> None:
    assert status(gateway, "GET / HTTP/1.0\r\n\r\n") == 200


@pytest.mark.parametrize("second", ["test", "other"])
def test_may_not_be_doubled(gateway: Gateway, second: str) -> None:
    assert status(gateway, f"GET / HTTP/1.1\r\nHost: test\r\nHost: {second}\r\n\r\n") == 400


@pytest.mark.parametrize("host", ["a b", "a/b", "user@test", "test:http", "test:80:80", "[::1", "::1]", "a,b", "a#b", "a?b", "te\\st", "a<b",
                                  "test:-1", "test:99999999"])
def test_malformed_is_refused(gateway: Gateway, host: str) -> None:
    assert status(gateway, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n") == 400


@pytest.mark.parametrize("host", ["test", "test:8080", "TEST", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80", "a-b.example.com", "a_b", "test."])
def test_well_formed_is_accepted(gateway: Gateway, host: str) -> None:
    assert status(gateway, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n") == 200
