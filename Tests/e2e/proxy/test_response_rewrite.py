"""Addresses in responses: Location, and the Path of cookies, behind a stripped prefix."""

from __future__ import annotations

import pytest

from support.backend import Backend, chunk, head, in_turn, raw, reply
from support.client import Client
from support.configuration import forward, upstream
from support.gateway import Gateway
from support.http2 import Http2

BOTH = {"location": True, "cookie_path": True}


def fields(backend: Backend) -> tuple[str, ...]:
    return (f"Location: http://127.0.0.1:{backend.port}/login?next=/x", "Set-Cookie: a=1; Path=/; HttpOnly", "Set-Cookie: b=2; path=/deep", "X-Kept: /as/is")


def check(response, *, location: str | None, cookies: list[str]) -> None:
    assert response.header("location") == location
    assert response.all("set-cookie") == cookies
    assert response.header("x-kept") == "/as/is"


@pytest.fixture
def gateway(launch, backend: Backend) -> Gateway:
    return launch(upstreams=[upstream(backend.port, prefix="/app", strip_prefix=True, response_rewrite=BOTH)])


@pytest.mark.parametrize("kind", ["whole", "streamed", "collected", "no body"])
@pytest.mark.parametrize("protocol", [1, 2])
def test_the_prefix_comes_back(launch, backend: Backend, kind: str, protocol: int) -> None:
    lines = fields(backend)
    backend.answer = {
        "whole": reply(302, *lines, body=b"moved"),
        "streamed": raw(head(302, *lines, "Transfer-Encoding: chunked") + chunk(b"moved") + b"0\r\n\r\n", then="keep"),
        "collected": raw(head(302, *lines, "Transfer-Encoding: chunked") + chunk(b"moved") + b"0\r\n\r\n", then="keep"),
        "no body": reply(302, *lines),
    }[kind]
    gateway = launch(upstreams=[upstream(backend.port, prefix="/app", strip_prefix=True, response_rewrite=BOTH,
                                         buffering="always" if kind == "collected" else "never")])
    expected = {"location": "/app/login?next=/x", "cookies": ["a=1; Path=/app; HttpOnly", "b=2; path=/app/deep"]}
    if protocol == 1:
        with Client(gateway.port) as client:
            for _ in range(2):
                check(client.request("GET", "/app/page"), **expected)
    else:
        with Http2(gateway.port) as client:
            check(client.get("/app/page"), **expected)
    assert backend.last.target == "/page"


def test_nothing_changes_without_being_asked(launch, backend: Backend) -> None:
    backend.answer = reply(302, *fields(backend))
    gateway = launch(upstreams=[upstream(backend.port, prefix="/app", strip_prefix=True)])
    check(gateway.get("/app/page"), location=f"http://127.0.0.1:{backend.port}/login?next=/x", cookies=["a=1; Path=/; HttpOnly", "b=2; path=/deep"])


def test_other_responses_are_as_they_were(gateway: Gateway, backend: Backend) -> None:
    backend.answer = reply(200, "X-Kept: /as/is", body=b"x" * 100_000)
    response = gateway.get("/app/page")
    assert response.status == 200 and len(response.body) == 100_000 and response.header("x-kept") == "/as/is"


def test_a_prefix_with_parameters(launch, backend: Backend) -> None:
    backend.answer = reply(302, "Location: /login", "Set-Cookie: a=1; Path=/")
    gateway = launch(upstreams=[upstream(backend.port, prefix=None)],
                     routes=[forward("/tenants/:id/*rest", proxy={"strip_prefix": True, "response_rewrite": BOTH})])
    response = gateway.get("/tenants/42/page")
    assert response.header("location") == "/tenants/42/login" and response.all("set-cookie") == ["a=1; Path=/tenants/42"]
    assert backend.last.target == "/page"


def test_without_a_stripped_prefix_the_backends_name_goes(launch, backend: Backend) -> None:
    backend.answer = reply(302, f"Location: http://127.0.0.1:{backend.port}/api/login")
    gateway = launch(upstreams=[upstream(backend.port, response_rewrite={"location": True})])
    assert gateway.get("/api").header("location") == "/api/login"


def test_a_response_that_was_held_for_a_retry_is_rewritten_too(launch, backend: Backend) -> None:
    backend.answer = in_turn(reply(503, "Location: /busy"), reply(503, "Location: /busy"))
    gateway = launch(upstreams=[upstream(backend.port, prefix="/app", strip_prefix=True, response_rewrite=BOTH, retry={"max_retries": 1, "retry_on_5xx": True})])
    response = gateway.get("/app/x")
    assert response.status == 503 and response.header("location") == "/app/busy"
