"""X-Forwarded-*, Via and Host."""

from __future__ import annotations

import pytest

from support.backend import Backend
from support.client import Client
from support.configuration import upstream
from support.gateway import Gateway

FORWARDED = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Via"]


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    off = {"set_x_forwarded_for": False, "set_x_forwarded_proto": False, "set_x_forwarded_host": False, "set_via_header": False, "rewrite_host": False}
    return launch_shared(upstreams=[upstream(shared_backend.port), upstream(shared_backend.port, "/off", "off", header_rewrite=off),
                                    upstream(shared_backend.port, "/name", "name", host="localhost")])


def forwarded(gateway: Gateway, backend: Backend, path: str, *lines: str):
    with Client(gateway.port) as client:
        assert client.request("GET", path, *lines).status == 200
    return backend.last


def test_defaults(gateway: Gateway, shared_backend: Backend) -> None:
    seen = forwarded(gateway, shared_backend, "/api", "Host: example.com:8080")
    assert seen.header("x-forwarded-for") == "127.0.0.1"
    assert seen.header("x-forwarded-proto") == "http"
    assert seen.header("x-forwarded-host") == "example.com:8080"
    assert seen.header("via") == "1.1 gateway"
    assert seen.header("host") == f"127.0.0.1:{shared_backend.port}"


def test_client_address_is_the_peers(gateway: Gateway, shared_backend: Backend) -> None:
    with Client(gateway.port, source="127.0.0.9") as client:
        assert client.request("GET", "/api").status == 200
    assert shared_backend.last.header("x-forwarded-for") == "127.0.0.9"


def test_address_is_appended(gateway: Gateway, shared_backend: Backend) -> None:
    seen = forwarded(gateway, shared_backend, "/api", "X-Forwarded-For: 192.0.2.1, 192.0.2.2")
    assert ", ".join(seen.all("x-forwarded-for")) == "192.0.2.1, 192.0.2.2, 127.0.0.1"


def test_proto_is_overwritten(gateway: Gateway, shared_backend: Backend) -> None:
    assert forwarded(gateway, shared_backend, "/api", "X-Forwarded-Proto: https").all("x-forwarded-proto") == ["http"]


def test_via_is_appended(gateway: Gateway, shared_backend: Backend) -> None:
    assert ", ".join(forwarded(gateway, shared_backend, "/api", "Via: 1.0 first").all("via")) == "1.0 first, 1.1 gateway"


def test_via_names_the_version_received(gateway: Gateway, shared_backend: Backend) -> None:
    """RFC 9110 §7.6.3."""
    with Client(gateway.port) as client:
        client.send("GET /api HTTP/1.0\r\nHost: test\r\n\r\n")
        assert client.read().status == 200
    assert shared_backend.last.header("via") == "1.0 gateway"


def test_response_carries_via(gateway: Gateway) -> None:
    assert gateway.get("/api").header("via") == "1.1 gateway"


def test_host_is_the_configured_name(gateway: Gateway, shared_backend: Backend) -> None:
    assert forwarded(gateway, shared_backend, "/name").header("host") == f"localhost:{shared_backend.port}"


def test_may_all_be_switched_off(gateway: Gateway, shared_backend: Backend) -> None:
    seen = forwarded(gateway, shared_backend, "/off", "Host: example.com")
    assert [name for name in FORWARDED if seen.header(name) is not None] == []
    assert seen.header("host") == "example.com"


def test_are_passed_on_untouched_where_switched_off(gateway: Gateway, shared_backend: Backend) -> None:
    seen = forwarded(gateway, shared_backend, "/off", "X-Forwarded-For: 192.0.2.1", "Via: 1.0 first")
    assert (seen.header("x-forwarded-for"), seen.header("via")) == ("192.0.2.1", "1.0 first")
