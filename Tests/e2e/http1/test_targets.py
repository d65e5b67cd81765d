"""The forms of the request target (RFC 9112 §3.2)."""

from __future__ import annotations

import pytest

from support.backend import Backend
from support.client import Client, send_raw
from support.configuration import respond, upstream
from support.gateway import Gateway


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(
        routes=[respond("/where", "example", hosts=["example.com"]), respond("/where", "anywhere"), respond("/", "root")],
        upstreams=[upstream(shared_backend.port)])


def test_authority_of_absolute_form_overrides_host(gateway: Gateway) -> None:
    """RFC 9112 §3.2.2."""
    response = send_raw(gateway.port, "GET http://example.com/where HTTP/1.1\r\nHost: other\r\n\r\n")
    assert response.text == "example"


def test_absolute_form_is_forwarded_in_origin_form(gateway: Gateway, shared_backend: Backend) -> None:
    assert send_raw(gateway.port, "GET http://example.com/api/x?y=1 HTTP/1.1\r\nHost: other\r\n\r\n").status == 200
    assert shared_backend.last.target == "/api/x?y=1"
    assert shared_backend.last.header("x-forwarded-host") == "example.com"


def test_absolute_form_without_path_means_the_root(gateway: Gateway) -> None:
    assert send_raw(gateway.port, "GET http://test HTTP/1.1\r\nHost: test\r\n\r\n").text == "root"


def test_absolute_form_still_needs_host(gateway: Gateway) -> None:
    assert send_raw(gateway.port, "GET http://test/ HTTP/1.1\r\n\r\n").status == 400


def test_scheme_is_case_insensitive(gateway: Gateway) -> None:
    assert send_raw(gateway.port, "GET HTTP://test/ HTTP/1.1\r\nHost: test\r\n\r\n").status == 200


def test_options_of_the_server_itself(gateway: Gateway) -> None:
    response = send_raw(gateway.port, "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n")
    assert response.status == 204
    assert "GET" in (response.header("allow") or "")


def test_query_is_kept_as_it_is(gateway: Gateway, shared_backend: Backend) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", "/api/x?a=%2e%2e/&b=//&&=?").status == 200
    assert shared_backend.last.target == "/api/x?a=%2e%2e/&b=//&&=?"


def test_empty_query_is_kept(gateway: Gateway, shared_backend: Backend) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", "/api/x?").status == 200
    assert shared_backend.last.target == "/api/x?"
