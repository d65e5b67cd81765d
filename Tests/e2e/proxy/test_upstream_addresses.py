"""Backends by name and by IPv6 address."""

from __future__ import annotations

import socket

import pytest

from support.backend import Backend
from support.configuration import upstream
from support.gateway import Gateway


def test_by_name(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port, host="localhost")])
    assert gateway.get("/api").status == 200


def test_ipv6(launch) -> None:
    try:
        backend = Backend(host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback")
    gateway: Gateway = launch(upstreams=[upstream(backend.port, host="::1")])
    assert gateway.get("/api").status == 200
    assert backend.last.header("host") == f"[::1]:{backend.port}"
    backend.stop()


def test_port_80_is_not_named(launch) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.77", 80))
        except OSError as error:
            pytest.skip(f"port 80: {error}")
    backend = Backend(host="127.0.0.77", port=80)
    gateway: Gateway = launch(upstreams=[upstream(80, host="127.0.0.77")])
    assert gateway.get("/api").status == 200
    assert backend.last.header("host") == "127.0.0.77"
    backend.stop()
