"""proxy.h10_streaming: what a HTTP/1.0 client gets of a response without length."""

from __future__ import annotations

import pytest

from support.backend import Backend, reply_chunked
from support.client import Client
from support.configuration import upstream
from support.gateway import Gateway


@pytest.mark.parametrize("mode", ["close", "buffer"])
def test_mode(launch, backend: Backend, mode: str) -> None:
    backend.answer = reply_chunked([b"one", b"two"])
    gateway: Gateway = launch(upstreams=[upstream(backend.port, h10_streaming=mode)])
    with Client(gateway.port) as client:
        client.send("GET /api HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        response = client.read()
        assert response.body == b"onetwo"
        assert (response.header("content-length") == "6") == (mode == "buffer")
        assert response.closes == (mode == "close")
