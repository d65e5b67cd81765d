"""What somebody may try at routes, and is refused: to come by a route's lists, to lead clients elsewhere, to put bytes of one's own into a head, and to have a
cache answer one with what is another's. Files have a table of their own (static/test_files.py), so have origins (test_cors.py) and rewritten paths (test_rewrite.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.backend import Backend, raw, reply
from support.client import Client
from support.configuration import forward, redirect, respond, upstream
from support.gateway import Gateway
from support.http2 import Http2

GOOD = "https://app.example.com"
CORS = {"allow_origins": [GOOD]}
LONG = "text that is long enough to be worth it " * 50


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    www: Path = tmp_path_factory.mktemp("www")
    (www / "page.html").write_text(LONG)
    return launch_shared(
        access_log=True, compression={"enabled": True, "min_length_bytes": 100}, upstreams=[upstream(shared_backend.port, prefix=None)],
        routes=[
            {**forward("/admin/*rest"), "allow": ["192.0.2.1"]}, forward("/open/*rest"), forward("/:first/*rest"),
            redirect("/go/rest/*rest", "/{rest}"), redirect("/go/parameter", "/{parameter:to}"), redirect("/go/header", "/{header:X-To}"),
            redirect("/go/cookie", "/{cookie:to}"), redirect("/go/query", "/{query_string}"), redirect("/go/original/*rest", "/{original_path}"),
            redirect("/go/tenant/:tenant", "https://{tenant}.example.com/home"), redirect("/go/all/*tenant", "https://{tenant}.example.com/home"),
            redirect("/go/named", "https://{parameter:tenant}.example.com/home"), redirect("/go/cdn/:file", "//cdn.example.com/{file}"),
            redirect("/go/host/*rest", "https://{hostname}/{rest}"), redirect("/go/deep", "https://example.com/a/{parameter:to}?from={header:X-From}"),
            {**forward("/rules/*rest"), "request_headers": {"set": {
                "X-Host": "{host}", "X-Query": "{query_string}", "X-Parameter": "{parameter:p}", "X-Cookie": "{cookie:c}", "X-Header": "{header:X-In}", "X-Method": "{method}",
                "X-Original": "{original_path}", "X-Rest": "{rest}", "X-Id": "{request_id}", "X-Client": "{client_ip}"}},
                "response_headers": {"set": {"X-Back": "{response_header:X-Up}", "X-In": "{header:X-In}", "X-Asked": "{query_string}"}}},
            {**forward("/cors/*rest"), "cors": CORS, "response_headers": {"remove": ["Vary"], "set": {"X-Set": "1"}}},
            {"path": "/files/*rest", "static": {"root": str(www)}, "cors": CORS}, {**respond("/fixed", LONG), "cors": CORS},
        ])


def seen(backend: Backend) -> list[str]:
    return [request.target for request in backend.requests]


# To come by a route's lists

BYPASSES = [
    "/admin/x", "//admin/x", "///admin//x", "/./admin/x", "/open/../admin/x", "/open/./../admin/x", "/open/x/../../admin/x", "/%61dmin/x", "/%61%64%6d%69%6e/x", "/admin/%78",
    "/open/%2e%2e/admin/x", "/open/.%2e/admin/x", "/open/%2E./admin/x", "/%2e/admin/x", "/admin", "/admin/", "/admin?x", "/admin//", "/admin/.", "/admin/x/..", "/open/..//admin/x",
    "/admin%2fx", "/%2fadmin/x", "/open%2f..%2fadmin/x", "/open/..%2fadmin/x", "/open/..%5cadmin/x", "/open\\..\\admin/x", "/admin\\x", "/admin%5cx", "/admin%00/x", "/admin%0a/x",
    "/admin%zz/x", "/admin%/x", "/admin/x%00", "/open/%252e%252e%2fadmin/x", "http://other/admin/x", "http://other//admin/x", "http://other/open/../admin/x", "/../admin/x",
]


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize("target", BYPASSES)
def test_no_spelling_leads_past_a_list(gateway: Gateway, shared_backend: Backend, target: str, protocol: int) -> None:
    """What a backend could read as the path that is not for everybody does not get there."""
    shared_backend.answer = reply(200, body=b"reached")
    shared_backend.requests.clear()
    if protocol == 1:
        with Client(gateway.port) as client:
            response = client.request("GET", target)
    else:
        if target.startswith("http:"):
            pytest.skip("HTTP/2 has no such form")
        with Http2(gateway.port) as client:
            response = client.answer(client.request("GET", target))
        # A stream that is malformed may also be ended.
        if response.reset is not None:
            assert not seen(shared_backend)
            return
    assert response.status in (400, 403, 404), response.status
    assert not seen(shared_backend)


@pytest.mark.parametrize("lines", [
    ["X-Original-URL: /admin/x"], ["X-Rewrite-URL: /admin/x"], ["X-Forwarded-Prefix: /admin"], ["X-HTTP-Method-Override: DELETE"], ["X-Forwarded-For: 192.0.2.1"],
    ["Forwarded: for=192.0.2.1"], ["X-Real-IP: 192.0.2.1"], ["X-Forwarded-Host: other"],
])
def test_no_field_is_another_path_method_or_address(gateway: Gateway, shared_backend: Backend, lines: list[str]) -> None:
    shared_backend.answer = reply(200)
    shared_backend.requests.clear()
    assert gateway.get("/admin/x", *lines).status == 403
    assert gateway.get("/open/x", *lines).status == 200
    assert seen(shared_backend) == ["/open/x"] and shared_backend.last.method == "GET"


# To lead clients elsewhere

ELSEWHERE = [
    ("/go/rest//evil.test", []), ("/go/parameter?to=/evil.test", []), ("/go/parameter?to=//evil.test", []), ("/go/header", ["X-To: /evil.test"]), ("/go/header", ["X-To: /\\evil.test"]),
    ("/go/header", ["X-To: \\evil.test"]), ("/go/cookie", ["Cookie: to=/evil.test"]), ("/go/query?/evil.test", []), ("/go/original/x", []), ("/go/all/evil.test/x", []),
    ("/go/tenant/evil.test:80", []), ("/go/tenant/a@evil.test", []), ("/go/tenant/evil.test%2fx", []), ("/go/tenant/evil.test%23", []), ("/go/tenant/evil.test%3f", []),
    ("/go/tenant/[::1]", []), ("/go/named?tenant=evil.test/", []), ("/go/named?tenant=evil.test?", []), ("/go/named?tenant=evil.test%2f", []), ("/go/named?tenant=a:b@evil.test", []),
    ("/go/named?tenant=evil.test\\", []), ("/go/named?tenant=//evil.test", []), ("/go/header", ["X-To: a b"]), ("/go/header", ["X-To: a\tb"]), ("/go/header", ["X-To: <x>"]),
    ("/go/header", ['X-To: "']), ("/go/header", ["X-To: é"]), ("/go/deep", ["X-From: a b"]),
]


@pytest.mark.parametrize(("path", "lines"), ELSEWHERE)
def test_no_redirect_leads_to_a_host_that_a_client_names(gateway: Gateway, path: str, lines: list[str]) -> None:
    response = gateway.get(path, *lines)
    location = response.header("location")
    # A path is brought into its normal form before anything is taken from it.
    assert response.status == 400 and location is None or location == "/evil.test" and path.startswith("/go/rest"), (response.status, location)


@pytest.mark.parametrize(("path", "lines", "location"), [
    ("/go/rest/a/b", [], "/a/b"), ("/go/parameter?to=a/b", [], "/a/b"), ("/go/parameter", [], "/"), ("/go/header", ["X-To: a//b"], "/a//b"),
    ("/go/tenant/acme", [], "https://acme.example.com/home"), ("/go/named?tenant=acme", [], "https://acme.example.com/home"), ("/go/cdn/x.js", [], "//cdn.example.com/x.js"),
    ("/go/host/x", ["Host: example.org:8080"], "https://example.org/x"), ("/go/deep?to=//x@y:z", ["X-From: /a:b@c"], "https://example.com/a///x@y:z?from=/a:b@c"),
])
def test_other_redirects_are_as_they_are_written(gateway: Gateway, path: str, lines: list[str], location: str) -> None:
    response = gateway.get(path, *lines)
    assert response.status == 308 and response.header("location") == location


@pytest.mark.parametrize("host", ["evil.test/x", "a@evil.test", "evil.test?x", "evil.test#x", "evil test", "evil.test:port", "[::1", "", "a\x7fb"])
def test_what_is_no_host_is_not_sent_on(gateway: Gateway, host: str) -> None:
    response = gateway.get("/go/host/x", f"Host: {host}")
    assert response.status == 400 and response.header("location") is None


# To put bytes of one's own into a head

SPLITS = [b"a\r\nX-Evil: 1", b"a\nX-Evil: 1", b"a\rX-Evil: 1", b"a\r\n X-Evil: 1", b"a\0b", b"a\x0bb", b"a\x0cb", b"a\x1bb", b"a\x7fb"]


@pytest.mark.parametrize("value", SPLITS)
@pytest.mark.parametrize("field", [b"X-In", b"Cookie", b"Host", b"X-Request-Id", b"X-Forwarded-For"])
def test_no_line_comes_of_a_value(gateway: Gateway, shared_backend: Backend, field: bytes, value: bytes) -> None:
    shared_backend.answer = reply(200)
    shared_backend.requests.clear()
    with Client(gateway.port) as client:
        host = b"" if field == b"Host" else b"Host: test\r\n"
        client.send(b"GET /rules/x HTTP/1.1\r\n" + host + field + b": " + (b"c=" if field == b"Cookie" else b"") + value + b"\r\n\r\n")
        response = client.read()
    # With CR LF behind a whole value the rest is a line by its own right: a field of the client's, and nothing more.
    if value == SPLITS[0] and field != b"Host":
        assert response.status == 200 and shared_backend.last.all("x-evil") == ["1"] and not [line for line in shared_backend.last.names if line.startswith("x-") and line.endswith("evil") and line != "x-evil"]
        return
    if value == SPLITS[0]:
        assert response.status == 200 and shared_backend.last.header("x-host") == "a"
        return
    if value == SPLITS[1]:
        # A bare LF is an end of line to some readers, and refused.
        assert response.status == 400 and not shared_backend.requests
        return
    assert response.status == 400 and not shared_backend.requests


@pytest.mark.parametrize("value", SPLITS)
@pytest.mark.parametrize("field", ["x-in", "cookie", "x-request-id"])
def test_no_line_comes_of_a_value_over_http2(gateway: Gateway, shared_backend: Backend, field: str, value: bytes) -> None:
    shared_backend.answer = reply(200)
    shared_backend.requests.clear()
    with Http2(gateway.port) as client:
        answer = client.answer(client.request("GET", "/rules/x", (field, value.decode("latin-1"))))
    assert (answer.reset is not None or answer.status == 400) and not shared_backend.requests


@pytest.mark.parametrize("query", ["p=a%0d%0aX-Evil:%201", "p=%0a", "p=%00", "p=a%0d%0a%0d%0abody", "p=%E5%98%8A%E5%98%8DX-Evil:1"])
def test_escapes_stay_escapes(gateway: Gateway, shared_backend: Backend, query: str) -> None:
    shared_backend.answer = reply(200)
    response = gateway.get(f"/rules/x?{query}")
    assert shared_backend.last.header("x-query") == query and shared_backend.last.header("x-parameter") == query[2:]
    assert response.header("x-asked") == query and response.header("x-evil") is None and shared_backend.last.header("x-evil") is None


@pytest.mark.parametrize("identity", ["a b", "a\tb", "é", "x" * 129, "a\"b", "a<b", "a;b", "a,b"])
def test_an_id_that_is_none_is_replaced(gateway: Gateway, shared_backend: Backend, identity: str) -> None:
    shared_backend.answer = reply(200)
    gateway.get("/rules/x", f"X-Request-Id: {identity}")
    found = shared_backend.last.header("x-id")
    assert found == shared_backend.last.header("x-request-id") and len(found) == 32 and found != identity


@pytest.mark.parametrize("line", [b"X-Up: a\nX-Evil: 1", b"X-Up: a\rX-Evil: 1", b"X-Up: a\0b", b"X-Up: a\r\n X-Evil: 1", b"X-Up : a", b"X Up: a", b"X-Up: a\x7f"])
def test_no_backend_does_either(gateway: Gateway, shared_backend: Backend, line: bytes) -> None:
    shared_backend.answer = raw(b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 2\r\n\r\nok")
    response = gateway.get("/rules/x")
    assert response.status == 502 and response.header("x-evil") is None and response.header("x-back") is None


def test_what_a_backend_says_beyond_ascii_is_in_no_rule(gateway: Gateway, shared_backend: Backend) -> None:
    shared_backend.answer = raw(b"HTTP/1.1 200 OK\r\nX-Up: a\xe9\x85\r\nContent-Length: 2\r\n\r\nok")
    response = gateway.get("/rules/x")
    assert response.status == 200 and response.header("x-back") is None


# To have a cache answer one with what is another's

def vary(response) -> set[str]:
    return {name.strip().lower() for value in response.all("vary") for name in value.split(",")}


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize("origin", [None, GOOD, "https://evil.test"])
@pytest.mark.parametrize(("path", "lines", "status", "expected"), [
    ("/files/page.html", [], 200, {"origin", "accept-encoding"}), ("/files/page.html", ["Range: bytes=0-3"], 206, {"origin", "accept-encoding"}), ("/files/none", [], 404, {"origin"}),
    ("/fixed", [], 200, {"origin", "accept-encoding"}), ("/fixed", ["Accept-Encoding: gzip"], 200, {"origin", "accept-encoding"}), ("/cors/x", [], 200, {"origin"}),
])
def test_an_answer_says_what_it_depends_on(
    gateway: Gateway, shared_backend: Backend, path: str, lines: list[str], status: int, expected: set[str], origin: str | None, protocol: int
) -> None:
    """Also where a rule of the route takes `Vary` out of what the backend has said."""
    shared_backend.answer = reply(200, "Vary: X-Own", body=b"ok")
    lines = [*lines, *([f"Origin: {origin}"] if origin else [])]
    if protocol == 1:
        with Client(gateway.port) as client:
            response = client.request("GET", path, *lines)
    else:
        with Http2(gateway.port) as client:
            response = client.answer(client.request("GET", path, *[(line.split(": ", 1)[0].lower(), line.split(": ", 1)[1]) for line in lines]))
    assert response.status == status and expected <= vary(response), (response.status, vary(response))
    assert response.header("access-control-allow-origin") == (GOOD if origin == GOOD else None)


def test_a_file_that_has_not_changed_says_so_too(gateway: Gateway) -> None:
    tag = gateway.get("/files/page.html").header("etag")
    response = gateway.get("/files/page.html", f"If-None-Match: {tag}", f"Origin: {GOOD}")
    assert response.status == 304 and {"origin", "accept-encoding"} <= vary(response)


def test_a_coded_answer_has_a_tag_of_its_own(gateway: Gateway) -> None:
    """No cache, and no If-Match, takes the bytes of one coding for those of another."""
    plain, coded = gateway.get("/files/page.html"), gateway.get("/files/page.html", "Accept-Encoding: gzip")
    assert coded.header("content-encoding") == "gzip" and plain.header("content-encoding") is None
    assert plain.header("etag") != coded.header("etag") and coded.header("etag").startswith("W/")
    assert gateway.get("/files/page.html", "Accept-Encoding: gzip", "Range: bytes=0-3").header("content-encoding") is None


def test_forwarded_hosts_of_strangers_change_no_answer(gateway: Gateway) -> None:
    """What keys no cache decides about no redirect."""
    for line in ("X-Forwarded-Host: evil.test", "X-Host: evil.test", "Forwarded: host=evil.test", "X-Forwarded-Proto: http", "X-Forwarded-Server: evil.test"):
        assert gateway.get("/go/host/x", line).header("location") == "https://test/x"
