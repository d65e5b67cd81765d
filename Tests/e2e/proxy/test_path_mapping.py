"""Which path the backend sees."""

from __future__ import annotations

import pytest

from support.backend import Backend
from support.client import Client
from support.configuration import forward, upstream
from support.gateway import Gateway

CASES = [
    ("/keep", "/keep"),
    ("/keep/x?y=1", "/keep/x?y=1"),
    ("/strip", "/"),
    ("/strip?y", "/?y"),
    ("/strip/", "/"),
    ("/strip/x/y?z", "/x/y?z"),
    ("/tail/a/b", "/a/b"),
    ("/tail", "/"),
    ("/tail/?q", "/?q"),
    ("/users/7/p/q", "/p/q"),
    ("/exact?x", "/exact?x"),
]


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    port = shared_backend.port
    return launch_shared(
        routes=[forward("/tail/*rest", proxy={"strip_prefix": True}), forward("/users/:id/*rest", proxy={"strip_prefix": True}), forward("/exact")],
        upstreams=[upstream(port, "/keep"), upstream(port, "/strip", "strip", strip_prefix=True)])


@pytest.mark.parametrize(("sent", "forwarded"), CASES, ids=[row[0] for row in CASES])
def test_path(gateway: Gateway, shared_backend: Backend, sent: str, forwarded: str) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", sent).status == 200
    assert shared_backend.last.target == forwarded


@pytest.mark.parametrize("path", ["/keepx", "/exact/x", "/stripped"])
def test_a_prefix_ends_at_a_segment(gateway: Gateway, path: str) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", path).status == 404
