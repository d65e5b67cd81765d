"""A backend that takes a request slowly is not the client's fault."""

from __future__ import annotations

import threading
import time

from support.backend import Backend, head
from support.client import Client
from support.configuration import upstream
from support.gateway import Gateway


def test_client_that_is_held_back_gets_no_408(launch, backend: Backend) -> None:
    size = 24 << 20

    def answer(connection, asked) -> None:
        time.sleep(3)  # longer than request_timeout_sec; meanwhile the buffers between fill up
        connection.read_body(asked)
        connection.send(head(200, "Content-Length: 2") + b"ok")

    backend.answer = answer
    gateway: Gateway = launch(max_body_size=0, request_timeout_sec=1, send_timeout_sec=30, upstreams=[upstream(backend.port)])
    with Client(gateway.port, timeout=20) as client:
        sender = threading.Thread(target=lambda: client.send(f"POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n".encode() + bytes(size)))
        sender.start()
        response = client.read("POST")
        sender.join(10)
        assert response.status == 200


def test_collected_chunked_body_that_is_empty(launch, backend: Backend) -> None:
    gateway: Gateway = launch(request_timeout_sec=2, upstreams=[upstream(backend.port, request_mode="buffered")])
    with Client(gateway.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        time.sleep(0.2)
        client.send("0\r\n\r\n")
        assert client.read("POST").status == 200
    assert backend.requests[-1].header("content-length") == "0"


def test_the_limit_of_a_collected_body_is_for_the_whole_of_it(launch, backend: Backend) -> None:
    gateway: Gateway = launch(request_timeout_sec=1, upstreams=[upstream(backend.port, request_mode="buffered")])
    with Client(gateway.port) as client:
        client.send("POST /api HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n")
        started = time.monotonic()
        try:
            while time.monotonic() - started < 5:
                client.send("x")
                time.sleep(0.2)
                if not client.silent(0.01):
                    break
        except OSError:
            pass
        assert client.read("POST").status == 408
