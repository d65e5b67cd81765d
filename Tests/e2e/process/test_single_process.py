"""gatewayd --single-process: one worker in the foreground, without a master."""

from __future__ import annotations

import signal

from support.backend import Backend
from support.configuration import respond, upstream
from support.gateway import Gateway


def test_serves_without_children(launch, backend: Backend) -> None:
    gateway: Gateway = launch(arguments=("--single-process",), routes=[respond("/")], upstreams=[upstream(backend.port)])
    assert gateway.get("/").status == 200
    assert gateway.get("/api").status == 200
    assert gateway.workers == []


def test_ends_gracefully(launch) -> None:
    gateway: Gateway = launch(arguments=("--single-process",), routes=[respond("/")])
    gateway.get("/")
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit(3) == 0
