"""max_header_size and max_header_count."""

from __future__ import annotations

import pytest

from support.client import Client, request
from support.configuration import respond
from support.gateway import Gateway


@pytest.fixture(scope="module")
def gateway(launch_shared) -> Gateway:
    return launch_shared(max_header_size=1000, max_header_count=10, routes=[respond("/*", "ok")])


def status(gateway: Gateway, data: bytes) -> int:
    with Client(gateway.port) as client:
        client.send(data)
        response = client.read()
        if response.status != 200:
            assert response.closes and client.at_end()
        return response.status


def test_target_alone_too_long(gateway: Gateway) -> None:
    assert status(gateway, request("GET", "/" + "a" * 1100)) == 414


@pytest.mark.parametrize("size", [100_000, 5_000_000])
def test_endless_target(gateway: Gateway, size: int) -> None:
    with Client(gateway.port) as client:
        try:
            client.send(b"GET /" + b"a" * size)
        except OSError:
            pass
        try:
            assert client.read().status == 414
        except ConnectionResetError:
            assert size > 1_000_000, "the answer was destroyed by a reset"


def test_one_field_too_large(gateway: Gateway) -> None:
    assert status(gateway, request("GET", "/", "X-A: " + "a" * 1000)) == 431


def test_fields_too_large_together(gateway: Gateway) -> None:
    assert status(gateway, request("GET", "/", *(f"X-{n}: {'a' * 150}" for n in range(8)))) == 431


def test_endless_field(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\nX-A: " + b"a" * 50_000)
        assert client.read().status == 431


def test_bound_is_exact(gateway: Gateway) -> None:
    """Target, and for each field its name, its value and 4."""
    used = len("/") + len("Host") + len("test") + 4 + len("X-A") + 4
    assert status(gateway, request("GET", "/", "X-A: " + "a" * (1000 - used))) == 200
    assert status(gateway, request("GET", "/", "X-A: " + "a" * (1001 - used))) == 431


def test_too_many_fields(gateway: Gateway) -> None:
    assert status(gateway, request("GET", "/", *(f"X-{n}: 1" for n in range(9)))) == 200
    assert status(gateway, request("GET", "/", *(f"X-{n}: 1" for n in range(10)))) == 431


def test_large_heads_where_allowed(launch) -> None:
    gateway: Gateway = launch(max_header_size=0, max_header_count=1000, routes=[respond("/*", "ok")])
    with Client(gateway.port) as client:
        for size in (10_000, 100_000, 900_000):
            assert client.request("GET", "/", "X-A: " + "a" * size).status == 200
            assert client.request("GET", "/" + "a" * size).status == 200
        assert client.request("GET", "/", *(f"X-{n}: 1" for n in range(990))).status == 200


def test_even_no_bound_ends_at_the_ceiling(launch) -> None:
    gateway: Gateway = launch(max_header_size=0, routes=[respond("/*", "ok")])
    with Client(gateway.port) as client:
        try:
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\nX-A: " + b"a" * 1_100_000)
        except OSError:
            pass
        assert client.read().status == 431
