"""Connections on which nothing happens: what they cost, and that they go on as if nothing had been."""

from __future__ import annotations

from contextlib import ExitStack

from support import proc
from support.configuration import respond
from support.gateway import Gateway
from support.http2 import PING, Http2
from support.wait import until


def test_idle_connections_cost_little_and_go_on(launch) -> None:  # type: ignore[no-untyped-def]
    gateway: Gateway = launch(routes=[respond("/local")])
    count = 400
    with ExitStack() as stack:
        def connected(number: int) -> list[Http2]:
            clients = [stack.enter_context(Http2(gateway.port)) for _ in range(number)]
            for client in clients:
                assert client.get("/local").body == b"ok"
            return clients

        connected(50)
        warm = proc.memory(gateway.worker)
        clients = connected(count)
        # What the kernel keeps for them is not counted.
        until(lambda: proc.memory(gateway.worker) - warm < count * 2048, what="the sessions to be put aside")
        for turn in range(2):
            for client in clients[:50]:
                client.frame(PING, 0, 0, bytes(8))
                assert client.get("/local").body == b"ok"


def test_a_sleeping_connection_ends_as_any(launch) -> None:  # type: ignore[no-untyped-def]
    gateway: Gateway = launch(routes=[respond("/local")], idle_timeout_sec="1500ms")
    with Http2(gateway.port) as idle:
        assert idle.get("/local").status == 200
        idle.until_closed()
        assert idle.goaways and not idle.was_reset


def test_a_sleeping_connection_drains_as_any(launch) -> None:  # type: ignore[no-untyped-def]
    gateway: Gateway = launch(routes=[respond("/local")])
    with Http2(gateway.port) as client:
        assert client.get("/local").status == 200
        client.drain(1.2)
        assert not client.closed
        gateway.reload()
        client.until_closed()
        assert len(client.goaways) == 2 and not client.was_reset
