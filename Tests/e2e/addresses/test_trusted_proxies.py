"""Whom a request comes from: only what trusted proxies have said is believed, and everything that needs an address uses the same one."""

from __future__ import annotations

import pytest

from support.backend import Backend
from support.client import Client
from support.configuration import redirect, respond, upstream
from support.gateway import Gateway
from support.http2 import Http2
from support.wait import until

# Clients at 127.0.0.1 and 127.0.0.2 are trusted proxies, others are not.
TRUSTED = ["127.0.0.1", "127.0.0.2", "10.0.0.0/8", "2001:db8:ff::/48"]


@pytest.fixture(scope="module")
def gateway(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(client_address={"trusted_proxies": TRUSTED}, access_log={"format": "$remote_addr"},
                         upstreams=[upstream(shared_backend.port), upstream(shared_backend.port, "/told", "told", header_rewrite={"set_forwarded": True}),
                                    upstream(shared_backend.port, "/off", "off", header_rewrite={
                                        "set_x_forwarded_for": False, "set_x_forwarded_proto": False, "set_x_forwarded_host": False})],
                         routes=[redirect("/go", "{scheme}://{host}/there"), respond("/")])


@pytest.fixture(scope="module")
def rfc7239(launch_shared, shared_backend: Backend) -> Gateway:
    return launch_shared(client_address={"trusted_proxies": TRUSTED, "source": "forwarded"}, access_log={"format": "$remote_addr"},
                         upstreams=[upstream(shared_backend.port)], routes=[redirect("/go", "{scheme}://{host}/there"), respond("/")])


def lines(gateway: Gateway, count: int) -> list[str]:
    """The lines of the access log, once there are `count`."""
    def read() -> list[str]:
        text = gateway.access_file.read_text() if gateway.access_file.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()
    until(lambda: len(read()) >= count, what=f"{count} lines in the access log")
    return read()


def address(gateway: Gateway, *fields: str, source: str = "127.0.0.1") -> str:
    """The address that the access log has for a request with these fields."""
    before = len(lines(gateway, 0))
    with Client(gateway.port, source=source) as client:
        assert client.request("GET", "/", *fields).status == 200
    return lines(gateway, before + 1)[before]


CHAINS = [
    ([], "127.0.0.1"),
    (["203.0.113.7"], "203.0.113.7"),
    (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
    (["203.0.113.7, 10.1.2.3"], "203.0.113.7"),
    (["198.51.100.1, 203.0.113.7, 10.1.2.3,10.9.9.9"], "203.0.113.7"),
    (["10.1.2.3, 10.9.9.9"], "10.1.2.3"),
    (["198.51.100.1", "203.0.113.7", "10.1.2.3"], "203.0.113.7"),
    (["203.0.113.7:4711"], "203.0.113.7"),
    (["2001:db8::7"], "2001:db8::7"),
    (["[2001:db8::7]:4711, [2001:db8:ff::1]:80"], "2001:db8::7"),
    (["::ffff:203.0.113.7"], "203.0.113.7"),
    (["203.0.113.7, unknown, 10.1.2.3"], "10.1.2.3"),
    (["203.0.113.7, <script>, 10.1.2.3"], "10.1.2.3"),
    (["203.0.113.7, 10.1.2.300"], "127.0.0.1"),
    (["garbage"], "127.0.0.1"),
    ([", ,"], "127.0.0.1"),
    (["203.0.113.7, "], "203.0.113.7"),
]


@pytest.mark.parametrize("values, expected", CHAINS)
def test_the_chain_is_walked_from_the_right(gateway: Gateway, values: list[str], expected: str) -> None:
    assert address(gateway, *(f"X-Forwarded-For: {value}" for value in values)) == expected


@pytest.mark.parametrize("values, expected", CHAINS)
def test_what_an_untrusted_peer_says_is_nothing(gateway: Gateway, values: list[str], expected: str) -> None:
    assert address(gateway, *(f"X-Forwarded-For: {value}" for value in values), source="127.0.0.9") == "127.0.0.9"


def test_other_fields_do_not_count(gateway: Gateway) -> None:
    assert address(gateway, "Forwarded: for=203.0.113.7", "X-Real-IP: 203.0.113.8") == "127.0.0.1"


@pytest.mark.parametrize("values, expected", [
    ([], "127.0.0.1"),
    (["for=203.0.113.7"], "203.0.113.7"),
    (["for=198.51.100.1, For=\"203.0.113.7:80\";proto=https, for=10.1.1.1"], "203.0.113.7"),
    (["for=\"[2001:db8::7]:4711\""], "2001:db8::7"),
    (["for=203.0.113.7, for=_hidden, for=10.1.1.1"], "10.1.1.1"),
    (["for=203.0.113.7, for=unknown"], "127.0.0.1"),
    (["for=\"203.0.113.7, for=10.1.1.1"], "10.1.1.1"),
    (["for=203.0.113.7", "for=10.1.1.1"], "203.0.113.7"),
    (["proto=https"], "127.0.0.1"),
])
def test_forwarded_is_walked_in_the_same_way(rfc7239: Gateway, values: list[str], expected: str) -> None:
    fields = [f"Forwarded: {value}" for value in values]
    assert address(rfc7239, *fields, "X-Forwarded-For: 192.0.2.9") == expected
    assert address(rfc7239, *fields, source="127.0.0.9") == "127.0.0.9"


def test_each_request_of_a_connection_has_its_own_address(gateway: Gateway) -> None:
    before = len(lines(gateway, 0))
    with Client(gateway.port) as client:
        client.request("GET", "/", "X-Forwarded-For: 203.0.113.7")
        client.request("GET", "/")
        client.request("GET", "/", "X-Forwarded-For: 203.0.113.8")
        client.send("GARBAGE\r\n\r\n")
        assert client.read().status == 400
    assert lines(gateway, before + 4)[before:] == ["203.0.113.7", "127.0.0.1", "203.0.113.8", "127.0.0.1"]


def test_streams_of_a_connection_too(gateway: Gateway) -> None:
    before = len(lines(gateway, 0))
    with Http2(gateway.port) as client:
        for fields in ([("x-forwarded-for", "203.0.113.7")], [], [("x-forwarded-for", "203.0.113.8, 10.0.0.1")]):
            assert client.get("/", *fields).status == 200
    assert lines(gateway, before + 3)[before:] == ["203.0.113.7", "127.0.0.1", "203.0.113.8"]


# What is passed on


def seen(gateway: Gateway, backend: Backend, path: str, *lines: str, source: str = "127.0.0.1"):
    with Client(gateway.port, source=source) as client:
        assert client.request("GET", path, "Host: shop.example", *lines).status == 200
    return backend.last


CLAIMS = ["X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: www.example", "Forwarded: for=203.0.113.7;proto=https",
          "X-Forwarded-Port: 443", "X-Real-IP: 203.0.113.7"]


def test_what_a_trusted_proxy_says_is_continued(gateway: Gateway, shared_backend: Backend) -> None:
    request = seen(gateway, shared_backend, "/api", *CLAIMS)
    assert request.all("x-forwarded-for") == ["203.0.113.7, 127.0.0.1"]
    assert request.all("x-forwarded-proto") == ["https"] and request.all("x-forwarded-host") == ["www.example"]
    assert request.all("forwarded") == ["for=203.0.113.7;proto=https"] and request.all("x-real-ip") == ["203.0.113.7"]
    request = seen(gateway, shared_backend, "/api")
    assert request.all("x-forwarded-for") == ["127.0.0.1"] and request.all("x-forwarded-proto") == ["http"]
    assert request.all("x-forwarded-host") == ["shop.example"]


def test_what_others_say_is_dropped(gateway: Gateway, shared_backend: Backend) -> None:
    request = seen(gateway, shared_backend, "/api", *CLAIMS, source="127.0.0.9")
    assert request.all("x-forwarded-for") == ["127.0.0.9"] and request.all("x-forwarded-proto") == ["http"]
    assert request.all("x-forwarded-host") == ["shop.example"]
    for name in ("forwarded", "x-forwarded-port", "x-real-ip"):
        assert request.all(name) == [], name


def test_it_is_dropped_where_nothing_is_set(gateway: Gateway, shared_backend: Backend) -> None:
    trusted = seen(gateway, shared_backend, "/off", *CLAIMS)
    assert [trusted.all(name) for name in ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")] == [["203.0.113.7"], ["https"], ["www.example"]]
    other = seen(gateway, shared_backend, "/off", *CLAIMS, source="127.0.0.9")
    assert [other.all(name) for name in ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded")] == [[], [], [], []]


def test_forwarded_is_written_where_asked(gateway: Gateway, shared_backend: Backend) -> None:
    own = 'for=127.0.0.1;host="shop.example";proto=http'
    assert seen(gateway, shared_backend, "/told").all("forwarded") == [own]
    assert seen(gateway, shared_backend, "/told", "Forwarded: for=203.0.113.7").all("forwarded") == [f"for=203.0.113.7, {own}"]
    other = seen(gateway, shared_backend, "/told", "Forwarded: for=203.0.113.7", source="127.0.0.9")
    assert other.all("forwarded") == ['for=127.0.0.9;host="shop.example";proto=http']


def test_connection_cannot_strip_what_is_told(gateway: Gateway, shared_backend: Backend) -> None:
    request = seen(gateway, shared_backend, "/told", "Connection: forwarded, x-forwarded-for, x-real-ip", *CLAIMS)
    assert request.all("x-real-ip") == ["203.0.113.7"] and len(request.all("forwarded")) == 1 and len(request.all("x-forwarded-for")) == 1


def test_without_trusted_proxies_everybody_is_continued(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port, header_rewrite={"set_forwarded": True})])
    request = seen(gateway, backend, "/api", "X-Forwarded-For: 203.0.113.7", "Forwarded: for=203.0.113.7")
    assert request.all("x-forwarded-for") == ["203.0.113.7, 127.0.0.1"]
    assert request.all("forwarded") == ['for=203.0.113.7, for=127.0.0.1;host="shop.example";proto=http']


def test_the_scheme_that_a_trusted_proxy_tells_is_that_of_redirects(gateway: Gateway, rfc7239: Gateway) -> None:
    def location(which: Gateway, *lines: str, source: str = "127.0.0.1") -> str | None:
        with Client(which.port, source=source) as client:
            return client.request("GET", "/go", "Host: a.example", *lines).header("location")
    assert location(gateway, "X-Forwarded-Proto: https") == "https://a.example/there"
    assert location(gateway, "X-Forwarded-Proto: https", source="127.0.0.9") == "http://a.example/there"
    assert location(gateway, "X-Forwarded-Proto: javascript") == "http://a.example/there"
    assert location(gateway, "X-Forwarded-Proto: https", "X-Forwarded-Proto: http") == "http://a.example/there"
    assert location(rfc7239, "Forwarded: for=203.0.113.7;proto=https, for=10.0.0.1;proto=http") == "https://a.example/there"
    assert location(rfc7239, "X-Forwarded-Proto: https") == "http://a.example/there"


def test_rate_limits_are_for_that_address(launch) -> None:
    gateway: Gateway = launch(client_address={"trusted_proxies": ["127.0.0.1"]}, routes=[respond("/")], rate_limit={
        "enabled": True, "zones": [{"name": "z", "rate": 0.01, "capacity": 1, "key_type": "client_ip", "ipv6_prefix": 64}]})
    with Client(gateway.port) as client:
        def status(value: str) -> int:
            return client.request("GET", "/", f"X-Forwarded-For: {value}").status
        assert [status("203.0.113.7"), status("203.0.113.8"), status("203.0.113.7"), status("1.1.1.1, 203.0.113.8")] == [200, 200, 429, 429]
        assert [status("2001:db8::1"), status("2001:db8::2"), status("2001:db8:0:1::1")] == [200, 429, 200]
    with Client(gateway.port, source="127.0.0.9") as client:
        assert [client.request("GET", "/", f"X-Forwarded-For: 9.9.9.{n}").status for n in range(2)] == [200, 429]
