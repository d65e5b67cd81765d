from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.backend import Backend, reply
from support.names import Dnsmasq, Reply, Scripted
from support.ports import free_port


@pytest.fixture
def dnsmasq(tmp_path: Path) -> Iterator[Callable[..., Dnsmasq]]:
    """Starts dnsmasq; it ends with the test."""
    made: list[Dnsmasq] = []

    def make(ttl: int = 1, *options: str, **records: list[str]) -> Dnsmasq:
        made.append(Dnsmasq(tmp_path / f"dnsmasq{len(made)}", ttl, *options, **records))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    """Starts servers that answer as told; they end with the test."""
    made: list[Scripted] = []

    def make(replies: dict[tuple[str, int], Reply] | None = None) -> Scripted:
        made.append(Scripted(replies))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def hosts() -> Iterator[Callable[..., dict[str, Backend]]]:
    """Backends on several loopback addresses with one port; each answers with its address."""
    made: list[Backend] = []

    def make(*addresses: str) -> dict[str, Backend]:
        port = free_port()
        found: dict[str, Backend] = {}
        for address in addresses:
            made.append(Backend(reply(body=address.encode()), host=address, port=port))
            found[address] = made[-1]
        return found

    yield make
    for backend in made:
        backend.stop()


@pytest.fixture
def app() -> Callable[..., dict[str, Any]]:
    """The settings of an upstream `app` at `app.test`."""

    def make(port: int, **keys: Any) -> dict[str, Any]:
        return {"name": "app", "host": "app.test", "port": port, "proxy": {"route_prefix": "/"}, **keys}

    return make
