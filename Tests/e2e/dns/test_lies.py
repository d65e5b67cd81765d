"""Servers that lie, fail or are slow: what they can do is bounded."""

from __future__ import annotations

import json
import time

import pytest

from support.names import AAAA, A, FORMERR, NXDOMAIN, REFUSED, SERVFAIL, a, aaaa, servers, srv
from support.wait import until


def names(gateway, name="app.test"):
    return json.loads(gateway.get("/stats").body)["dns"]["names"][name]


def test_times_keep_to_their_bounds(launch, scripted, hosts, app):
    backends = hosts("127.0.0.2", "127.0.0.3")
    server = scripted({("app.test", A): [a("127.0.0.2", 0x7FFFFFFF)], ("app.test", AAAA): []})
    gateway = launch(upstreams=[app(backends["127.0.0.2"].port)], dns=servers(server.port, max_ttl_sec=2))
    assert gateway.get("/").body == b"127.0.0.2"
    assert names(gateway)["ttl_left_ms"] <= 2000
    server.replies["app.test", A] = [a("127.0.0.3", 0)]
    until(lambda: gateway.get("/").body == b"127.0.0.3", 10, "the other address")
    before = server.count("app.test")
    time.sleep(3)
    # No time at all counts as a second.
    assert 1 <= server.count("app.test") - before <= 5


def test_answers_too_long_for_a_datagram_come_over_tcp(launch, scripted, hosts, app):
    backends = hosts("127.0.0.2")
    many = [a(f"127.0.{index // 200 + 1}.{index % 200 + 1}", 30) for index in range(3000)] + [a("127.0.0.2", 30)]
    server = scripted({("app.test", A): many, ("app.test", AAAA): []})
    gateway = launch(upstreams=[app(backends["127.0.0.2"].port)], dns=servers(server.port))
    until(lambda: len(names(gateway)["addresses"]) == 256, 10, "as many addresses as are kept")
    assert ("app.test", A, True) in server.asked
    assert "2745 more are not used" in gateway.log
    # Nearly all of them refuse connections; the one that does not is found.
    server.replies["app.test", A] = [a("127.0.0.2", 30)]


@pytest.mark.parametrize("lie", [SERVFAIL, REFUSED, FORMERR, None, b"", b"\x81\x80", b"\x81\x80\x00\x01\xff\xff\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"])
def test_what_is_no_answer_changes_nothing(launch, scripted, hosts, app, lie):
    backends = hosts("127.0.0.2")
    server = scripted({("app.test", A): [a("127.0.0.2")], ("app.test", AAAA): []})
    gateway = launch(upstreams=[app(backends["127.0.0.2"].port)], dns=servers(server.port, resolve_timeout_ms=400))
    assert gateway.get("/").status == 200
    server.replies["app.test", A] = lie
    server.replies["app.test", AAAA] = lie
    until(lambda: names(gateway)["error"] is not None, 15, "a lookup that fails")
    assert gateway.get("/").body == b"127.0.0.2"
    server.replies["app.test", A] = [a("127.0.0.2")]
    server.replies["app.test", AAAA] = []
    until(lambda: names(gateway)["error"] is None, 20, "a lookup that succeeds")


def test_that_there_is_nothing_is_believed_the_third_time(launch, scripted, hosts, app):
    backends = hosts("127.0.0.2")
    server = scripted({("app.test", A): [a("127.0.0.2")], ("app.test", AAAA): []})
    gateway = launch(access_log=True, upstreams=[app(backends["127.0.0.2"].port)], dns=servers(server.port, negative_ttl_sec=1))
    assert gateway.get("/").status == 200
    server.replies["app.test", A] = NXDOMAIN
    server.replies["app.test", AAAA] = NXDOMAIN
    until(lambda: gateway.get("/").status == 503, 20, "an upstream without addresses")
    assert names(gateway)["addresses"] == []
    until(lambda: {entry.get("error.type") for entry in gateway.access_entries(2)} == {None, "dns_error"}, what="the fault in the access log")


def test_stale_addresses_can_be_refused(launch, scripted, hosts, app):
    backends = hosts("127.0.0.2")
    server = scripted({("app.test", A): [a("127.0.0.2")], ("app.test", AAAA): []})
    gateway = launch(
        access_log=True, upstreams=[app(backends["127.0.0.2"].port)], dns=servers(server.port, stale_on_error=False, resolve_timeout_ms=300))
    assert gateway.get("/").status == 200
    server.replies["app.test", A] = None
    server.replies["app.test", AAAA] = None
    until(lambda: gateway.get("/").status == 503, 15, "an upstream without addresses")
    until(lambda: {entry.get("error.type") for entry in gateway.access_entries(2)} == {None, "dns_timeout"}, what="the fault in the access log")
    assert json.loads(gateway.get("/stats").body)["faults"]["dns_timeout"] >= 1


def test_addresses_of_nobody_are_not_used(launch, scripted, app):
    server = scripted({("app.test", A): [a("0.0.0.0"), a("224.0.0.1"), a("255.255.255.255")], ("app.test", AAAA): [aaaa("::"), aaaa("ff02::1"), aaaa("::ffff:127.0.0.1")]})
    gateway = launch(upstreams=[app(80)], dns=servers(server.port))
    assert gateway.get("/").status == 503
    assert names(gateway)["addresses"] == [] and "can be connected to" in names(gateway)["error"]


def test_services_have_ports_and_weights(launch, scripted, backend):
    from support.backend import Backend, reply

    other = Backend(reply(body=b"other"))
    spare = Backend(reply(body=b"spare"))
    try:
        server = scripted({
            ("_http._tcp.app.test", 33): [srv(1, 30, backend.port, "one.test"), srv(1, 10, other.port, "two.test"), srv(2, 0, spare.port, "one.test")],
            ("one.test", A): [a("127.0.0.1")], ("one.test", AAAA): [], ("two.test", A): [a("127.0.0.1")], ("two.test", AAAA): [],
        })
        gateway = launch(upstreams=[{"name": "app", "host": "_http._tcp.app.test", "srv": True, "proxy": {"route_prefix": "/"}}], dns=servers(server.port))
        bodies = [gateway.get("/").body for _ in range(120)]
        assert set(bodies) == {b"hello from the backend", b"other"}
        assert bodies.count(b"hello from the backend") > bodies.count(b"other") > 0
        # The service's domain is what it is called.
        assert backend.requests[0].header("host") == "app.test"
        server.replies["_http._tcp.app.test", 33] = [srv(1, 1, spare.port, "one.test")]
        until(lambda: gateway.get("/").body == b"spare", 10, "the other service")
    finally:
        other.stop()
        spare.stop()


def test_slow_answers_hold_up_nothing(launch, scripted, hosts, app):
    def slowly(name, kind, is_stream):
        time.sleep(0.3)
        return [a("127.0.0.2")] if kind == A else []

    backends = hosts("127.0.0.2")
    server = scripted({("app.test", A): slowly, ("app.test", AAAA): slowly})
    gateway = launch(upstreams=[app(backends["127.0.0.2"].port)], dns=servers(server.port), routes=[{"path": "/here", "respond": {"body": "ok"}}])
    end = time.monotonic() + 3
    slowest = 0.0
    while time.monotonic() < end:
        begun = time.monotonic()
        assert gateway.get("/here").status == 200 and gateway.get("/").status == 200
        slowest = max(slowest, time.monotonic() - begun)
    assert server.count("app.test") > 2
