"""1 GiB flows through in both directions, unchanged and in constant memory."""

from __future__ import annotations

import hashlib
import socket

import pytest

from support import proc
from support.backend import Backend, chunk, head
from support.client import Client, request
from support.configuration import upstream
from support.gateway import Gateway
from support.stream import blocks, digest

SIZE = 1 << 30
#: What one exchange may add to a worker's memory: two watermarks and change.
ALLOWED = 8 << 20


@pytest.fixture
def gateway(launch, backend: Backend) -> Gateway:
    gateway: Gateway = launch(max_body_size=0, upstreams=[upstream(backend.port)])
    assert gateway.get("/api").status == 200
    proc.reset_peak(gateway.worker)
    return gateway


@pytest.fixture(scope="module")
def expected() -> str:
    return digest(SIZE)


def receive(sock: socket.socket, have: bytes, size: int) -> str:
    """The digest of `size` bytes, the first of which are `have`."""
    sha = hashlib.sha256(have)
    left = size - len(have)
    buffer = bytearray(1 << 18)
    while left:
        count = sock.recv_into(buffer, min(left, len(buffer)))
        assert count, f"closed with {left} bytes to come"
        sha.update(memoryview(buffer)[:count])
        left -= count
    return sha.hexdigest()


@pytest.mark.timeout(90)
def test_download(gateway: Gateway, backend: Backend, expected: str) -> None:
    def answer(connection, asked) -> None:
        connection.send(head(200, f"Content-Length: {SIZE}"))
        for block in blocks(SIZE):
            connection.send(block)

    backend.answer = answer
    before = proc.memory(gateway.worker)
    with Client(gateway.port, timeout=20) as client:
        client.send(request("GET", "/api"))
        client.reader.until(b"\r\n\r\n")
        assert receive(client.sock, client.reader.take(len(client.reader.buffer)), SIZE) == expected
    assert proc.memory(gateway.worker, "VmHWM") - before < ALLOWED


@pytest.mark.timeout(90)
def test_upload(gateway: Gateway, backend: Backend, expected: str) -> None:
    received: list[str] = []

    def answer(connection, asked) -> None:
        reader = connection.reader
        received.append(receive(connection.sock, reader.take(len(reader.buffer)), SIZE))
        connection.send(head(200, "Content-Length: 0"))

    backend.answer = answer
    before = proc.memory(gateway.worker)
    with Client(gateway.port, timeout=20) as client:
        client.send(request("POST", "/api", f"Content-Length: {SIZE}"))
        for block in blocks(SIZE):
            client.send(block)
        assert client.read("POST").status == 200
    assert received == [expected]
    assert proc.memory(gateway.worker, "VmHWM") - before < ALLOWED


@pytest.mark.timeout(90)
def test_chunked_download(gateway: Gateway, backend: Backend) -> None:
    size = SIZE >> 3

    def answer(connection, asked) -> None:
        connection.send(head(200, "Transfer-Encoding: chunked"))
        for block in blocks(size):
            connection.send(chunk(block))
        connection.send("0\r\n\r\n")

    backend.answer = answer
    before = proc.memory(gateway.worker)
    sha = hashlib.sha256()
    with Client(gateway.port, timeout=20) as client:
        client.send(request("GET", "/api"))
        reader = client.reader
        reader.until(b"\r\n\r\n")
        while length := int(reader.until(b"\r\n")[:-2], 16):
            sha.update(reader.exactly(length))
            assert reader.exactly(2) == b"\r\n"
    assert sha.hexdigest() == digest(size)
    assert proc.memory(gateway.worker, "VmHWM") - before < ALLOWED
