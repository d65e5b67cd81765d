"""Routes by host: exact names before wildcards before any host."""

from __future__ import annotations

import pytest

from support.client import Client
from support.configuration import respond
from support.gateway import Gateway

MATCHES = [
    ("example.com", "exact"),
    ("EXAMPLE.com", "exact"),
    ("example.com:8080", "exact"),
    ("www.example.com", "www"),
    ("api.example.com", "wildcard"),
    ("a.b.example.com", ("wildcard", "any")),
    ("example.org", "any"),
    ("notexample.com", "any"),
    ("example.com.evil.org", "any"),
    ("127.0.0.1", "any"),
]


@pytest.fixture(scope="module")
def gateway(launch_shared) -> Gateway:
    return launch_shared(routes=[
        respond("/", "any"), respond("/", "wildcard", hosts=["*.example.com"]), respond("/", "exact", hosts=["example.com"]),
        respond("/", "www", hosts=["www.example.com", "www.example.net"]), respond("/only", "only", hosts=["example.com"]),
    ])


@pytest.mark.parametrize(("host", "expected"), MATCHES, ids=[row[0] for row in MATCHES])
def test_most_specific_host_wins(gateway: Gateway, host: str, expected: str | tuple[str, ...]) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", "/", f"Host: {host}").text in (expected if isinstance(expected, tuple) else (expected,))


def test_one_route_may_name_several_hosts(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", "/", "Host: www.example.net").text == "www"


def test_other_hosts_do_not_see_it(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", "/only", "Host: example.com").text == "only"
        assert client.request("GET", "/only", "Host: example.org").status == 404


def test_request_without_host_takes_the_route_for_any(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        client.send("GET / HTTP/1.0\r\n\r\n")
        assert client.read().text == "any"
