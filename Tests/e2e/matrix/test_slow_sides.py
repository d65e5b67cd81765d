"""Slow readers hold up who writes, in constant memory; slow writers are passed on at once."""

from __future__ import annotations

import hashlib
import json
import threading
import time

from support.stream import blocks, digest
from support.wait import until

from .conftest import ALLOWED, Pair

SIZE = 48 << 20
#: What may be on its way to a side that does not read, where the writer is held back by a window of HTTP/2: windows, watermarks and
#: what the kernel takes for the reader. Without windows the kernel alone may take tens of MiB.
BETWEEN = 12 << 20


def steady(read, duration: float = 0.3) -> int:  # type: ignore[no-untyped-def]
    """The value of `read` once it has not changed for a while."""
    last, since = read(), time.monotonic()
    deadline = since + 10
    while time.monotonic() - since < duration:
        time.sleep(0.03)
        if (value := read()) != last:
            last, since = value, time.monotonic()
        assert time.monotonic() < deadline, "it never stops"
    return last  # type: ignore[no-any-return]


def test_slow_client(pair: Pair) -> None:
    caller = pair.connect(receive_buffer=65_536)
    request = pair.new_id()
    pair.begin_memory()
    call = caller.begin("GET", pair.path(f"down?size={SIZE}"), [("X-Request-Id", request)])
    call.head()
    sent = steady(lambda: pair.record(request)["sent"])
    if pair.backend_kind.startswith("h2"):
        assert sent < BETWEEN, "the backend was given windows for what the client has not taken"
    sha = hashlib.sha256()
    for piece in call.body():
        sha.update(piece)
    assert sha.hexdigest() == digest(SIZE)
    assert pair.grown < ALLOWED


def test_slow_backend(pair: Pair) -> None:
    caller = pair.connect()
    request = pair.new_id()
    pair.begin_memory()
    call = caller.begin("POST", pair.path("slow"), [("X-Request-Id", request)], length=SIZE, open=True)
    written = 0

    def write() -> None:
        nonlocal written
        for block in blocks(SIZE):
            for start in range(0, len(block), 1 << 17):
                call.send(block[start:start + (1 << 17)])
                written += 1 << 17

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    until(lambda: pair.record(request)["received"] >= 65_536)
    sent = steady(lambda: written)
    if pair.kind.startswith("h2") and pair.backend_kind.startswith("h2"):
        assert sent < BETWEEN, "the client was given windows for what the backend has not taken"
    pair.backend.go(request)
    writer.join(30)
    call.finish()
    told = json.loads(call.whole())
    assert (told["received"], told["sha256"]) == (SIZE, digest(SIZE))
    assert pair.grown < ALLOWED


def test_dripping_backend(pair: Pair) -> None:
    """Each piece is there before the next one is sent."""
    request = pair.new_id()
    call = pair.connect().begin("GET", pair.path("drip"), [("X-Request-Id", request)])
    assert call.head().status == 200
    body = call.body()
    for index in range(10):
        pair.backend.go(request)
        piece, got = b"piece %d;" % index, b""
        while len(got) < len(piece):
            got += next(body)
        assert got == piece
    assert list(body) == []


def test_dripping_client(pair: Pair) -> None:
    request = pair.new_id()
    call = pair.connect().begin("POST", pair.path("small"), [("X-Request-Id", request)], open=True)
    for index in range(10):
        call.send(b"x" * 10)
        until(lambda: pair.record(request)["received"] == 10 * (index + 1), what="the piece at the backend")
    call.finish()
    assert json.loads(call.whole())["received"] == 100
