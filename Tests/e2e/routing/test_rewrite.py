"""Paths that backends are asked for: rewritten with captures and other variables, and never to somewhere else."""

from __future__ import annotations

import json

import pytest

from support.backend import Backend, reply
from support.client import Client
from support.configuration import forward, upstream
from support.gateway import Gateway
from support.http2 import Http2


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(
        access_log=True,
        upstreams=[upstream(shared_backend.port, prefix="/short/:a/*rest", rewrite="/v1/{rest}/{a}")],
        routes=[forward("/users/:id/*rest", rewrite="/v2/{rest}"), forward("/exact/:id", rewrite="/item?id={id}&by={client_ip}"), forward("/search/*rest", rewrite="/find/{rest}{query}"),
                forward("/all/*rest", rewrite="{path}"), forward("/tenant/*rest", rewrite="/t/{header:X-Tenant}/{rest}"),
                forward("/host/*rest", rewrite="/h/{hostname}/{rest}"), forward("/param", rewrite="/p/{parameter:to}"), forward("/cookie", rewrite="/c/{cookie:where}"),
                forward("/dots/:a", rewrite="/x/.{a}/y"),
                forward("/retry/*rest", rewrite="/again/{rest}", proxy={"retry": {"max_retries": 2, "retry_on_status": [503], "backoff_base_ms": 1}})])


def target(gateway: Gateway, backend: Backend, path: str, *lines: str, protocol: int = 1) -> str | int:
    """What the backend was asked for, or the status of the refusal."""
    backend.answer = reply(200)
    before = len(backend.requests)
    if protocol == 2:
        with Http2(gateway.port) as client:
            status = client.get(path, *[(line.split(": ", 1)[0].lower(), line.split(": ", 1)[1]) for line in lines]).status
    else:
        with Client(gateway.port) as client:
            status = client.request("GET", path, *lines).status
    if status != 200:
        assert len(backend.requests) == before
        return status
    return backend.last.target


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize(("path", "expected"), [
    ("/users/7/a/b?q=1", "/v2/a/b?q=1"), ("/users/7/", "/v2/"), ("/users/7/a%20b", "/v2/a%20b"), ("/users/7/%7Ea?", "/v2/~a?"), ("/exact/7?q=1", "/item?id=7&by=127.0.0.1"),
    ("/search/x?q=1", "/find/x?q=1"), ("/search/x", "/find/x"), ("/all/x/../y?z", "/all/y?z"), ("/short/1/x/y?q", "/v1/x/y/1?q"), ("/users/7/a//b", "/v2/a/b"),
])
def test_rewritten(gateway: Gateway, shared_backend: Backend, path: str, expected: str, protocol: int) -> None:
    assert target(gateway, shared_backend, path, protocol=protocol) == expected


@pytest.mark.parametrize(("path", "lines", "expected"), [
    ("/tenant/x", ["X-Tenant: acme"], "/t/acme/x"), ("/tenant/x", ["X-Tenant: a%20b"], "/t/a%20b/x"), ("/param?to=x", [], "/p/x?to=x"), ("/cookie", ["Cookie: a=b; where=x"], "/c/x"),
    ("/host/x", [], "/h/test/x"),
])
def test_other_variables(gateway: Gateway, shared_backend: Backend, path: str, lines: list[str], expected: str) -> None:
    assert target(gateway, shared_backend, path, *lines) == expected


#: Attempts to be sent somewhere else than the operator has meant.
ATTEMPTS = [
    ("/tenant/x", ["X-Tenant: .."]), ("/tenant/x", ["X-Tenant: ."]), ("/tenant/x", ["X-Tenant: %2e%2e"]), ("/tenant/x", ["X-Tenant: .%2E"]), ("/tenant/x", ["X-Tenant: ../.."]),
    ("/tenant/x", ["X-Tenant: a/b"]), ("/tenant/x", ["X-Tenant: /"]), ("/tenant/x", ["X-Tenant: a%2fb"]), ("/tenant/x", ["X-Tenant: a%5cb"]), ("/tenant/x", [r"X-Tenant: a\b"]),
    ("/tenant/x", ["X-Tenant: a?b"]), ("/tenant/x", ["X-Tenant: a#b"]), ("/tenant/x", ["X-Tenant: a b"]), ("/tenant/x", ["X-Tenant: a HTTP/1.1"]), ("/tenant/x", ["X-Tenant: %00"]),
    ("/tenant/x", ["X-Tenant: %0d%0a"]), ("/tenant/x", ["X-Tenant: %zz"]), ("/tenant/x", ["X-Tenant: %"]), ("/tenant/x", ["X-Tenant: ..;"]), ("/tenant/x", []), ("/tenant/x", ["X-Tenant: "]),
    ("/tenant/x", ["X-Tenant: a", "X-Tenant: .."]), ("/tenant/x", ["X-Tenant: é"]), ("/param?to=..", []), ("/param?to=%2e%2e", []), ("/param?to=a/b", []), ("/param?to=", []), ("/param", []),
    ("/param?to=a%2fb", []), ("/cookie", ["Cookie: where=../x"]), ("/cookie", ["Cookie: where=.."]), ("/cookie", []), ("/dots/.", []), ("/users/7/..%2fx", []), ("/users/7/%00", []),
]


@pytest.mark.parametrize(("path", "lines"), ATTEMPTS)
def test_refused(gateway: Gateway, shared_backend: Backend, path: str, lines: list[str]) -> None:
    result = target(gateway, shared_backend, path, *lines)
    # Where a path without its dots is another route's, or none's, that is what is answered.
    assert result == (404 if path == "/dots/." else 400), result


def test_named_in_the_log(launch, backend: Backend) -> None:
    gateway: Gateway = launch(access_log=True, upstreams=[upstream(backend.port, None)], routes=[forward("/t/*rest", rewrite="/x/{header:X-T}")])
    assert gateway.get("/t/x", "X-T: ..").status == 400
    entry = gateway.access_entries()[0]
    assert entry["error.type"] == "path_rewrite_refused" and entry["http.route"] == "/t/*rest" and entry["url.path"] == "/t/x"
    assert json.loads(gateway.get("/stats").body)["faults"]["path_rewrite_refused"] == 1
    assert backend.connections == [], "a connection was opened for nothing"


def test_every_attempt(gateway: Gateway, shared_backend: Backend) -> None:
    answers = iter([503, 503, 200])
    before = len(shared_backend.requests)
    shared_backend.answer = lambda connection, request: reply(next(answers))(connection, request)
    assert gateway.get("/retry/x?y").status == 200
    assert [one.target for one in shared_backend.requests[before:]] == ["/again/x?y"] * 3


def test_bodies_go_along(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(200)
    with Client(gateway.port) as client:
        assert client.request("POST", "/users/7/x", body=b"b" * 50_000).status == 200
    assert shared_backend.last.target == "/v2/x" and len(shared_backend.last.body) == 50_000
