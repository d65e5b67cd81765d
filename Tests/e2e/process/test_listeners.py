"""Addresses to listen on."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from support.client import Client
from support.configuration import respond
from support.gateway import Gateway
from support.message import Reader, read_response
from support.ports import free_port
from support.wait import until


def test_several(launch) -> None:
    ports = [free_port(), free_port()]
    gateway: Gateway = launch(bind_port=ports[0], listeners=[{"host": "127.0.0.1", "port": port} for port in ports], routes=[respond("/")])
    for port in ports:
        with Client(port) as client:
            assert client.request().status == 200
    assert gateway.process is not None


def test_unix_socket(launch, tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    port = free_port()
    gateway: Gateway = launch(bind_port=port, workers=2, routes=[respond("/")],
                              listeners=[{"host": "127.0.0.1", "port": port}, {"unix": str(path), "mode": "0600"}])
    until(lambda: " serves with " in gateway.log, what="all addresses to be listened on")
    for _ in range(10):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(path))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            assert read_response(Reader(sock)).status == 200
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert gateway.ctl("stop").returncode == 0
    assert not path.exists()


def test_ipv6(launch) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    port = free_port()
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", port))
    except OSError:
        pytest.skip("no IPv6 loopback")
    launch(bind_port=port, routes=[respond("/")], listeners=[{"host": "127.0.0.1", "port": port}, {"host": "::1", "port": port}])
    with Client(port, host="::1") as client:
        assert client.request().status == 200


def test_port_zero_is_named_in_the_log(launch) -> None:
    known = free_port()
    gateway: Gateway = launch(bind_port=known, routes=[respond("/")], listeners=[{"host": "127.0.0.1", "port": known}, {"host": "127.0.0.3", "port": 0}])
    gateway.get("/")
    found = until(lambda: [word.split("127.0.0.3:")[1] for word in gateway.log.split() if "127.0.0.3:" in word], what="the line")
    port = int("".join(character for character in found[0] if character.isdigit()))
    with Client(port, host="127.0.0.3") as client:
        assert client.request().status == 200
