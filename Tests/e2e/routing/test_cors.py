"""CORS: preflights are answered by the gateway, and responses say who may read them, and nobody else may."""

from __future__ import annotations

import json

import pytest

from support.backend import Backend, hang, reply
from support.client import Client
from support.configuration import forward, redirect, respond, upstream
from support.gateway import Gateway
from support.http2 import Http2

GOOD = "https://app.example.com"
CORS = {"allow_origins": [GOOD, "https://*.example.org", "http://localhost:*", "https://port.example:8443", "capacitor://localhost"], "allow_methods": ["GET", "PUT"],
        "allow_headers": ["Content-Type", "X-Api-Key"], "expose_headers": ["X-Total", "ETag"], "allow_credentials": True, "max_age_sec": 900}


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(
        access_log=True,
        upstreams=[upstream(shared_backend.port, prefix="/short", cors={"allow_origins": [GOOD]})],
        routes=[forward("/api/*rest", cors=CORS, proxy={"response_timeout_ms": 100}), {**forward("/put/*rest", cors={"allow_origins": [GOOD]}), "methods": ["PUT"]},
                forward("/any/*rest", cors={"allow_origins": ["*"], "allow_headers": ["*"]}), forward("/null/*rest", cors={"allow_origins": ["null"]}),
                forward("/plain/*rest"), {**respond("/fixed", "hello"), "cors": {"allow_origins": [GOOD]}}, {**redirect("/moved", "/to"), "cors": {"allow_origins": [GOOD]}}])


def ask(gateway: Gateway, method: str, path: str, *lines: str, protocol: int = 1):
    if protocol == 2:
        with Http2(gateway.port) as client:
            return client.answer(client.request(method, path, *[(line.split(": ", 1)[0].lower(), line.split(": ", 1)[1]) for line in lines]))
    with Client(gateway.port) as client:
        return client.request(method, path, *lines)


def preflight(gateway: Gateway, path: str, origin: str, method: str = "PUT", headers: str | None = None, protocol: int = 1):
    lines = [f"Origin: {origin}", f"Access-Control-Request-Method: {method}"]
    if headers is not None:
        lines.append(f"Access-Control-Request-Headers: {headers}")
    return ask(gateway, "OPTIONS", path, *lines, protocol=protocol)


def vary(response) -> set[str]:
    return {name.strip().lower() for value in response.all("vary") for name in value.split(",")}


@pytest.mark.parametrize("protocol", [1, 2])
def test_preflight(gateway: Gateway, shared_backend: Backend, protocol: int) -> None:
    before = len(shared_backend.requests)
    response = preflight(gateway, "/api/x", GOOD, headers="content-type", protocol=protocol)
    assert response.status == 204 and response.body == b""
    assert response.header("access-control-allow-origin") == GOOD and response.header("access-control-allow-credentials") == "true"
    assert response.header("access-control-allow-methods") == "GET, PUT" and response.header("access-control-allow-headers") == "Content-Type, X-Api-Key"
    assert response.header("access-control-max-age") == "900" and response.header("access-control-expose-headers") is None
    assert vary(response) == {"origin", "access-control-request-method", "access-control-request-headers"}
    assert len(shared_backend.requests) == before


@pytest.mark.parametrize("protocol", [1, 2])
def test_response(gateway: Gateway, shared_backend: Backend, protocol: int) -> None:
    shared_backend.answer = reply(200, "Access-Control-Allow-Origin: *", "access-control-allow-credentials: true", "Access-Control-Expose-Headers: X-Secret", "Vary: Accept", body=b"b")
    response = ask(gateway, "GET", "/api/x", f"Origin: {GOOD}", protocol=protocol)
    assert response.status == 200 and response.body == b"b"
    assert response.all("access-control-allow-origin") == [GOOD] and response.all("access-control-allow-credentials") == ["true"]
    assert response.all("access-control-expose-headers") == ["X-Total, ETag"] and vary(response) == {"accept", "origin"}
    assert shared_backend.last.header("origin") == GOOD


