"""Reload, drain and death of workers under TLS: nobody notices but those whose worker has died."""

from __future__ import annotations

import os
import signal
import time

import pytest

from support.backend import Backend, reply
from support.client import request
from support.configuration import respond, upstream
from support.gateway import Gateway
from support.load import Load
from support.tls import Authority, SecureClient
from support.wait import until


def secure_load(gateway: Gateway, authority: Authority, **options: object) -> Load:
    context = authority.context()
    return Load(gateway.port, connect=lambda: SecureClient(gateway.port, context), **options)  # type: ignore[arg-type]


@pytest.mark.timeout(120)
def test_reloads_under_load(secure, authority: Authority) -> None:
    gateway: Gateway = secure(workers=2)
    with secure_load(gateway, authority, keep_alive=3, fresh=2) as load:
        for number in range(20):
            gateway.reload(routes=[respond("/", f"generation {number}")])
    assert load.failures == []
    assert load.answered > 100
    until(lambda: len(gateway.workers) == 2, 10, "the old generations to go")


def test_certificates_change_under_load(secure, authority: Authority, tmp_path) -> None:
    used = authority.issue("site.test").copy(tmp_path / "files")
    gateway: Gateway = secure(used, workers=2)
    with secure_load(gateway, authority, keep_alive=2, fresh=2) as load:
        for _ in range(3):
            new = authority.issue("site.test")
            seen = gateway.log.count("changed certificates are in use")
            used.key.write_bytes(new.key.read_bytes())
            used.chain.write_bytes(new.chain.read_bytes())
            until(lambda: gateway.log.count("changed certificates are in use") > seen, 10, "the change to be noticed")
    assert load.failures == []


def test_a_killed_worker_is_replaced(secure, client, authority: Authority) -> None:
    gateway: Gateway = secure(workers=2)
    with secure_load(gateway, authority, keep_alive=2, fresh=2) as load:
        for _ in range(3):
            time.sleep(0.2)
            before = gateway.workers
            os.kill(before[0], signal.SIGKILL)
            until(lambda: len(gateway.workers) == 2 and before[0] not in gateway.workers, 5, "a new worker")
        answered = load.answered
        until(lambda: load.answered > answered + 50, 10, "service as before")
    # Only what the dead workers had in hand is lost.
    assert len(load.failures) < 40, load.failures[:5]
    with client(gateway) as connection:
        assert connection.request("GET", "/").status == 200


def test_drain_finishes_what_is_in_flight(secure, client, backend: Backend) -> None:
    gateway: Gateway = secure(upstreams=[upstream(backend.port)])
    backend.answer = lambda connection, seen: (time.sleep(0.7), reply(body=b"late")(connection, seen))[1]
    with client(gateway) as connection, client(gateway) as idle:
        assert idle.request("GET", "/").status == 200
        connection.send(request("GET", "/api"))
        backend.wait_requests(1)
        gateway.signal(signal.SIGTERM)
        response = connection.read()
        assert response.body == b"late" and response.closes
        assert connection.ends_with_notice()
        assert idle.ends_with_notice()
    assert gateway.wait_exit() == 0
