"""Trailers of requests are parsed like fields, and bounded like them."""

from __future__ import annotations

import pytest

from support.backend import Backend
from support.client import Client
from support.configuration import upstream
from support.gateway import Gateway

HEAD = "POST /api HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"


@pytest.fixture
def gateway(launch, backend: Backend) -> Gateway:
    return launch(max_header_size=1024, max_header_count=10, upstreams=[upstream(backend.port)])


def test_are_read(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send(HEAD + "X-T: 1\r\n\r\n")
        assert client.read("POST").status == 200
        assert client.request("GET", "/api").status == 200


def test_size_is_bounded(gateway: Gateway, backend: Backend) -> None:
    with Client(gateway.port) as client:
        client.send(HEAD + f"X-T: {'t' * 2000}\r\n\r\n")
        response = client.read("POST")
        assert response.status == 431 and client.at_end()
    assert not backend.requests or not backend.last.complete


def test_number_is_bounded(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send(HEAD + "X-T: 1\r\n" * 11 + "\r\n")
        assert client.read("POST").status == 431


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Host"])
def test_framing_and_routing_fields_have_no_effect(gateway: Gateway, backend: Backend, name: str) -> None:
    """RFC 9110 §6.5.1."""
    with Client(gateway.port) as client:
        client.send(HEAD + f"{name}: 7\r\n\r\n")
        response = client.read("POST")
        assert response.status in (200, 400)
        if response.status == 200:
            assert client.request("GET", "/api").status == 200
    assert all(not request.trailers for request in backend.requests)