def test_methods_of_the_route(gateway: Gateway) -> None:
    """A preflight is matched with the method that it asks about, whether or not the route takes OPTIONS."""
    assert preflight(gateway, "/put/x", GOOD, "PUT").header("access-control-allow-methods") == "PUT"
    assert preflight(gateway, "/put/x", GOOD, "DELETE").status == 405
    assert preflight(gateway, "/missing", GOOD).status == 404
    assert preflight(gateway, "/short/x", GOOD, "PATCH").header("access-control-allow-methods") == "PATCH"


def test_other_options_go_on(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(200, "X-Own: 1")
    for lines in ([], [f"Origin: {GOOD}"], ["Access-Control-Request-Method: PUT"]):
        response = ask(gateway, "OPTIONS", "/api/x", *lines)
        assert response.status == 200 and response.header("x-own") == "1"
    assert preflight(gateway, "/plain/x", GOOD).header("x-own") == "1"
    assert shared_backend.last.method == "OPTIONS"


@pytest.mark.parametrize("origin", [GOOD, "https://a.example.org", "https://a.b.example.org", "http://localhost:3000", "http://localhost", "https://port.example:8443", "capacitor://localhost"])
def test_admitted(gateway: Gateway, shared_backend: Backend, origin: str) -> None:
    shared_backend.answer = reply(200)
    assert preflight(gateway, "/api/x", origin).header("access-control-allow-origin") == origin
    assert ask(gateway, "GET", "/api/x", f"Origin: {origin}").header("access-control-allow-origin") == origin


#: Origins that resemble one that is admitted.
ATTEMPTS = [
    "null", "*", "https://app.example.com.evil.test", "https://evil-app.example.com", "https://app.example.com:8443", "http://app.example.com", "https://APP.example.com", "HTTPS://app.example.com",
    "https://app.example.com/", "https://app.example.com.", "https://app.example.co", "https://app.example.comm", "https://xapp.example.com", "https://app_example.com", "https://appxexample.com",
    "https://user@app.example.com", "https://app.example.com@evil.test", "https://app.example.com%60.evil.test", "https://app.example.com, https://evil.test",
    "https://evil.test, https://app.example.com", "https://example.org", "https://.example.org", "https://evil.test/.example.org", "https://evil.test#.example.org", "https://evil.test?.example.org",
    "https://evil.test:1.example.org", r"https://evil.test\.example.org", "https://evilexample.org", "https://a..example.org", "https://a.example.org:443", "https://a.example.org:8080", "http://a.example.org",
    "https://a.example.org.evil.test", "https://évil.example.org", "https://a%2eexample.org", "http://localhost:", "http://localhost:x", "http://localhost:123456", "http://localhost:80:80", "http://localhost.evil.test:80",
    "http://xlocalhost:80", "https://localhost:80", "https://port.example", "https://port.example:443", "https://port.example:84430", "capacitor://localhost:80", "file://", "https://", "",
]


@pytest.mark.parametrize("origin", ATTEMPTS)
def test_refused(gateway: Gateway, shared_backend: Backend, origin: str) -> None:
    shared_backend.answer = reply(200, "Access-Control-Allow-Origin: *", body=b"b")
    response = ask(gateway, "GET", "/api/x", f"Origin: {origin}")
    assert response.status == 200
    assert response.header("access-control-allow-origin") is None and response.header("access-control-allow-credentials") is None
    assert response.header("access-control-expose-headers") is None and "origin" in vary(response)
    asked = preflight(gateway, "/api/x", origin)
    assert asked.status == 403 and asked.header("access-control-allow-origin") is None and "origin" in vary(asked)


def test_two_origins_are_none(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(200)
    assert ask(gateway, "GET", "/api/x", f"Origin: {GOOD}", f"Origin: {GOOD}").header("access-control-allow-origin") is None


def test_caches_cannot_be_confused(gateway: Gateway, shared_backend: Backend) -> None:
    """Whoever asks, a response that depends on Origin says so: with one, with another, and without."""
    shared_backend.answer = reply(200, "Cache-Control: public, max-age=60")
    for lines in ([], [f"Origin: {GOOD}"], ["Origin: https://evil.test"]):
        assert "origin" in vary(ask(gateway, "GET", "/api/x", *lines))
    for path in ("/fixed", "/moved"):
        for lines in ([], [f"Origin: {GOOD}"]):
            assert "origin" in vary(ask(gateway, "GET", path, *lines))
    # One that does not, does not.
    assert vary(ask(gateway, "GET", "/any/x", f"Origin: {GOOD}")) == set()


def test_any_origin(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(200)
    for lines in ([], ["Origin: https://whoever.test"], ["Origin: null"]):
        response = ask(gateway, "GET", "/any/x", *lines)
        assert response.header("access-control-allow-origin") == "*" and response.header("access-control-allow-credentials") is None
    asked = preflight(gateway, "/any/x", "https://whoever.test", "DELETE", "x-a, X-B")
    assert asked.header("access-control-allow-origin") == "*" and asked.header("access-control-allow-methods") == "DELETE"
    assert asked.header("access-control-allow-headers") == "x-a, X-B" and asked.header("access-control-max-age") == "600"


@pytest.mark.parametrize("headers", ["x-a\tb", "é", "x:y", "a" * 2000, "(x)"])
def test_what_is_no_list_of_names_is_not_repeated(gateway: Gateway, headers: str) -> None:
    asked = preflight(gateway, "/any/x", "https://whoever.test", headers=headers)
    assert asked.status == 204 and asked.header("access-control-allow-headers") is None


def test_null_only_by_name(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = reply(200)
    assert ask(gateway, "GET", "/null/x", "Origin: null").header("access-control-allow-origin") == "null"
    assert ask(gateway, "GET", "/null/x", "Origin: NULL").header("access-control-allow-origin") is None


@pytest.mark.parametrize("protocol", [1, 2])
def test_pages_can_read_errors(gateway: Gateway, shared_backend: Backend, protocol: int) -> None:
    shared_backend.answer = hang
    response = ask(gateway, "GET", "/api/x", f"Origin: {GOOD}", protocol=protocol)
    assert response.status == 504 and response.header("access-control-allow-origin") == GOOD
    fixed = ask(gateway, "GET", "/fixed", f"Origin: {GOOD}", protocol=protocol)
    assert fixed.body == b"hello" and fixed.header("access-control-allow-origin") == GOOD
    assert ask(gateway, "GET", "/moved", f"Origin: {GOOD}", protocol=protocol).header("access-control-allow-origin") == GOOD


def test_pages_can_read_refusals(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port, None)], routes=[forward("/api", cors={"allow_origins": [GOOD]}, max_body_size=10)],
                              rate_limit={"enabled": True, "zones": [{"name": "z", "rate": 0.001, "capacity": 2, "key_type": "client_ip"}]})
    assert ask(gateway, "GET", "/api", f"Origin: {GOOD}").status == 200
    with Client(gateway.port) as client:
        large = client.request("POST", "/api", f"Origin: {GOOD}", body=b"x" * 11)
    assert large.status == 413 and large.header("access-control-allow-origin") == GOOD
    assert ask(gateway, "GET", "/api", f"Origin: {GOOD}").status == 200
    limited = ask(gateway, "GET", "/api", f"Origin: {GOOD}")
    assert limited.status == 429 and limited.header("access-control-allow-origin") == GOOD and "origin" in vary(limited)


def test_named_in_the_log(launch, backend: Backend) -> None:
    gateway: Gateway = launch(access_log=True, upstreams=[upstream(backend.port, None)], routes=[forward("/api", cors={"allow_origins": [GOOD]})])
    assert preflight(gateway, "/api", GOOD).status == 204 and preflight(gateway, "/api", "https://evil.test").status == 403
    entries = gateway.access_entries(2)
    assert [(one["http.route"], one.get("error.type")) for one in entries] == [("/api", None), ("/api", "cors_origin_refused")]
    assert json.loads(gateway.get("/stats").body)["faults"]["cors_origin_refused"] == 1 and backend.requests == []
