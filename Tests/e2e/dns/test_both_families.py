"""Names with IPv4 and IPv6 addresses: which are used, and what happens when one family leads nowhere."""

from __future__ import annotations

import json
import socket
import time

import pytest

from support.names import AAAA, A, a, aaaa, servers
from support.wait import until


def connections(gateway):
    return json.loads(gateway.get("/stats").body)["upstream_connections"]


class Swallowing:
    """An address that answers no SYN: its queue of connections is full."""

    def __init__(self, host: str, port: int) -> None:
        self.listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen(0)
        self.fillers = []
        for _ in range(4):
            filler = socket.socket(self.listener.family)
            filler.setblocking(False)
            filler.connect_ex((host, port))
            self.fillers.append(filler)
        time.sleep(0.1)

    def stop(self) -> None:
        for sock in [*self.fillers, self.listener]:
            sock.close()


@pytest.fixture
def swallowing():
    made = []

    def make(host, port):
        made.append(Swallowing(host, port))
        return made[-1]

    yield make
    for one in made:
        one.stop()


BOTH = {("app.test", A): [a("127.0.0.2", 60)], ("app.test", AAAA): [aaaa("::1", 60)]}


@pytest.mark.parametrize("family, expected", [("v4_preferred", "127.0.0.2"), ("v6_preferred", "::1"), ("v4_only", "127.0.0.2"), ("v6_only", "::1")])
def test_the_family_that_is_preferred(launch, scripted, hosts, app, family, expected):
    backends = hosts("127.0.0.2", "::1")
    server = scripted(BOTH)
    gateway = launch(upstreams=[app(backends["::1"].port)], dns=servers(server.port, lookup_family=family),
                     # What is listened on must be allowed as well; this takes IPv4 clients.
                     bind_host="::" if family == "v6_only" else "127.0.0.1")
    assert {gateway.get("/").body.decode() for _ in range(10)} == {expected}
    excluded = {"v4_only": AAAA, "v6_only": A}.get(family)
    assert excluded is None or server.count("app.test", excluded) == 0


@pytest.mark.parametrize("family, other", [("v4_preferred", "::1"), ("v6_preferred", "127.0.0.2")])
def test_the_other_family_where_there_is_but_that(launch, scripted, hosts, app, family, other):
    backends = hosts(other)
    server = scripted({("app.test", AAAA): [aaaa("::1")], ("app.test", A): []} if ":" in other else {("app.test", A): [a(other)], ("app.test", AAAA): []})
    gateway = launch(upstreams=[app(backends[other].port)], dns=servers(server.port, lookup_family=family))
    assert gateway.get("/").body.decode() == other


@pytest.mark.parametrize("family, first, second", [("v4_preferred", "127.0.0.2", "::1"), ("v6_preferred", "::1", "127.0.0.2")])
def test_a_family_that_does_not_answer_is_passed_by(launch, scripted, hosts, swallowing, app, family, first, second):
    backends = hosts(second)
    port = backends[second].port
    swallowing(first, port)
    server = scripted(BOTH)
    gateway = launch(
        upstreams=[app(port, pool={"connect_timeout_ms": 30_000, "connection_attempt_delay_ms": 50})], dns=servers(server.port, lookup_family=family))
    begun = time.monotonic()
    assert gateway.get("/").body.decode() == second
    assert time.monotonic() - begun < 15
    counts = connections(gateway)
    assert counts["races"] >= 1 and counts["races_won"] >= 1 and counts["failures"] == 0
    # The loser is closed: there is one connection, and it is kept.
    assert counts["active"] == 1 and counts["idle"] == 1
    assert gateway.get("/").body.decode() == second
    assert connections(gateway)["reuses"] >= 1


def test_a_family_that_refuses_is_passed_by_at_once(launch, scripted, hosts, app):
    backends = hosts("::1")
    server = scripted(BOTH)
    gateway = launch(upstreams=[app(backends["::1"].port, pool={"connection_attempt_delay_ms": 10_000})], dns=servers(server.port))
    begun = time.monotonic()
    assert gateway.get("/").body == b"::1"
    assert time.monotonic() - begun < 8
    assert connections(gateway)["races"] == 0


def test_when_neither_answers_the_fault_is_right(launch, scripted, swallowing, app):
    from support.ports import free_port

    port = free_port()
    swallowing("127.0.0.2", port)
    swallowing("::1", port)
    server = scripted(BOTH)
    gateway = launch(
        access_log=True, upstreams=[app(port, pool={"connect_timeout_ms": 600, "connection_attempt_delay_ms": 50})], dns=servers(server.port))
    assert gateway.get("/").status == 502
    assert gateway.access_entries()[0]["error.type"] == "connection_timeout"
    counts = connections(gateway)
    assert counts["races"] == 1 and counts["races_won"] == 0 and counts["active"] == 0


def test_one_that_hangs_and_one_that_refuses(launch, scripted, swallowing, app):
    from support.ports import free_port

    port = free_port()
    swallowing("127.0.0.2", port)
    server = scripted(BOTH)
    gateway = launch(
        access_log=True, upstreams=[app(port, pool={"connect_timeout_ms": 600, "connection_attempt_delay_ms": 50})], dns=servers(server.port))
    assert gateway.get("/").status == 502
    assert gateway.access_entries()[0]["error.type"] == "connection_timeout"


def test_a_client_that_leaves_in_the_middle(launch, scripted, swallowing, app):
    from support.ports import free_port

    port = free_port()
    swallowing("127.0.0.2", port)
    swallowing("::1", port)
    server = scripted(BOTH)
    gateway = launch(
        upstreams=[app(port, pool={"connect_timeout_ms": 60_000, "connection_attempt_delay_ms": 20})], dns=servers(server.port), http1={"half_close": "cancel"})
    client = gateway.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    until(lambda: connections(gateway)["races"] == 1, 10, "two attempts under way")
    client.close()
    until(lambda: connections(gateway)["active"] == 0, 10, "both attempts given up")
