"""HTTP/2 and HTTP/1.1 on one port, told apart by the first bytes."""

from __future__ import annotations

import time

import pytest

from support.client import Client, request
from support.configuration import respond
from support.gateway import Gateway
from support.http2 import PREFACE, Http2, settings_frame


@pytest.fixture(scope="module")
def gateway(launch_shared) -> Gateway:  # type: ignore[no-untyped-def]
    return launch_shared(routes=[respond("/", body="ok")])


def test_a_preface_may_trickle(gateway: Gateway) -> None:
    for cut in range(1, len(PREFACE)):
        with Http2(gateway.port, begin=False) as client:
            client.send(PREFACE[:cut])
            time.sleep(0.01)
            client.send(PREFACE[cut:] + settings_frame({}))
            assert client.get("/").status == 200


@pytest.mark.parametrize("data", [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"PRI * HTTP/2.0\r\nHost: a\r\n\r\n", b"PRI /x HTTP/2.0\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
])
def test_a_wrong_preface_is_an_http_1_request(gateway: Gateway, data: bytes) -> None:
    with Client(gateway.port) as client:
        client.send(data)
        assert client.read().status in (400, 505)
        assert client.at_end()


def test_an_incomplete_preface_times_out(launch) -> None:  # type: ignore[no-untyped-def]
    gateway = launch(routes=[respond("/", body="ok")], request_timeout_sec="300ms")
    with Client(gateway.port) as client:
        client.send(PREFACE[:20])
        assert client.read().status == 408


def test_the_preface_comes_first_or_not_at_all(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        assert client.request("GET", "/").status == 200
        client.send(PREFACE + settings_frame({}))
        assert client.read().status == 505


def test_an_upgrade_is_ignored(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        for _ in range(2):
            response = client.request("GET", "/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
            assert response.status == 200 and response.body == b"ok" and response.header("upgrade") is None


@pytest.mark.parametrize("keys", [
    {"http2": {"enabled": False}}, {"listeners": True},
], ids=["everywhere", "on this listener"])
def test_switched_off(launch, keys: dict) -> None:  # type: ignore[no-untyped-def,type-arg]
    from support.ports import free_port

    options = dict(keys)
    if "listeners" in options:
        port = free_port()
        options = {"bind_port": port, "listeners": [{"host": "127.0.0.1", "port": port, "http2": False}]}
        gateway = launch(wait=False, routes=[respond("/", body="ok")], **options)
        config = {key: value for key, value in gateway.config.items() if key not in ("bind_host", "bind_port")}
        gateway.stop()
        gateway.config = config
        gateway.write()
        gateway.start()
    else:
        gateway = launch(routes=[respond("/", body="ok")], **options)
    with Client(gateway.port) as client:
        client.send(PREFACE + settings_frame({}))
        assert client.read().status == 505
    with Client(gateway.port) as client:
        client.send(request("GET", "/"))
        assert client.read().status == 200
