"""Every kind of client with every kind of backend, through one gateway."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import proc
from support.configuration import Json
from support.gateway import Gateway
from support.kinds import KINDS, Caller, client_context, speaking
from support.polyglot import Polyglot
from support.ports import free_port
from support.tls import Authority, Certificate, listener
from support.wait import until

#: What one exchange may add to a worker's memory: two watermarks of 1 MiB, the windows of both sides, and change.
ALLOWED = 8 << 20


class Setting:
    """The gateway with its backends."""

    def __init__(self, gateway: Gateway, secure_port: int, backend: Polyglot, authority: Authority) -> None:
        self.gateway, self.secure_port, self.backend = gateway, secure_port, backend
        self.contexts = {http2: client_context(str(authority.root.chain), http2) for http2 in (False, True)}


def ruled(kind: str) -> Json:
    """A route with rules of every sort."""
    return {"path": f"/ruled-{kind}/:id/*rest", "upstream": kind, "rewrite": "/{id}/{rest}", "mirror": {"upstream": kind, "non_idempotent": True},
            "request_headers": {"remove": ["X-Gone"], "set": {"X-How": "{scheme} {protocol} {method} {upstream} {id}"}, "add": {"X-Two": "b"}},
            "response_headers": {"remove": ["X-Kept"], "set": {"X-How": "{status} {upstream} {id}"}, "default": {"Cache-Control": "no-store"}},
            "cors": {"allow_origins": ["https://*.a.test"], "allow_credentials": True}}


@pytest.fixture(scope="package")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    directory = tmp_path_factory.mktemp("matrix")
    authority = Authority(directory / "authority")
    site: Certificate = authority.issue("localhost")
    backend = Polyglot(site.chain, site.key)
    entries = {kind: speaking(kind, port, str(authority.root.chain), f"/{kind}") for kind, port in backend.ports.items()}
    port, secure = free_port(), free_port()
    gateway = Gateway(directory / "gateway", bind_port=port, access_log=True, max_body_size=0, http1={"half_close": "cancel"},
                      listeners=[{"host": "127.0.0.1", "port": port}, listener(secure, site)],
                      upstreams=list(entries.values()), routes=[ruled(kind) for kind in entries])
    gateway.config = {key: value for key, value in gateway.config.items() if key not in ("bind_host", "bind_port")}
    gateway.write()
    gateway.start()
    yield Setting(gateway, secure, backend, authority)
    gateway.stop()
    backend.stop()


class Pair:
    """A kind of client and a kind of backend."""

    def __init__(self, setting: Setting, client: str, backend: str) -> None:
        self.setting, self.kind, self.backend_kind = setting, client, backend
        self.gateway, self.backend = setting.gateway, setting.backend
        self.callers: list[Caller] = []
        self._before = 0

    def connect(self, **options: Any) -> Caller:
        context = self.setting.contexts[KINDS[self.kind][0]]
        caller = Caller(self.kind, self.gateway.port, self.setting.secure_port, context, **options)
        self.callers.append(caller)
        return caller

    def path(self, scenario: str) -> str:
        return f"/{self.backend_kind}/{scenario}"

    def new_id(self) -> str:
        return uuid.uuid4().hex

    def record(self, request: str) -> dict[str, Any]:
        return self.backend.record(request)

    def begin_memory(self) -> None:
        proc.reset_peak(self.gateway.worker)
        self._before = proc.memory(self.gateway.worker)

    @property
    def grown(self) -> int:
        """Bytes by which the worker's memory has grown at most since `begin_memory`."""
        return proc.memory(self.gateway.worker, "VmHWM") - self._before

    def entry(self, request: str) -> Json:
        """The line of the access log for a request."""
        def find() -> Json | None:
            return next((one for one in self.gateway.access_entries(1) if one.get("gateway.request_id") == request), None)

        return until(find, what="the request's line in the access log")


@pytest.fixture(params=list(itertools.product(KINDS, KINDS)), ids=lambda pair: f"{pair[0]}-{pair[1]}")
def pair(request: pytest.FixtureRequest, setting: Setting) -> Iterator[Pair]:
    client, backend = request.param
    pair = Pair(setting, client, backend)
    yield pair
    for caller in pair.callers:
        caller.close()
    errors = setting.backend.errors()
    assert not errors, f"the backend was sent something against the rules: {errors}"
