"""Patterns: static before constrained before free parameters before the catch-all, with a way back."""

from __future__ import annotations

import pytest

from support.configuration import respond
from support.gateway import Gateway

PATTERNS = [
    "/", "/users", "/users/me", "/users/:id([0-9]+)", "/users/:name", "/users/:id/posts", "/users/:id/posts/:post",
    "/files/*path", "/files/static", "/deep/a/b/c", "/deep/:x/b/d", "/deep/*rest", "/slash/", "/v:odd", "/empty/*",
]

MATCHES = [
    ("/", "/"),
    ("/users", "/users"),
    ("/users?x=1", "/users"),
    ("/users/me", "/users/me"),
    ("/users/42", "/users/:id([0-9]+)"),
    ("/users/42x", "/users/:name"),
    ("/users/x42", "/users/:name"),
    ("/users/me/posts", "/users/:id/posts"),
    ("/users/42/posts", "/users/:id/posts"),
    ("/users/a/posts/7", "/users/:id/posts/:post"),
    ("/files/", "/files/*path"),
    ("/files/a", "/files/*path"),
    ("/files/a/b/c", "/files/*path"),
    ("/files/static", "/files/static"),
    ("/files/static/more", "/files/*path"),
    ("/deep/a/b/c", "/deep/a/b/c"),
    ("/deep/a/b/d", "/deep/:x/b/d"),
    ("/deep/z/b/d", "/deep/:x/b/d"),
    ("/deep/a/b/e", "/deep/*rest"),
    ("/deep/a/b", "/deep/*rest"),
    ("/slash/", "/slash/"),
    ("/empty/x", "/empty/*"),
    ("/slash", None),
    ("/users/", None),
    ("/Users", None),
    ("/users/a/b", None),
    ("/unknown", None),
]


@pytest.fixture(scope="module")
def gateway(launch_shared) -> Gateway:
    return launch_shared(routes=[respond(pattern, pattern) for pattern in PATTERNS])


@pytest.mark.parametrize(("path", "pattern"), MATCHES, ids=[row[0] for row in MATCHES])
def test_best_match_wins(gateway: Gateway, path: str, pattern: str | None) -> None:
    response = gateway.get(path)
    if pattern is None:
        assert response.status == 404
    else:
        assert (response.status, response.text) == (200, pattern)


def test_order_of_routes_does_not_matter(launch) -> None:
    gateway: Gateway = launch(routes=[respond(pattern, pattern) for pattern in reversed(PATTERNS)])
    for path, pattern in MATCHES:
        assert gateway.get(path).text == (pattern or gateway.get("/unknown").text), path


def test_a_constraint_takes_no_exponential_time(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/:x((a+)+b)", "matched"), respond("/:y", "other")])
    assert gateway.get("/" + "a" * 2000).text == "other"
    assert gateway.get("/" + "a" * 2000 + "b").text == "matched"
