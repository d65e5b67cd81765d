"""Fixtures for backends that misbehave."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from support.client import Client, request
from support.configuration import Json
from support.gateway import ROOT, Gateway
from support.message import Closed, Response
from support.misbehaving import Misbehaving, Scenario
from support.wait import until

Behind = Callable[..., "Setting"]


@dataclass
class Outcome:
    """What the client got, and what the gateway says about it."""

    status: int | None
    #: Whether the response was cut off.
    cut: bool
    response: Response | None
    entry: Json

    @property
    def token(self) -> str:
        return self.entry.get("error.type", "-")  # type: ignore[no-any-return]


def documented(token: str) -> tuple[int, str]:
    """Status and level of a fault, as docs/faults.md has them."""
    line = next(line for line in (ROOT / "docs" / "faults.md").read_text().splitlines() if line.startswith(f"| `{token}` |"))
    _, _, status, level, *_ = [cell.strip() for cell in line.split("|")]
    return int(status), level


class Setting:
    """A gateway in front of a backend that misbehaves."""

    def __init__(self, gateway: Gateway, backend: Misbehaving) -> None:
        self.gateway, self.backend = gateway, backend
        self._number = 0

    def ask(self, method: str = "GET", path: str = "/api", *lines: str, body: bytes = b"") -> Outcome:
        """One request on a connection of its own."""
        self._number += 1
        name = f"request-{self._number}"
        response, cut = None, False
        with Client(self.gateway.port) as client:
            try:
                client.send(request(method, path, f"X-Request-Id: {name}", *lines, body=body))
                response = client.read(method)
            except (Closed, ConnectionResetError):
                cut = True
        entry = self.entry(name)
        return Outcome(response.status if response else None, cut, response, entry)

    def entry(self, name: str) -> Json:
        def mine() -> list[Json]:
            return [one for one in self.gateway.access_entries(1) if one.get("gateway.request_id") == name]

        found = until(mine, what=f"the line of {name}")
        assert len(found) == 1, "two lines for one request"
        return found[0]

    def lines(self, token: str) -> list[str]:
        """Lines of the error log with this token."""
        return [line for line in self.gateway.log.splitlines() if token in line and "[worker" in line]

    def stats(self) -> Json:
        found: Json = json.loads(self.gateway.get("/stats").body)
        return found


@pytest.fixture
def behind(launch) -> Iterator[Behind]:  # type: ignore[no-untyped-def]
    """Starts a gateway in front of a backend with these scenarios; `proxy`, `pool`, `tls`, `http2` are keys of the upstream."""
    backends: list[Misbehaving] = []

    def start(*scenarios: Scenario, cycle: bool = False, context: Any = None, proxy: Json | None = None, receive_buffer: int | None = None,
              upstream: Json | None = None, **keys: Any) -> Setting:
        backend = Misbehaving(*scenarios, cycle=cycle, tls=context, receive_buffer=receive_buffer)
        backends.append(backend)
        entry: Json = {"name": "backend", "host": "127.0.0.1", "port": backend.port, **(upstream or {}),
                       "proxy": {"route_prefix": "/api", "response_timeout_ms": 400, "stream_idle_timeout_sec": "400ms", **(proxy or {})}}
        return Setting(launch(access_log=True, upstreams=[entry], **keys), backend)

    yield start
    for backend in backends:
        backend.stop()
        assert not backend.errors, f"the backend was sent something it could not read: {backend.errors}"
