"""Sessions are resumed on any worker, across reloads and deaths, as long as their key is known."""

from __future__ import annotations

import os
import signal
import ssl
import time

import pytest

from support.gateway import Gateway
from support.tls import Authority, stats
from support.wait import until

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def visit(client, gateway: Gateway, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> tuple[bool, ssl.SSLSession]:
    with client(gateway, context=context, session=session) as connection:
        assert connection.request("GET", "/").status == 200
        new = connection.sock.session
        assert new is not None
        return connection.resumed, new


@pytest.mark.parametrize("version", VERSIONS)
def test_on_every_worker(secure, client, authority: Authority, version: ssl.TLSVersion) -> None:
    gateway: Gateway = secure(workers=3)
    context = authority.context(maximum_version=version)
    resumed, session = visit(client, gateway, context)
    assert not resumed
    for _ in range(30):
        resumed, _ = visit(client, gateway, context, session)
        assert resumed
    with client(gateway) as connection:
        found = stats(connection)
        assert found["resumed"] >= 30 and found["handshakes"] >= 32


@pytest.mark.parametrize("version", VERSIONS)
def test_across_reload_and_death(secure, client, authority: Authority, version: ssl.TLSVersion) -> None:
    gateway: Gateway = secure()
    context = authority.context(maximum_version=version)
    _, session = visit(client, gateway, context)
    gateway.reload()
    resumed, session = visit(client, gateway, context, session)
    assert resumed
    old = gateway.worker
    os.kill(old, signal.SIGKILL)
    until(lambda: gateway.workers and old not in gateway.workers, 5, "a new worker")
    resumed, _ = visit(client, gateway, context, session)
    assert resumed


def test_keys_are_rotated_and_forgotten(secure, client, authority: Authority) -> None:
    gateway: Gateway = secure(**{"log": {"level": "debug"}}, tls=None)
    gateway.reload(tls={"session_tickets": {"rotation_sec": 1, "keys": 2}})
    context = authority.context(maximum_version=ssl.TLSVersion.TLSv1_2)
    _, session = visit(client, gateway, context)
    rotations = gateway.log.count("encrypted with a new key")
    until(lambda: gateway.log.count("encrypted with a new key") > rotations, 10, "a rotation")
    resumed, newer = visit(client, gateway, context, session)
    # Known still, if the next rotation has not come in between.
    if gateway.log.count("encrypted with a new key") == rotations + 1:
        assert resumed
    until(lambda: gateway.log.count("encrypted with a new key") > rotations + 2, 10, "two more rotations")
    resumed, _ = visit(client, gateway, context, session)
    assert not resumed


def test_not_where_tickets_are_off(secure, client, authority: Authority) -> None:
    gateway: Gateway = secure(tls={"session_tickets": False})
    context = authority.context()
    with client(gateway, context=context) as connection:
        assert connection.request("GET", "/").status == 200
        session = connection.sock.session
    if session is not None and session.has_ticket:
        raise AssertionError("a ticket was given")
    time.sleep(0)


def test_the_access_log_tells(secure, client, authority: Authority) -> None:
    gateway: Gateway = secure(access_log=True)
    context = authority.context()
    _, session = visit(client, gateway, context)
    resumed, _ = visit(client, gateway, context, session)
    assert resumed
    assert [entry["tls.resumed"] for entry in gateway.access_entries(2)] == [False, True]
