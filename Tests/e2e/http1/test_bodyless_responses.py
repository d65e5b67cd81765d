"""HEAD, 1xx, 204 and 304 have no body, and the next response begins where it should."""

from __future__ import annotations

import pytest

from support.backend import Backend, raw, reply, reply_chunked
from support.client import Client
from support.configuration import respond, upstream
from support.gateway import Gateway


def test_head_of_a_local_answer(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/", "twelve bytes")])
    with Client(gateway.port) as client:
        response = client.request("HEAD", "/")
        assert response.status == 200 and response.header("content-length") == "12"
        assert client.request("GET", "/").text == "twelve bytes"


def test_head_of_a_refusal(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    with Client(gateway.port) as client:
        assert client.request("HEAD", "/missing").status == 404
        assert client.request("GET", "/").text == "ok"


@pytest.mark.parametrize("status", [204, 304])
def test_local_answer_without_body(launch, status: int) -> None:
    gateway: Gateway = launch(routes=[respond("/empty", "", status=status), respond("/")])
    with Client(gateway.port) as client:
        assert client.request("GET", "/empty").status == status
        assert client.request("GET", "/").text == "ok"


def test_head_of_a_backend_keeps_its_length(proxied: Gateway, backend: Backend) -> None:
    backend.answer = reply(body=b"x" * 321)
    with Client(proxied.port) as client:
        for _ in range(2):
            response = client.request("HEAD", "/api")
            assert response.status == 200 and response.header("content-length") == "321"
        assert client.request("GET", "/api").body == b"x" * 321
    assert len(backend.connections) == 1, "the backend's connection was reused"


def test_head_of_a_chunked_backend(proxied: Gateway, backend: Backend) -> None:
    backend.answer = raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", then="keep")
    with Client(proxied.port) as client:
        assert client.request("HEAD", "/api").status == 200
        backend.answer = reply_chunked([b"body"])
        assert client.request("GET", "/api").body == b"body"


@pytest.mark.parametrize("status", [204, 304])
def test_backend_without_body(proxied: Gateway, backend: Backend, status: int) -> None:
    backend.answer = reply(status, "ETag: \"x\"", reason="Fine")
    with Client(proxied.port) as client:
        for _ in range(2):
            response = client.request("GET", "/api")
            assert response.status == status and response.header("etag") == '"x"'
    assert len(backend.connections) == 1


def test_304_keeps_the_length_of_the_representation(proxied: Gateway, backend: Backend) -> None:
    backend.answer = raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n", then="keep")
    with Client(proxied.port) as client:
        for _ in range(2):
            assert client.request("GET", "/api").header("content-length") in ("1234", None)


def test_204_loses_a_length_it_may_not_have(proxied: Gateway, backend: Backend) -> None:
    """RFC 9110 §8.6."""
    backend.answer = raw("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", then="keep")
    with Client(proxied.port) as client:
        for _ in range(2):
            assert client.request("GET", "/api").header("content-length") is None
