"""404 for paths that do not exist, 405 with Allow for methods that a path does not have."""

from __future__ import annotations

import pytest

from support.backend import Backend
from support.configuration import forward, respond, upstream
from support.gateway import Gateway


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(
        routes=[respond("/local"), respond("/post", methods=["POST"]), respond("/both", "get"), respond("/both", "put", methods=["PUT"]),
                forward("/any"), forward("/some", methods=["GET", "POST"]), forward("/head", methods=["GET", "HEAD"]),
                forward("/put", methods=["PUT"]), respond("/put", "local get")],
        upstreams=[upstream(shared_backend.port, prefix=None)])


def call(gateway: Gateway, method: str, path: str):
    with gateway.connect() as client:
        return client.request(method, path)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "FOO"])
def test_unknown_path(gateway: Gateway, method: str) -> None:
    assert call(gateway, method, "/missing").status == 404


@pytest.mark.parametrize(("path", "method", "allow"), [
    ("/local", "POST", "GET, HEAD"),
    ("/local", "FOO", "GET, HEAD"),
    ("/post", "GET", "POST"),
    ("/both", "DELETE", "GET, HEAD, PUT"),
    ("/some", "PUT", "GET, POST"),
    ("/some", "FOO", "GET, POST"),
    ("/some", "HEAD", "GET, POST"),
    ("/put", "DELETE", "GET, HEAD, PUT"),
])
def test_method_not_allowed(gateway: Gateway, path: str, method: str, allow: str) -> None:
    response = call(gateway, method, path)
    assert response.status == 405
    assert response.header("allow") == allow


@pytest.mark.parametrize(("method", "expected"), [("GET", "get"), ("PUT", "put")])
def test_methods_of_one_path_may_lead_to_different_routes(gateway: Gateway, method: str, expected: str) -> None:
    assert call(gateway, method, "/both").text == expected


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "PROPFIND", "X-Custom!"])
def test_a_forward_route_without_methods_takes_every_method(gateway: Gateway, shared_backend: Backend, method: str) -> None:
    assert call(gateway, method, "/any").status == 200
    assert shared_backend.last.method == method


def test_head_is_forwarded_as_head(gateway: Gateway, shared_backend: Backend) -> None:
    assert call(gateway, "HEAD", "/head").status == 200
    assert shared_backend.last.method == "HEAD"


def test_methods_are_case_sensitive(gateway: Gateway) -> None:
    assert call(gateway, "get", "/local").status == 405
