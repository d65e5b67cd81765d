"""Routing and backends see one normalised path; what cannot be normalised safely is refused."""

from __future__ import annotations

import pytest

from support.backend import Backend
from support.client import Client
from support.configuration import forward, respond, upstream
from support.gateway import Gateway

SAME = [
    ("/secret/x", "/secret/x"),
    ("/a/../secret/x", "/secret/x"),
    ("/./secret/x", "/secret/x"),
    ("/secret/./x", "/secret/x"),
    ("/secret/y/../x", "/secret/x"),
    ("//secret/x", "/secret/x"),
    ("/secret//x", "/secret/x"),
    ("/secret///x", "/secret/x"),
    ("/%73ecret/x", "/secret/x"),
    ("/%73%65%63%72%65%74/x", "/secret/x"),
    ("/a/%2e%2e/secret/x", "/secret/x"),
    ("/a/%2E%2E/secret/x", "/secret/x"),
    ("/a/.%2e/secret/x", "/secret/x"),
    ("/%2e/secret/x", "/secret/x"),
    ("/secret/x/..", "/secret/"),
    ("/secret/x/.", "/secret/x/"),
    ("/secret/%7euser", "/secret/~user"),
    ("/secret/a%20b", "/secret/a%20b"),
    ("/secret/%c3%a9", "/secret/%C3%A9"),
    ("/secret/...", "/secret/..."),
    ("/secret/.hidden", "/secret/.hidden"),
    ("/secret/x?a=/../b//c%2e", "/secret/x?a=/../b//c%2e"),
]

REFUSED = ["/../secret", "/..", "/a/../../secret", "/%2e%2e/secret", "/secret/%", "/secret/%2", "/secret/%zz", "/secret/%0g", "/secret/%00",
           "/secret/a%00b", "/secret/a%2fb", "/secret/a%2F..%2Fb", "/secret/a%5cb", "/secret/a\\b", "/secret/..;/x"]


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(
        routes=[respond("/*", "open"), forward("/secret/*rest"), forward("/original/*rest", proxy={"forward_original_path": True})],
        upstreams=[upstream(shared_backend.port, prefix=None)])


@pytest.mark.parametrize(("sent", "forwarded"), SAME, ids=[row[0] for row in SAME])
def test_path_is_normalised(gateway: Gateway, shared_backend: Backend, sent: str, forwarded: str) -> None:
    with Client(gateway.port) as client:
        response = client.request("GET", sent)
    assert response.text == "hello from the backend", "the prefix was evaded"
    assert shared_backend.last.target == forwarded


@pytest.mark.parametrize("sent", REFUSED)
def test_path_is_refused(gateway: Gateway, sent: str) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", sent).status == 400


@pytest.mark.parametrize("sent", ["/original/a//b", "/original/%41", "/original/x/../y"])
def test_the_original_goes_where_a_route_asks_for_it(gateway: Gateway, shared_backend: Backend, sent: str) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", sent).status == 200
    assert shared_backend.last.target == sent
