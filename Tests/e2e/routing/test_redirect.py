"""Redirects, with parts of the request in their target."""

from __future__ import annotations

import pytest

from support.client import Client
from support.configuration import redirect
from support.gateway import Gateway

CASES = [
    ("/old", 308, "/new"),
    ("/moved", 301, "https://example.com/"),
    ("/https/a/b?x=1&y=2", 308, "https://test/https/a/b?x=1&y=2"),
    ("/https/a/b", 308, "https://test/https/a/b"),
    ("/users/42?q=1", 308, "/people/42?q=1"),
    ("/files/a/b.txt", 308, "/store/a/b.txt"),
]


@pytest.fixture(scope="module")
def gateway(launch_shared) -> Gateway:
    return launch_shared(routes=[
        redirect("/old", "/new"), redirect("/moved", "https://example.com/", status=301), redirect("/https/*", "https://{host}{uri}"),
        redirect("/users/:id", "/people/{id}{query}"), redirect("/files/*rest", "/store/{rest}"),
    ])


@pytest.mark.parametrize(("path", "status", "location"), CASES, ids=[row[0] for row in CASES])
def test_location(gateway: Gateway, path: str, status: int, location: str) -> None:
    response = gateway.get(path)
    assert (response.status, response.header("location")) == (status, location)


def test_host_of_the_request_is_without_surprises(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        response = client.request("GET", "/https/x", "Host: example.com:8080")
    assert response.header("location") in ("https://example.com/https/x", "https://example.com:8080/https/x")


def test_no_field_can_be_smuggled_into_the_response(gateway: Gateway) -> None:
    response = gateway.get("/files/a%0d%0aX-Evil:%201")
    assert response.header("x-evil") is None
    assert "\r" not in (response.header("location") or "")
